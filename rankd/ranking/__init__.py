"""The two use cases, without gRPC: order a queue, take a completion. And the policy in force."""
