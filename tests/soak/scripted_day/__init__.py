"""A day with a daemon by a script, and what page, status and metrics said of it beside what was true."""
