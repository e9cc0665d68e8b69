"""From a prompt to its score: cache, admission, tokeniser, batches, model."""
