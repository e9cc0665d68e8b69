"""Every span of the daemon, declared once."""

from __future__ import annotations

SPANS: dict[str, str] = {
    "rankd.v1.<Service>/<Method>": "One call, kind SERVER, child of the caller's span; RPC semantic conventions.",
    "score": "Waiting for scores within a call.",
    "tokenise": "Encoding a chunk of prompts, linked to its calls.",
    "queue": "A batch's wait: its oldest prompt, from admission until the model begins, tokenising included; linked.",
    "infer": "One batch in the model, linked to its calls.",
    "order": "Ordering within a call.",
    "guard": "A guard's change, with the event `guard_changed`; linked to the call, if any, that brought it about.",
}
