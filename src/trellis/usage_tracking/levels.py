"""Levels of Parsl's usage tracking, for ``Config(usage_tracking=...)``; all of them send nothing here."""

DISABLED = 0
LEVEL_1 = 1
LEVEL_2 = 2
LEVEL_3 = 3
