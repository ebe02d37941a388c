"""Parsl's own tests on Trellis; nothing of theirs is in this repository. See ``tests.parsl.run``."""
