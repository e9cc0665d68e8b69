"""What engines, gateways and data sets call the end of an answer, and what that says of its length. No I/O.

The one list of the proxy, of training and of the engines' integrations. What counts is what a reason means:

* the model ended its answer, by itself or at a stop sequence or a tool's call: its length is known;
* a limit, a filter, a caller or a fault ended it: it would be at least so long, a lower bound;
* a reason that is in no list is a lower bound too, as a cut answer taken for a whole one would teach what is wrong.

Spelled as by OpenAI (chat, completions, responses), Azure, Anthropic, vLLM, SGLang, TGI, llama.cpp, Ollama, LM Studio,
TensorRT-LLM, MLC, Cohere, Gemini and Vertex AI, Bedrock (Converse, Titan, AI21), Mistral, DeepSeek, xAI, watsonx.ai,
LiteLLM, OpenRouter and Vercel's AI SDK.
"""

from __future__ import annotations

import json
import math
import re
from enum import Enum

from rankd_client._types import Finish


class Ending(Enum):
    """Why an answer ended, as far as its length is concerned."""

    COMPLETE = "complete"
    """The model ended it: its length is known."""
    LIMIT = "limit"
    """A limit in tokens cut it: a lower bound, unless nothing but the limit could end it (``ignore_eos``)."""
    STOPPED = "stopped"
    """Something else than the model ended it, as a filter or a limit in time: a lower bound."""
    CANCELLED = "cancelled"
    """Whoever asked took it back: a lower bound."""
    FAILED = "failed"
    """It ended in an error: a lower bound of what it would have been."""
    UNFINISHED = "unfinished"
    """It had not ended when this was said: a lower bound."""
    NOT_GIVEN = "not_given"
    """No reason is given. Whoever knows that the answer is whole may take its length for known."""
    UNKNOWN = "unknown"
    """A reason is given that is not in the list: a lower bound."""

    @property
    def is_complete(self) -> bool:
        """Whether the length is known by this reason alone."""
        return self is Ending.COMPLETE

    @property
    def finish(self) -> Finish:
        """As it is reported to the daemon; never that a length is known where that is not certain."""
        return _FINISH.get(self, "aborted")


_FINISH: dict[Ending, Finish] = {
    Ending.COMPLETE: "stop",
    Ending.LIMIT: "length",
    Ending.CANCELLED: "cancelled",
    Ending.UNFINISHED: "in_progress",
}

_COMPLETE = """
    stop stopped complete completed done finish finished finished_successfully success succeeded natural
    end ended end_turn end_of_turn end_id end_of_text endoftext end_of_sequence
    eos eos_token eos_token_id eos_found eod eot eot_token matched_token matched_str matched_string matched_regex
    matched_eos
    stop_sequence stop_sequences stop_str stop_string stop_string_found stop_word stop_words word
    stop_token stop_tokens stop_token_id stop_token_ids stop_id stop_ids stop_criteria stopping_criteria
    stopped_eos stopped_word
    tool tools tool_call tool_calls tool_use tool_used function_call function_calls
"""
_LIMIT = """
    length length_capped length_limit limit token_limit tokens_limit stopped_limit
    max_token max_tokens max_tokens_reached max_new_tokens max_output_tokens max_completion_tokens max_predicted_tokens
    max_predicted_tokens_reached max_total_tokens max_new_token max_gen_toks max_length max_len max_length_reached
    max_context max_context_length max_seq_len
    max_model_len num_predict n_predict token_budget stop_limit
    model_length context_length context_length_reached context_length_exceeded context_window context_window_exceeded
    model_context_window_exceeded error_limit ignored incomplete truncated finished_partial_completion compaction
"""
_STOPPED = """
    content_filter content_filtered content_filter_error content_policy_violation sensitive filtered response_filtered
    filter safety image_safety recitation image_recitation
    language blocklist prohibited_content image_prohibited_content spii model_armor guardrail guardrail_intervened
    guardrails refusal refused error_toxic moderation rag_query_when_rag_disabled
    repetition repeat preempt preempted pause pause_turn paused interrupted time_limit timeout timed_out deadline
    insufficient_system_resource too_many_tool_calls other image_other no_image model_unloaded aborted
"""
_CANCELLED = """
    abort cancel cancelled canceled user_cancel user_cancelled user_canceled user_stop user_stopped
    user_abort disconnect disconnected client_disconnect client_disconnected
"""
_FAILED = """
    load unload network_error error errored fail failed failure exception internal_error server_error
    rate_limit_exceeded
    malformed_function_call malformed_tool_use malformed_tool_call malformed_model_output malformed_response
    unexpected_tool_call missing_thought_signature
"""
_UNFINISHED = "in_progress not_finished unfinished running queued pending waiting requires_action"
_NOT_GIVEN = "none null nil nan na unspecified"

_BETWEEN_WORDS = re.compile(r"[\W_]+")
_PREFIXES = ("finishreason", "finish", "finished", "stopreason", "reason", "k")
"""Of enumerations' members, the last as in C++ (TensorRT-LLM's ``kEND_ID``)."""
_NAMES = ("type", "reason", "finish_reason", "stop_reason")
"""What an object holds its reason by."""
_MOST_CHARACTERS = 256
"""A reason that is longer is none: it is not looked at."""
_ENDINGS: dict[str, Ending] = {
    word.replace("_", ""): ending
    for ending, words in (
        (Ending.COMPLETE, _COMPLETE),
        (Ending.LIMIT, _LIMIT),
        (Ending.STOPPED, _STOPPED),
        (Ending.CANCELLED, _CANCELLED),
        (Ending.FAILED, _FAILED),
        (Ending.UNFINISHED, _UNFINISHED),
        (Ending.NOT_GIVEN, _NOT_GIVEN),
    )
    for word in words.split()
}


def ending_of(reason: object) -> Ending:
    """What a reason says, whoever gave it; never raises.

    Args:
        reason: text in any case, with hyphens, blanks, humps or underscores between its words, or the name of an enum's
            member (``FinishReason.MAX_TOKENS``, ``FINISH_REASON_STOP``). An object is read by its ``type`` or
            ``reason``, as SGLang's ``{"type": "stop", "matched": 2}``, as such or as JSON in text. None, a NaN and an
            empty text are no reason.
    """
    if isinstance(reason, dict):
        inner = next((reason[name] for name in _NAMES if name in reason), "an object" if reason else None)
        return Ending.UNKNOWN if isinstance(inner, dict) else ending_of(inner)
    if reason is None or (isinstance(reason, float) and math.isnan(reason)):  # a NaN stands for a null in tables
        return Ending.NOT_GIVEN
    if isinstance(reason, Enum):
        reason = reason.name
    elif isinstance(reason, bytes):
        reason = reason.decode("utf-8", "replace")
    if not isinstance(reason, str) or len(reason) > _MOST_CHARACTERS:
        return Ending.UNKNOWN
    return _of_object(reason) if reason.lstrip().startswith("{") else _of_text(reason)


def _of_object(text: str) -> Ending:
    try:
        return ending_of(json.loads(text))
    except (ValueError, RecursionError):
        return Ending.UNKNOWN


def _of_text(reason: str) -> Ending:
    if not reason.strip():
        return Ending.NOT_GIVEN
    word = _BETWEEN_WORDS.sub("", reason.rpartition(".")[2]).lower()
    known = (_ENDINGS.get(word.removeprefix(prefix)) for prefix in ("", *_PREFIXES))
    return next((ending for ending in known if ending is not None), Ending.UNKNOWN)
