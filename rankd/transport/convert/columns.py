"""Items of a message as columns. Errors name the field."""

from __future__ import annotations

import math

import numpy as np
from rankd_client.ordering import Policy
from rankd_client.shape import SHAPE_TEXTS, RequestShape
from rankd_client.v1 import prediction_pb2, rank_pb2

from rankd.adaptation.features import MOST_BYTES
from rankd.settings import LimitsSection
from rankd.transport.convert.request import EARLIEST_SECOND, LATEST_SECOND, Violations, seconds_of, too_long
from rankd.types import Constraints, FloatArray, RankQueue, TenantService

_NAN = math.nan


class RequestColumns:
    """Items of a queue, taken apart into columns. Filled item by item; ``index`` is for messages."""

    def __init__(self, limits: LimitsSection, violations: Violations, now: float) -> None:
        """Start empty."""
        self._limits = limits
        self._violations = violations
        self._now = now
        self.request_ids: list[str] = []
        self.prompts: list[str | None] = []
        self.arrival: list[float] = []
        self.max_tokens: list[int] = []
        self.generated: list[int] = []
        self.score: list[float] = []
        self.versions: list[str | None] = []
        self.expected: list[float] = []
        self.p90: list[float] = []
        self.learned: dict[int, float] = {}
        """By item: learned scores that predictions carry."""
        self.shapes: dict[int, RequestShape] = {}
        """By item: what is known of it beside its text."""
        self.echoes = False
        self.constraints = ConstraintColumns(limits, violations)

    def add(self, item: rank_pb2.RankItem, field: str, index: int) -> None:
        """Take one item apart. This is the hot loop of a long queue: a few microseconds an item."""
        request_id = item.request_id
        if not request_id or too_long(request_id, self._limits.max_request_id_bytes):
            self._violations.add(
                f"{field}[{index}].request_id",
                f"must have 1 to {self._limits.max_request_id_bytes} bytes (limits.max_request_id_bytes)",
            )
        self.request_ids.append(request_id)
        if item.HasField("prompt"):
            prompt = item.prompt
            if too_long(prompt, self._limits.max_prompt_bytes):
                self._violations.add(
                    f"{field}[{index}].prompt",
                    f"is longer than limits.max_prompt_bytes = {self._limits.max_prompt_bytes}",
                )
            self.prompts.append(prompt)
        else:
            self.prompts.append(None)
        arrival = self._now
        if item.HasField("arrival_time"):
            stamp = item.arrival_time
            seconds, nanos = stamp.seconds, stamp.nanos
            if EARLIEST_SECOND <= seconds <= LATEST_SECOND and 0 <= nanos < 1_000_000_000:
                arrival = min(seconds + nanos * 1e-9, arrival)
            else:
                seconds_of(stamp, f"{field}[{index}].arrival_time", self._violations)
        self.arrival.append(arrival)
        self.max_tokens.append(item.max_token_count)
        self.generated.append(item.generated_token_count)
        self.constraints.add(item, field, index)
        if item.HasField("shape"):
            self.shapes[len(self.request_ids) - 1] = self._shape(item.shape, f"{field}[{index}].shape")
        if item.HasField("prediction"):
            self._add_prediction(item.prediction, field, index)
        else:
            self.score.append(_NAN)
            self.versions.append(None)
            self.expected.append(_NAN)
            self.p90.append(_NAN)

    def _add_prediction(self, prediction: prediction_pb2.Prediction, field: str, index: int) -> None:
        score = prediction.score
        if not math.isfinite(score):
            self._violations.add(f"{field}[{index}].prediction.score", "must be finite: echo the prediction unchanged")
        expected = _NAN
        if prediction.HasField("expected_token_count"):
            expected = prediction.expected_token_count
            if not 0 <= expected <= self._limits.max_token_count:
                self._violations.add(
                    f"{field}[{index}].prediction.expected_token_count",
                    f"must be in 0 to limits.max_token_count = {self._limits.max_token_count}: echo it unchanged",
                )
        if len(prediction.features) > MOST_BYTES:
            self._violations.add(
                f"{field}[{index}].prediction.features", f"is longer than {MOST_BYTES} bytes: echo it unchanged"
            )
        if prediction.HasField("learned_score"):
            self._add_learned(prediction.learned_score, field, index)
        self.echoes = True
        self.score.append(score)
        self.versions.append(prediction.ranker_version)
        self.expected.append(expected)
        self.p90.append(self._p90(prediction, field, index))

    def _add_learned(self, learned: float, field: str, index: int) -> None:
        if not math.isfinite(learned):
            self._violations.add(
                f"{field}[{index}].prediction.learned_score", "must be finite: echo the prediction unchanged"
            )
        self.learned[len(self.score)] = learned

    def _shape(self, shape: rank_pb2.RequestShape, field: str) -> RequestShape:
        for name, most in SHAPE_TEXTS.items():
            if too_long(getattr(shape, name), most):
                self._violations.add(f"{field}.{name}", f"is longer than {most} bytes: send a hash of it")
        return RequestShape(
            messages=shape.message_count,
            tools=shape.tool_count,
            last_role=shape.last_role,
            tool_choice=shape.tool_choice,
            response_format=shape.response_format,
            reasoning_effort=shape.reasoning_effort,
            thinking_budget=shape.thinking_token_budget,
            choices=shape.choice_count,
            stops=shape.stop_count,
            step=shape.step,
        )

    def _p90(self, prediction: prediction_pb2.Prediction, field: str, index: int) -> float:
        if not prediction.HasField("p90_token_count"):
            return _NAN
        if not 0 <= prediction.p90_token_count <= self._limits.max_token_count:
            self._violations.add(
                f"{field}[{index}].prediction.p90_token_count",
                f"must be in 0 to limits.max_token_count = {self._limits.max_token_count}: echo it unchanged",
            )
        return prediction.p90_token_count

    def queue(self, model: str, policy: Policy | None, ranker_version: str, tenant_service: TenantService) -> RankQueue:
        """The queue; the caller has checked the violations."""
        return RankQueue(
            model=model,
            now=self._now,
            policy=policy,
            ranker_version=ranker_version,
            request_ids=self.request_ids,
            prompts=self.prompts,
            arrival=np.array(self.arrival, dtype=np.float64),
            max_tokens=np.array(self.max_tokens, dtype=np.float64),
            generated=np.array(self.generated, dtype=np.float64),
            score=np.array(self.score, dtype=np.float64),
            score_versions=self.versions,
            expected=np.array(self.expected, dtype=np.float64),
            p90=np.array(self.p90, dtype=np.float64),
            echoes=self.echoes,
            constraints=self.constraints.columns(),
            tenant_service=tenant_service,
            learned=self._learned_column(),
            shapes=[self.shapes.get(i) for i in range(len(self.request_ids))] if self.shapes else None,
        )

    def _learned_column(self) -> FloatArray | None:
        if not self.learned:
            return None
        column = np.full(len(self.request_ids), _NAN)
        column[list(self.learned)] = list(self.learned.values())
        return column


class ConstraintColumns:
    """What rules on top of a policy ask of items, by column."""

    def __init__(self, limits: LimitsSection, violations: Violations) -> None:
        """Start empty."""
        self._limits = limits
        self._violations = violations
        self.deadline: list[float] = []
        self.overtaken: list[int] = []
        self.priority_class: list[int] = []
        self.tenant: list[str] = []
        self.prompt_tokens: list[int] = []
        self.cached_prompt_tokens: list[int] = []
        self.running: list[bool] = []

    def add(self, item: rank_pb2.RankItem, field: str, index: int) -> None:
        """Take one item apart."""
        deadline = math.inf
        if item.HasField("deadline"):
            deadline = seconds_of(item.deadline, f"{field}[{index}].deadline", self._violations)
        self.deadline.append(deadline)
        self.overtaken.append(item.overtaken_count)
        self.priority_class.append(item.priority_class)
        tenant = item.tenant
        if tenant and too_long(tenant, self._limits.max_name_bytes):
            self._violations.add(
                f"{field}[{index}].tenant", f"is longer than limits.max_name_bytes = {self._limits.max_name_bytes}"
            )
        self.tenant.append(tenant)
        self.prompt_tokens.append(item.prompt_token_count)
        self.cached_prompt_tokens.append(item.cached_prompt_token_count)
        self.running.append(item.running)

    def columns(self) -> Constraints:
        """As arrays; None for what no item says anything of."""
        return Constraints.of(
            deadline=self.deadline,
            overtaken=self.overtaken,
            priority_class=self.priority_class,
            tenant=self.tenant,
            prompt_tokens=self.prompt_tokens,
            cached_prompt_tokens=self.cached_prompt_tokens,
            running=self.running,
        )
