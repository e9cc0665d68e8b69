"""Replay of a trace under any order: a simulation of continuous batching, its figures, and a page."""
