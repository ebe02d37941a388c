"""Bash apps start real MPI programs: how many ranks there are, where they are, and who has which nodes when."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import trellis
from tests.real.mpi.conftest import Place


class Run(NamedTuple):
    """What the ranks of a program have found."""

    sizes: set[int]
    ranks: list[int]
    nodes: Counter[str]  # ranks on each
    begin: float
    end: float


class Started(NamedTuple):
    future: Future[int]
    directory: Path

    def result(self) -> Run:
        assert self.future.result(timeout=120) == 0
        found = [json.loads(path.read_text()) for path in self.directory.iterdir()]
        return Run(
            {each["size"] for each in found},
            sorted(each["rank"] for each in found),
            Counter(each["node"] for each in found),
            min(each["begin"] for each in found),
            max(each["end"] for each in found),
        )


@trellis.bash_app
def program(command: str, parsl_resource_specification: dict[str, Any], stderr: str) -> str:
    return f"$PARSL_MPI_PREFIX {command}"


class Programs:
    """Starts programs in a place."""

    def __init__(self, place: Place, ranks: str, directory: Path) -> None:
        self._place, self._ranks, self._directory = place, ranks, directory
        self._count = 0

    def start(self, seconds: float = 0.0, **specification: int) -> Started:
        self._count += 1
        directory = self._directory / str(self._count)
        directory.mkdir()
        options = {"launcher_options": self._place.launcher_options} if self._place.launcher_options else {}
        future = program(
            f"{self._ranks} {self._place.mpi} {directory} {seconds}",
            parsl_resource_specification={**specification, **options},
            stderr=str(self._directory / f"{self._count}.stderr"),
        )
        return Started(future, directory)


@pytest.fixture
def programs(place: Place, ranks: str, tmp_path: Path) -> Programs:
    return Programs(place, ranks, tmp_path)


@pytest.mark.parametrize(
    ("specification", "per_node"),
    [
        ({"num_nodes": 1}, [1]),
        ({"num_nodes": 1, "ranks_per_node": 2}, [2]),
        ({"num_nodes": 2}, [1, 1]),
        ({"num_nodes": 2, "ranks_per_node": 2}, [2, 2]),
        ({"num_ranks": 4, "ranks_per_node": 2}, [2, 2]),
    ],
    ids=str,
)
def test_ranks_are_as_many_as_were_asked_for_and_where_they_belong(
    programs: Programs, specification: dict[str, int], per_node: list[int]
) -> None:
    run = programs.start(**specification).result()
    assert run.sizes == {sum(per_node)}
    assert run.ranks == list(range(sum(per_node)))
    assert list(run.nodes.values()) == per_node


def test_programs_never_share_a_node(programs: Programs, place: Place) -> None:
    sizes = [1, 2, 1, 1, place.nodes, 1, 2, 1]
    runs = [started.result() for started in [programs.start(0.3, num_nodes=size) for size in sizes]]
    assert [len(run.nodes) for run in runs] == sizes
    for number, run in enumerate(runs):
        for other in runs[:number]:
            assert not run.nodes.keys() & other.nodes.keys() or other.end <= run.begin or run.end <= other.begin
    assert any(run.begin < other.end and other.begin < run.end for run in runs for other in runs if run is not other)


def test_a_program_on_all_nodes_is_not_kept_out_by_small_ones(programs: Programs, place: Place) -> None:
    before = [programs.start(0.3, num_nodes=1) for _ in range(4)]
    large = programs.start(0.3, num_nodes=place.nodes)
    after = [programs.start(0.3, num_nodes=1) for _ in range(16)]
    run = large.result()
    assert len(run.nodes) == place.nodes
    assert all(small.result().begin < run.begin for small in before)
    assert sum(small.result().begin >= run.end for small in after) >= 8
