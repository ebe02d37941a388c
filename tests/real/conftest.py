"""Tests here run in a bed only (``make test-slurm`` …), which is known by its mark in the environment."""

from __future__ import annotations

import os

from tests.real.bed import MARK

collect_ignore_glob = [] if MARK in os.environ else ["*"]
