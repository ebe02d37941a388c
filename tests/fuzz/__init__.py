"""Malformed and misplaced messages by the million, to services that go on working. See ``run.py``."""
