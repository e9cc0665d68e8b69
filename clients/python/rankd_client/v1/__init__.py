"""Generated from protos/rankd/v1 by `make protos`; do not edit."""
