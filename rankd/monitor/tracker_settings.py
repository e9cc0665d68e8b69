"""The settings that windows are watched by, as trackers and guards want them."""

from __future__ import annotations

from rankd.adaptation import Adaptation, FeatureHasher
from rankd.adaptation.sources import feature_key
from rankd.quality import GuardSettings, QualitySettings, TenantShares
from rankd.settings import Settings


def quality_settings(settings: Settings) -> QualitySettings:
    """The trackers' settings."""
    quality, guard = settings.quality, settings.guard
    return QualitySettings(
        window=quality.window,
        pair_window=quality.pair_window,
        cohort=quality.cohort,
        guard_cohort=guard.cohort,
        arrivals=max(quality.arrivals, guard.cohort),
        dedupe=quality.dedupe,
        progress_ttl=quality.progress_ttl,
        horizon=quality.horizon_tokens,
        guard_every=guard.every,
    )


def guard_settings(settings: Settings) -> GuardSettings:
    """The guards' settings."""
    guard = settings.guard
    return GuardSettings(
        floor=guard.floor,
        margin=guard.margin,
        min_known=guard.min_known,
        dwell=guard.dwell,
        dwell_max=guard.dwell_max,
        max_latency=guard.max_latency,
        max_consecutive_failures=guard.max_consecutive_failures,
        recover_successes=guard.recover_successes,
    )


def tenant_shares(settings: Settings) -> TenantShares:
    """What bounds a tenant's part in one window."""
    quality = settings.quality
    least = settings.guard.min_known * (1.0 - quality.max_tenant_share)
    return TenantShares(quality.max_tenant_share, quality.tenant_share_period, least, settings.guard.cohort)


def new_adaptation(settings: Settings) -> Adaptation | None:
    """What learns the traffic of one window; None where nothing is to be learned."""
    adapt = settings.adapt
    if not adapt.enabled:
        return None
    return Adaptation(
        completions=adapt.completions,
        min_completions=adapt.min_completions,
        forget_after=adapt.forget_after,
        max_tenant_share=settings.quality.max_tenant_share,
    )


def feature_key_id(settings: Settings, ranker_version: str) -> str:
    """Says which key a ranker's features are hashed with, and whether there are any of the text.

    Of features of another key, or another kind, nothing that was learned holds.
    """
    key = FeatureHasher(feature_key(settings), ranker_version).key_id.hex()
    return key if settings.adapt.text else f"{key}-without-text"
