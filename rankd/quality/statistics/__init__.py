"""Kendall's tau, realised gain and their intervals over samples, windows and cohorts; two rankers compared."""
