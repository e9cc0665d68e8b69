"""What binds predictions to a request, its tenant and its served model: signatures, made and verified.

``canonical`` is the contract between replicas of different versions: what is signed never changes its encoding, and
another one gets another first line. docs/guides/security.md shows it.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from rankd_client.v1 import prediction_pb2, rank_pb2

from rankd.auth import ReloadingFile, SigningKeys, parse_keys
from rankd.errors import ForbiddenError
from rankd.settings import Settings
from rankd.telemetry.telemetry import Telemetry
from rankd.transport.authentication import current_caller
from rankd.transport.time_slices import TimeSlice, TimeSlices
from rankd.types import Answer

_DOMAIN = b"rankd prediction 1\n"
"""Sets these signatures apart from any other use of a key."""
_LEARNING_DOMAIN = b"rankd prediction 2\n"
"""Of predictions that carry features or a learned score."""
_FIXED = struct.Struct("<BdqidddQIIIII")
_SHADOW = struct.Struct("<dI")
_LEARNING = struct.Struct("<BdI")
_AT_ONCE = 32
"""Items between two readings of the clock."""


def canonical(prediction: prediction_pb2.Prediction, request_id: str, model: str) -> bytes:
    """What is signed: all that a prediction says but its signature, and whose it is.

    Little-endian and without padding: which optional fields are set (bit 0 scored_at, 1 expected, 2 p50, 3 p90), score,
    scored_at's seconds and nanos, the three lengths, pilot slot, number of shadow scores, and the sizes of request id,
    tenant, model and ranker version in bytes of UTF-8; then these four; then each shadow's score, size and name.

    A prediction with features or a learned score has another first line, and then the same, and then whether a learned
    score is set (0 or 1), that score (0.0 where not), and the features' size and bytes.
    """
    has = prediction.HasField
    flags = (
        has("scored_at") | has("expected_token_count") << 1 | has("p50_token_count") << 2 | has("p90_token_count") << 3
    )
    seconds = nanos = 0
    if flags & 1:
        at = prediction.scored_at
        seconds, nanos = at.seconds, at.nanos
    shadows = prediction.shadow_scores
    identity, tenant = _utf8(request_id), _utf8(prediction.tenant)
    served, version = _utf8(model), _utf8(prediction.ranker_version)
    fixed = _FIXED.pack(
        flags,
        prediction.score,
        seconds,
        nanos,
        prediction.expected_token_count,
        prediction.p50_token_count,
        prediction.p90_token_count,
        prediction.pilot_slot,
        len(shadows),
        len(identity),
        len(tenant),
        len(served),
        len(version),
    )
    features, learned = prediction.features, has("learned_score")
    domain = _LEARNING_DOMAIN if features or learned else _DOMAIN
    data = b"".join((domain, fixed, identity, tenant, served, version))
    for shadow in shadows:
        name = _utf8(shadow.ranker_version)
        data += _SHADOW.pack(shadow.score, len(name)) + name
    if domain is _LEARNING_DOMAIN:
        data += _LEARNING.pack(learned, prediction.learned_score, len(features)) + features
    return data


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


class PredictionSigner:
    """Signs predictions and verifies signatures, where there are keys."""

    def __init__(self, settings: Settings, time_slices: TimeSlices, telemetry: Telemetry) -> None:
        """Read the keys.

        Raises:
            ConfigError: the file is wrong.
        """
        self._time_slices = time_slices
        self._telemetry = telemetry
        self.file: ReloadingFile[SigningKeys] | None = None
        """What is followed; None where nothing is signed."""
        if (path := settings.signing.file) is not None:
            self.file = ReloadingFile(
                "signing.file", {"signing.file": path}, lambda c: parse_keys(c["signing.file"], path)
            )

    @property
    def keys(self) -> SigningKeys | None:
        """The keys in force; None where nothing is signed."""
        return None if self.file is None else self.file.current

    # -- what comes in -------------------------------------------------------------------------------------------------

    def verify(self, prediction: prediction_pb2.Prediction, request_id: str, model: str) -> bool:
        """Whether a prediction is one of ours, of this request and model; without keys every one is."""
        keys = self.keys
        if keys is None or keys.verify(
            prediction.key_id, prediction.signature, canonical(prediction, request_id, model)
        ):
            return True
        self._telemetry.refused("signature")
        return False

    async def filter_all(self, items: Sequence[rank_pb2.RankItem], field: str, model: str) -> None:
        """Do ``filter_untrusted`` for the items of one message, in time slices where they are many."""
        if not self.verifies:
            return
        async with self._time_slice(len(items)) as time_slice:
            for index, item in enumerate(items):
                if index % _AT_ONCE == 0 and time_slice is not None and time_slice.over:
                    await time_slice.next()
                self.filter_untrusted(item, f"{field}[{index}]", model)

    @property
    def verifies(self) -> bool:
        """Whether ``filter_all`` has anything to look at: there are keys, or the caller is one tenant's."""
        return self.keys is not None or bool(current_caller().tenant)

    def filter_untrusted(self, item: rank_pb2.RankItem, field: str, model: str) -> None:
        """Fill in an item's tenant, and take a prediction away that is not trusted: it is then as without one.

        Raises:
            ForbiddenError: it is another tenant's than the caller may act for.
        """
        caller = current_caller()
        if caller.tenant:
            if not caller.may_act_for(item.tenant):
                self._telemetry.refused("tenant")
                raise ForbiddenError("WRONG_TENANT", f"{field}.tenant: is not the tenant of the caller's credential")
            item.tenant = caller.tenant
        if self.keys is None or not item.HasField("prediction"):
            return
        if item.prediction.tenant != item.tenant or not self.verify(item.prediction, item.request_id, model):
            item.ClearField("prediction")

    # -- what goes out -------------------------------------------------------------------------------------------------

    async def sign_all(self, items: Sequence[rank_pb2.RankedItem], answer: Answer, model: str) -> None:
        """Sign an answer's predictions, in time slices where they are many."""
        if self.keys is None:
            return
        fresh = answer.fresh.tolist()
        async with self._time_slice(len(items)) as time_slice:
            for count, item in enumerate(items):
                if count % _AT_ONCE == 0 and time_slice is not None and time_slice.over:
                    await time_slice.next()
                self.sign(item, model, new=fresh[item.index] or item.index in answer.shadow_scores)

    def sign(self, item: rank_pb2.RankedItem, model: str, *, new: bool) -> None:
        """Sign an item's prediction, where it has one and that is new or signed with a key that is to go."""
        keys = self.keys
        if keys is None or not item.HasField("prediction"):
            return
        prediction = item.prediction
        if new or prediction.key_id != keys.first:
            prediction.key_id = keys.first
            prediction.signature = keys.sign(canonical(prediction, item.request_id, model))

    @asynccontextmanager
    async def _time_slice(self, items: int) -> AsyncIterator[TimeSlice | None]:
        """A time slice for what is long; what is short is done at once."""
        if items <= _AT_ONCE:
            yield None
            return
        async with self._time_slices.acquire() as time_slice:
            yield time_slice
