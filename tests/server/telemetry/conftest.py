"""Collectors that keep what they get, over gRPC and over HTTP."""

import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


class MetricsReceiver(metrics_service_pb2_grpc.MetricsServiceServicer):
    """Keeps the metrics it gets."""

    def __init__(self):
        self.requests = []

    def Export(self, request, context):  # noqa: N802
        del context
        self.requests.append(request)
        return metrics_service_pb2.ExportMetricsServiceResponse()

    def metrics(self):
        return [
            metric
            for export in list(self.requests)
            for resource in export.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        ]


class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    """A collector that keeps what it gets."""

    def __init__(self):
        self.requests = []
        self.measured = MetricsReceiver()
        self._server = grpc.server(futures.ThreadPoolExecutor(2))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self._server)
        metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(self.measured, self._server)
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def Export(self, request, context):  # noqa: N802
        del context
        self.requests.append(request)
        return trace_service_pb2.ExportTraceServiceResponse()

    def spans(self, service):
        return [
            span
            for export in list(self.requests)
            for resource in export.resource_spans
            if any(a.key == "service.name" and a.value.string_value == service for a in resource.resource.attributes)
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def stop(self):
        self._server.stop(0)


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.stop()


class HttpReceiver(BaseHTTPRequestHandler):
    """A collector that takes OTLP over HTTP; keeps paths and spans' names."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.paths.add(self.path)
        if self.path == "/v1/traces":
            export = trace_service_pb2.ExportTraceServiceRequest.FromString(body)
            spans = [s for r in export.resource_spans for scope in r.scope_spans for s in scope.spans]
            self.server.names |= {s.name for s in spans}
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def http_receiver():
    """A collector at a port of its own."""
    with ThreadingHTTPServer(("127.0.0.1", 0), HttpReceiver) as server:
        server.paths, server.names = set(), set()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
