"""gRPC: listeners, interceptor, services, messages to values and back. The rest of the daemon knows no protobuf."""
