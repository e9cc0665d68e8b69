"""A fit of seconds: its options, and a digest of what it learned."""

import hashlib

from rankd.scoring.tokeniser import Truncation
from rankd.training.bases.base import Recipe
from rankd.training.fit.fit import FitOptions

CUT = Truncation(64, 32, 32)
RECIPE = Recipe(loss="joint", epochs=4, lr=3e-3, head_lr=1e-2, list_size=32, piece=8, dropout=0.1, average=0.9)
OPTIONS = FitOptions(recipe=RECIPE, checkpoint_seconds=0.0)


def digest(fitted):
    """Of all weights, by name."""
    whole = hashlib.sha256()
    for name, value in sorted(fitted.module.state_dict().items()):
        whole.update(name.encode() + value.numpy().tobytes())
    return whole.hexdigest()
