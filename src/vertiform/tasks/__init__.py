"""Labelled tasks: how rows are encoded, what is lost, how outputs are decoded, and baselines."""
