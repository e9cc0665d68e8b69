"""Learning the traffic that is served, beside what the ranker knows: pure, no I/O, no clock."""

from rankd.adaptation.adaptation import Adaptation, AdaptationStatus, LearnedCompletion, Update
from rankd.adaptation.features import Features, pack, unpack
from rankd.adaptation.hashing import FeatureHasher
from rankd.adaptation.proof import AdaptationState, Evidence, Finding, Proof

__all__ = [
    "Adaptation",
    "AdaptationState",
    "AdaptationStatus",
    "Evidence",
    "FeatureHasher",
    "Features",
    "Finding",
    "LearnedCompletion",
    "Proof",
    "Update",
    "pack",
    "unpack",
]
