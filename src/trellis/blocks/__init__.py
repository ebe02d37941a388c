"""Blocks of an executor: which there are, how many there should be, what to do when they fail."""
