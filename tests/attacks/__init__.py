"""Attacks of seconds to minutes on running daemons: ``PYTHONPATH=tests python -m attacks.NAME``; 1 where one succeeds."""
