"""Fitting a ranker: losses, loop, checkpoints, several processes."""
