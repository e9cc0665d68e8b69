"""gRPC: listeners, interceptor, services, messages to values and back. Only here are protobuf and statuses known."""
