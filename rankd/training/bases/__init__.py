"""What a ranker is trained from: an encoder, or hashed n-grams."""
