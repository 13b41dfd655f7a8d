"""Scores, intervals, gates and what is shown of them. Pure functions on plain values and arrays."""
