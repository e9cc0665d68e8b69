"""From trained weights to an artifact: graph, precision, parity, model card."""
