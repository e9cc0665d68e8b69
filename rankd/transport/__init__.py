"""The edge: gRPC and HTTP. The only rooms that know protobuf messages and status codes."""
