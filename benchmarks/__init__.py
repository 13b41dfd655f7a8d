"""Measures Vertiform beside what people use today: `python -m benchmarks`, or `make bench`."""
