"""Rankers: artifact, loaded, in the shadow, compared, promoted."""
