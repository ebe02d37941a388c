"""Tests on a real Slurm with two nodes: run them with ``make test-slurm``."""
