"""Counts from the syntax trees of a checkout how the code is laid out; it imports nothing of that checkout."""
