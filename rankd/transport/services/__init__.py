"""The gRPC services: each method reads its message, calls a use case and writes the answer."""
