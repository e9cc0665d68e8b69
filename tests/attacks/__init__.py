"""Attacks of seconds to minutes on daemons: ``PYTHONPATH=tests python -m attacks.NAME``; 1 where one succeeds."""
