"""Short words for messages."""

import grpc
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from rankd_client.v1 import (
    admin_pb2_grpc,
    completion_pb2,
    completion_pb2_grpc,
    prediction_pb2,
    quality_pb2_grpc,
    rank_pb2,
    rank_pb2_grpc,
)

T0 = 1_700_000_000


def item(request_id, prompt=None, *, at=T0, prediction=None, **fields):
    out = rank_pb2.RankItem(request_id=request_id, **fields)
    if prompt is not None:
        out.prompt = prompt
    if at is not None:
        out.arrival_time.seconds = int(at)
        out.arrival_time.nanos = round((at - int(at)) * 1e9)
    if prediction is not None:
        out.prediction.CopyFrom(prediction)
    return out


def request(*items, now=T0 + 1000, **fields):
    out = rank_pb2.RankRequest(items=items, **fields)
    out.now.seconds = now
    return out


def ids(response):
    return [i.request_id for i in response.items]


def rank_stub(channel):
    return rank_pb2_grpc.RankServiceStub(channel)


def completion_stub(channel):
    return completion_pb2_grpc.CompletionServiceStub(channel)


def quality_stub(channel):
    return quality_pb2_grpc.QualityServiceStub(channel)


def admin_stub(channel):
    return admin_pb2_grpc.AdminServiceStub(channel)


def details(error: grpc.RpcError):
    """The google.rpc details of an error, by type."""
    found = {}
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for packed in Status.FromString(value).details:
                for kind in (ErrorInfo, BadRequest, RetryInfo):
                    if packed.Is(kind.DESCRIPTOR):
                        message = kind()
                        packed.Unpack(message)
                        found[kind.__name__] = message
    return found


def completion(request_id, score, tokens, version, finish=completion_pb2.FINISH_REASON_STOP, **fields):
    return completion_pb2.Completion(
        request_id=request_id,
        prediction=prediction_pb2.Prediction(score=score, ranker_version=version),
        output_token_count=tokens,
        finish_reason=finish,
        **fields,
    )


def report_many(daemon, model, count, first=0, version="tiny@1.0.0", scale=1.0):
    """So many completions; with a positive scale scores are in the order of lengths, with a negative one against it."""
    reports = [
        completion(f"{model}-{i}", scale * (i * 37 % 101), 10 + i * 37 % 101, version)
        for i in range(first, first + count)
    ]
    with daemon.channel() as channel:
        answer = completion_stub(channel).ReportCompletions(
            completion_pb2.ReportCompletionsRequest(model=model, completions=reports), timeout=30
        )
    assert answer.accepted_count == count
