"""Benchmarks of monitoring: each prints tables, with its comparators measured in the same run; all by one command."""
