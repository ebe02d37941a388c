"""What the real TaskVine is called with, where that is not its plain interface."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from trellis.executors.taskvine.ndcctools.adapter import TaskVine


@pytest.mark.parametrize("level", ["task", "workflow", "worker", "forever"])
def test_what_was_unpacked_is_kept_as_long_as_the_archive_and_not_passed_on(level: str) -> None:
    vine: Any = object.__new__(TaskVine)
    names = ("task", "workflow", "worker", "forever")
    levels = {f"VINE_CACHE_LEVEL_{name.upper()}": name for name in names}
    vine._constants = SimpleNamespace(**levels, VINE_PEER_NOSHARE="alone", vine_declare_untar=lambda *given: given)
    vine._manager = SimpleNamespace(_taskvine="manager")
    vine._module = SimpleNamespace(File=lambda made: made)
    assert vine.untar(SimpleNamespace(_file="archive"), level) == ("manager", "archive", level, "alone")
