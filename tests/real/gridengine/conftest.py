"""Blocks are jobs of the bed's Grid Engine; after each test no job is left."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.real.gridengine import cluster
from tests.real.programs import wait_for
from trellis.providers import GridEngineProvider


@pytest.fixture
def provider_class() -> type[GridEngineProvider]:
    return GridEngineProvider


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    if left := list(cluster.jobs()):  # of a test that failed
        cluster.command("qdel", *left)
        wait_for("the host is idle", lambda: not cluster.jobs())
    yield
    wait_for("no job is left", lambda: not cluster.jobs(), 30)
