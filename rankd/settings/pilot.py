"""Pilots on live traffic."""

from __future__ import annotations

from pydantic import Field

from rankd.settings.section import LONGEST, Section


class PilotSection(Section):
    """What ends a pilot that can measure nothing (docs/guides/pilot.md)."""

    idle_after: float = Field(
        60.0,
        ge=0,
        le=LONGEST,
        description="Seconds from its start on without any request that end a pilot; 0 lets it wait.",
    )
