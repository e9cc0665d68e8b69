"""Learning the traffic that is served, beside what the ranker knows: pure, no I/O, no clock."""

from rankd.adaptation.adaptation import Adaptation, AdaptationState, AdaptationStatus, LearnedCompletion, Update
from rankd.adaptation.features import Features, pack, unpack
from rankd.adaptation.hashing import FeatureHasher

__all__ = [
    "Adaptation",
    "AdaptationState",
    "AdaptationStatus",
    "FeatureHasher",
    "Features",
    "LearnedCompletion",
    "Update",
    "pack",
    "unpack",
]
