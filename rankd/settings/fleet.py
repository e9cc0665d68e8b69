"""Replicas that decide together."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator, model_validator

from rankd.settings.section import LONGEST, Section, split_address


class FleetSection(Section):
    """Replicas that tell each other how well the ranker does (docs/guides/fleet.md)."""

    peers: str = Field(
        "",
        max_length=4096,
        description="The other replicas: dns:///NAME:PORT, whose addresses are all of them (a headless Service), or "
        "HOST:PORT, several with commas between. This replica itself may be among them. Empty is off.",
    )
    follow: bool = Field(
        True, description="Guards decide on the evidence of all replicas; false shows it and decides on one's own."
    )
    every: float = Field(2.0, ge=0.1, le=3600, description="Seconds between two times that peers are asked.")
    forget_after: float = Field(
        15.0, ge=0.5, le=LONGEST, description="Seconds after which a peer that does not answer counts no more."
    )
    max_peers: int = Field(64, ge=1, le=1024, description="Most peers that are asked.")
    learned_completions: int = Field(
        4096,
        ge=0,
        le=65536,
        description="Latest completions, of all models and replicas together, that are kept to be learned from by "
        "peers, 1.2 kB each. 0: peers are told none and nothing is learned from theirs. Without adapt.enabled or peers "
        "none are kept.",
    )
    token_file: Path | None = Field(
        None, description="File with the bearer token for peers, whose role must be quality; read at every time."
    )
    tls_roots: Path | None = Field(
        None,
        description="PEM roots that peers' certificates must chain to. Empty: no TLS. Where tls.client_ca is set, this "
        "replica shows its own tls.certificate.",
    )
    tls_name: str = Field(
        "", description="Name that peers' certificates carry, where it is not the address they are asked at."
    )

    @field_validator("peers")
    @classmethod
    def _targets(cls, value: str) -> str:
        peer_targets(value)
        return value

    @model_validator(mode="after")
    def _longer(self) -> FleetSection:
        if self.forget_after < 2 * self.every:
            raise ValueError("forget_after must be at least twice every, or one lost answer makes a peer a lost one")
        return self


def peer_targets(peers: str) -> tuple[bool, list[tuple[str, int]]]:
    """What ``fleet.peers`` names: whether to look up all addresses of one name, and names with their ports.

    Raises:
        ValueError: saying what is wrong.
    """
    every_address = peers.startswith("dns:///")
    names = [n.strip() for n in peers.removeprefix("dns:///").split(",") if n.strip()]
    if every_address and len(names) != 1:
        raise ValueError("dns:/// goes with one name, such as dns:///rankd-headless:50051")
    return every_address, [split_address(name) for name in names]
