"""What tells of an answer's length beside the prompt's text."""

from __future__ import annotations

from dataclasses import dataclass

SHAPE_TEXTS = {"last_role": 64, "tool_choice": 64, "response_format": 64, "reasoning_effort": 64, "step": 256}
"""Texts of a shape, and the most bytes of UTF-8 of each; the daemon refuses longer ones."""
SHAPE_COUNTS = ("messages", "tools", "thinking_budget", "choices", "stops")
"""Numbers of a shape, each below 2**32."""


@dataclass(frozen=True, slots=True)
class RequestShape:
    """What the body of a request says beside its text; 0 and "" stand for what it does not say.

    Texts are compared for equality only, and the daemon keeps keyed hashes of them. ``step`` names the step of a
    workflow, at most 256 bytes; the other texts have at most 64.
    """

    messages: int = 0
    """Messages of the conversation."""
    tools: int = 0
    """Tools that the model may call."""
    last_role: str = ""
    """Role of the last message, such as ``user`` or ``tool``."""
    tool_choice: str = ""
    """How the model has to choose a tool, such as ``auto``, ``none`` or ``required``."""
    response_format: str = ""
    """Format that the answer must have, such as ``text``, ``json_object`` or ``json_schema``."""
    reasoning_effort: str = ""
    """Effort of reasoning, such as ``low`` or ``high``."""
    thinking_budget: int = 0
    """Most tokens of reasoning."""
    choices: int = 0
    """Answers that are sampled for the one prompt."""
    stops: int = 0
    """Texts that end the answer."""
    step: str = ""
    """Which step of a workflow this is, as the caller names it."""


NO_SHAPE = RequestShape()
"""Of a request of which nothing is said."""
