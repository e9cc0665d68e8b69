"""Rows of prompts and lengths, from files and from the completion log."""
