"""Kendall's tau where some lengths are known only from below."""
