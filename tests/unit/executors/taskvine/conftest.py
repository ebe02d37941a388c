"""Tests of what runs in tasks' processes leave this one as it was."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from trellis.core.whereabouts import WORKER_MARK


@pytest.fixture(autouse=True)
def _is_no_worker() -> Iterator[None]:
    yield
    vars(sys.modules["__main__"]).pop(WORKER_MARK, None)
