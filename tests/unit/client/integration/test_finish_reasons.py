"""Finish reasons: what engines call the end of an answer, and what it says of the answer's length."""

import json
from decimal import Decimal
from enum import Enum
from typing import get_args

import pytest
from rankd_client import Finish
from rankd_client.integration import Ending, ending_of

SPELLINGS = {
    Ending.COMPLETE: {
        "OpenAI": ["stop", "tool_calls", "function_call", "completed"],
        "Anthropic": ["end_turn", "stop_sequence", "tool_use"],
        "SGLang": [{"type": "stop", "matched": 2}, "FINISH_MATCHED_STR", "FINISH_MATCHED_TOKEN"],
        "TGI": ["eos_token", "stop_sequence"],
        "llama.cpp": ["eos", "word"],
        "Cohere": ["COMPLETE", "STOP_SEQUENCE", "TOOL_CALL"],
        "Gemini": ["STOP", "FinishReason.STOP", "FINISH_REASON_STOP"],
        "Bedrock": ["FINISH", {"reason": "endoftext"}, "tool_use"],
        "LM Studio": ["eosFound", "stopStringFound", "toolCalls"],
        "Vercel": ["tool-calls"],
        "vLLM": ["RequestStatus.FINISHED_STOPPED"],
        "TensorRT-LLM": ["end_id", "stop_words", "kEND_ID", "kSTOP_WORDS", "FinishReason.kEND_ID"],
        "xAI": ["REASON_STOP"],
        "as JSON": ['{"type": "stop", "matched": 2}', '"stop"', b"stop", " Stop\n"],
    },
    Ending.LIMIT: {
        "OpenAI": ["length", "max_output_tokens", "incomplete"],
        "Anthropic": ["max_tokens", "model_context_window_exceeded"],
        "SGLang": [{"type": "length", "length": 128}, "FINISH_LENGTH"],
        "vLLM": ["FINISHED_LENGTH_CAPPED"],
        "llama.cpp": ["limit"],
        "Cohere": ["MAX_TOKENS", "ERROR_LIMIT"],
        "Gemini": ["FinishReason.MAX_TOKENS", "FINISH_REASON_MAX_TOKENS", "maxTokens"],
        "Mistral": ["model_length"],
        "LM Studio": ["maxPredictedTokensReached", "contextLengthReached"],
        "watsonx": ["token_limit"],
        "TensorRT-LLM": ["kLENGTH"],
        "TGI's server": ["max_total_tokens"],
        "LiteLLM's objects": [{"finish_reason": "length"}, {"stop_reason": "max_tokens"}],
        "xAI": ["REASON_MAX_LEN", "REASON_MAX_CONTEXT"],
        "ChatGPT's export": [{"type": "max_tokens"}],
    },
    Ending.STOPPED: {
        "Azure": ["content_filter"],
        "Anthropic": ["refusal", "pause_turn"],
        "vLLM": ["repetition"],
        "Cohere": ["ERROR_TOXIC", "TIMEOUT"],
        "Gemini": ["SAFETY", "RECITATION", "FINISH_REASON_SAFETY", "PROHIBITED_CONTENT", "SPII", "OTHER"],
        "Bedrock": ["guardrail_intervened", "content_filtered", "CONTENT_FILTERED"],
        "DeepSeek": ["insufficient_system_resource"],
        "watsonx": ["time_limit"],
        "Vercel": ["content-filter"],
        "GLM": ["sensitive"],
        "TensorRT-LLM": ["kTIMED_OUT"],
        "rankd": ["aborted"],
    },
    Ending.CANCELLED: {
        "vLLM": ["abort"],
        "Cohere": ["USER_CANCEL"],
        "LM Studio": ["userStopped"],
        "UK": ["cancelled"],
    },
    Ending.FAILED: {
        "vLLM": ["error", "FINISHED_ERROR"],
        "OpenAI": ["failed"],
        "Cohere": ["ERROR"],
        "Gemini": ["MALFORMED_FUNCTION_CALL"],
        "Ollama": ["load", "unload"],
    },
    Ending.UNFINISHED: {"OpenAI": ["in_progress", "queued"], "watsonx": ["not_finished"]},
    Ending.NOT_GIVEN: {
        "nothing": [None, "", "  ", float("nan"), "None", "null", "NaN", {"type": None}, {}],
        "Gemini": ["FINISH_REASON_UNSPECIFIED"],
    },
    Ending.UNKNOWN: {
        "words": ["because", "full stop", "unknown", "!", "x" * 100_000, "{" * 300, "{" * 200, '{"a'],
        "no words": [0, 1, True, ["stop"], {"type": {"type": "stop"}}, Decimal("sNaN"), object(), b"\xff"],
    },
}


@pytest.mark.parametrize(
    ("reason", "ending"),
    [
        pytest.param(reason, ending, id=f"{ending.value}-{who}-{at}")
        for ending, spelled in SPELLINGS.items()
        for who, reasons in spelled.items()
        for at, reason in enumerate(reasons)
    ],
)
def test_what_engines_say(reason, ending):
    """A reason means the same whoever says it, and however it is written."""
    assert ending_of(reason) is ending
    if isinstance(reason, str) and "{" not in reason:
        assert ending_of(reason.lower()) is ending
        assert ending_of(reason.upper()) is ending


def test_an_enum_is_read_by_its_name():
    """As of a client library whose answers hold enums."""
    assert ending_of(Enum("Reason", {"MAX_TOKENS": 2}).MAX_TOKENS) is Ending.LIMIT


def test_only_a_complete_answer_has_a_known_length():
    """What is not certain is reported as a bound, by a reason that the daemon knows."""
    assert {ending for ending in Ending if ending.is_complete} == {Ending.COMPLETE}
    assert {ending for ending in Ending if ending.finish == "stop"} == {Ending.COMPLETE}
    assert {ending.finish for ending in Ending} == set(get_args(Finish))
    assert all(ending_of(finish).finish == finish for finish in get_args(Finish))


def test_objects_within_text_end():
    """JSON in JSON is looked into as far as a reason may be long."""
    text = "stop"
    for _ in range(6):
        text = json.dumps({"type": text})
    assert ending_of(text) in {Ending.COMPLETE, Ending.UNKNOWN}
