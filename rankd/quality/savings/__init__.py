"""What ranking saved recent requests against arrival order: the estimate, its interval, and what it comes to."""
