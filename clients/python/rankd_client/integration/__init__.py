"""What integrations into engines share. Nothing here needs an engine, and all of it is importable from here.

``rankd_vllm``, ``rankd_transformers`` and ``rankd proxy`` are thin layers over it; so may an engine of your own be:

* where the daemon is: :class:`IntegrationSettings`, from environment variables
* from an event loop, within a deadline: :class:`CircuitBreaker`, :func:`order_of`, :func:`priority_of`
* as long as a request would wait anyway: :class:`EngineLoad`, :func:`order_in_time`, :class:`LateScores`
* from a scheduler, which never waits: :class:`BackgroundScores`
* what a request of OpenAI's API asks for, and its shape: :func:`route_of`, :func:`read_request`, :class:`RequestBody`
* how many tokens its prompt has, about: :class:`PromptTokens`
* its class, tenant, step and deadline: :class:`TermSources`
* what ended an answer, and whether its length is known: :func:`ending_of`, :class:`Ending`
* what became of it: :class:`Reporter`, :class:`PredictionStore`, and tallies (:class:`Tally`) for a page of metrics
"""

from rankd_client._backoff import Backoff
from rankd_client.integration.background_scores import FCFS, BackgroundScores
from rankd_client.integration.circuit_breaker import CircuitBreaker
from rankd_client.integration.expected_wait import Begun, ExpectedWait
from rankd_client.integration.finish_reasons import Ending, ending_of
from rankd_client.integration.hold_up import EngineLoad, Visit
from rankd_client.integration.in_time import TOO_LATE, LateScores, Order, Question, order_in_time
from rankd_client.integration.in_turn import InTurn
from rankd_client.integration.openai_requests import OpenAIRequest, Route, read_request, route_of
from rankd_client.integration.prediction_store import PredictionStore, StoredPrediction
from rankd_client.integration.priority import is_priority, order_of, priority_of
from rankd_client.integration.prompt_text import NO_TEXT, PromptText
from rankd_client.integration.prompt_tokens import PromptCount, PromptTokens
from rankd_client.integration.reporter import FinishedRequest, Reporter, ReportSender, connect
from rankd_client.integration.request_body import Message, Receive, RequestBody
from rankd_client.integration.request_shape import MOST_STEP_BYTES, short_text, structured_format, whole_number
from rankd_client.integration.request_terms import RequestTerms, TermSources
from rankd_client.integration.settings import IntegrationSettings, log_under, logger, warn_once
from rankd_client.integration.tally import CounterTally, MemoryTally, Tally

__all__ = [
    "FCFS",
    "MOST_STEP_BYTES",
    "NO_TEXT",
    "TOO_LATE",
    "BackgroundScores",
    "Backoff",
    "Begun",
    "CircuitBreaker",
    "CounterTally",
    "Ending",
    "EngineLoad",
    "ExpectedWait",
    "FinishedRequest",
    "InTurn",
    "IntegrationSettings",
    "LateScores",
    "MemoryTally",
    "Message",
    "OpenAIRequest",
    "Order",
    "PredictionStore",
    "PromptCount",
    "PromptText",
    "PromptTokens",
    "Question",
    "Receive",
    "ReportSender",
    "Reporter",
    "RequestBody",
    "RequestTerms",
    "Route",
    "StoredPrediction",
    "Tally",
    "TermSources",
    "Visit",
    "connect",
    "ending_of",
    "is_priority",
    "log_under",
    "logger",
    "order_in_time",
    "order_of",
    "priority_of",
    "read_request",
    "route_of",
    "short_text",
    "structured_format",
    "warn_once",
    "whole_number",
]
