"""Rankers: as files, as loaded models, in the shadow; how they are compared and promoted."""
