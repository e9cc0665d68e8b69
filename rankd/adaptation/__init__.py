"""Learning the traffic that is served, beside what the ranker knows: pure, no I/O, no clock."""

from rankd.adaptation.adaptation import Adaptation, AdaptationStatus, Update
from rankd.adaptation.completion import LearnedCompletion
from rankd.adaptation.evidence import Evidence, Finding
from rankd.adaptation.features import Features, pack, unpack
from rankd.adaptation.hashing import FeatureHasher
from rankd.adaptation.head import Head, TextHead
from rankd.adaptation.plausible import ImplausibleError
from rankd.adaptation.proof import AdaptationState, Proof

__all__ = [
    "Adaptation",
    "AdaptationState",
    "AdaptationStatus",
    "Evidence",
    "FeatureHasher",
    "Features",
    "Finding",
    "Head",
    "ImplausibleError",
    "LearnedCompletion",
    "Proof",
    "TextHead",
    "Update",
    "pack",
    "unpack",
]
