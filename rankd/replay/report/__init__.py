"""What a replay found: figures, sweeps, verdict, page."""
