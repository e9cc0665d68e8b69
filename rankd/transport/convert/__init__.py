"""Between protobuf messages and plain values."""
