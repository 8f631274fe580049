"""Evaluation: benchmarks in, runs and scores out."""
