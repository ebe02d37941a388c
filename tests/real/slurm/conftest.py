"""Blocks are jobs of the bed's Slurm; after each test no job is left."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.real.programs import wait_for
from tests.real.slurm import cluster
from trellis.providers import SlurmProvider


@pytest.fixture
def provider_class() -> type[SlurmProvider]:
    return SlurmProvider


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    cluster.command("scancel", "--user=root")  # of a test that failed
    wait_for("both nodes are idle", lambda: cluster.nodes() == ["idle", "idle"])
    yield
    wait_for("no job is left", lambda: not cluster.jobs(), 30)
