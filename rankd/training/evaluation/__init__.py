"""How good a ranker is, in figures and on a page."""
