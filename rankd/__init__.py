"""rankd: a rank daemon for LLM serving."""
