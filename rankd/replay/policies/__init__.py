"""The orders that a replay compares."""
