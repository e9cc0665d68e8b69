"""Which served models a caller may name."""

from __future__ import annotations

from rankd.errors import NotFoundError


def check_model(model: str, allowed: tuple[str, ...]) -> None:
    """Refuse a model that the settings do not list; an empty list accepts any.

    Raises:
        NotFoundError: naming the setting.
    """
    if allowed and model not in allowed:
        raise NotFoundError("model: not one of the served models in the setting quality.models")
