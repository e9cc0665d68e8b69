"""Every setting once: typed, validated, documented. A file a theme; ``load.py`` has them all together."""

from rankd.settings.access import AuthSection, LimitsSection, SigningSection, TlsSection
from rankd.settings.adaptation import AdaptSection
from rankd.settings.descriptors import grpc_connections, http_connections
from rankd.settings.fleet import FleetSection, peer_targets
from rankd.settings.load import Provider, Settings, load_settings, settings_reference
from rankd.settings.observation import CompletionLogSection, HttpSection, PageSection
from rankd.settings.ordering import OrderSection
from rankd.settings.promotion import PromotionSection
from rankd.settings.scoring import ScoringSection
from rankd.settings.section import split_address
from rankd.settings.trust import GuardSection, QualitySection

__all__ = [
    "AdaptSection",
    "AuthSection",
    "CompletionLogSection",
    "FleetSection",
    "GuardSection",
    "HttpSection",
    "LimitsSection",
    "OrderSection",
    "PageSection",
    "PromotionSection",
    "Provider",
    "QualitySection",
    "ScoringSection",
    "Settings",
    "SigningSection",
    "TlsSection",
    "grpc_connections",
    "http_connections",
    "load_settings",
    "peer_targets",
    "settings_reference",
    "split_address",
]
