"""A reverse proxy before any engine that speaks OpenAI's API: it asks the daemon and writes the body's ``priority``.

Everything else passes as it came. Needs the extra ``rankd[proxy]``.
"""
