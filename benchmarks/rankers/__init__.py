"""Rankers made, judged and compared."""
