"""Benchmarks of monitoring: each prints a table, with its comparators measured in the same run."""
