"""Tests against real batch systems. Not part of a plain ``pytest``: ``make test-slurm`` brings the system up first."""
