"""Tokens and examples on disk in, tensors out. A batch is a function of (seed, its number)."""
