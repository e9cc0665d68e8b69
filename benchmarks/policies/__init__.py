"""Orders compared on traces."""
