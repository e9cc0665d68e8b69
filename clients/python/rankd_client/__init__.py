"""Client of rankd."""
