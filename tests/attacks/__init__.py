<<<<<<< HEAD
"""Attacks on a real daemon and proxy, longer or rougher than a test may be: ``make attacks``."""
=======
"""Attacks of seconds to minutes on daemons: ``PYTHONPATH=tests python -m attacks.NAME``; 1 where one succeeds."""
>>>>>>> monitor
