"""Attacks on a real daemon and proxy, longer or rougher than a test may be: ``make attacks``."""
