"""rankd in a real vLLM, in process and over HTTP."""
