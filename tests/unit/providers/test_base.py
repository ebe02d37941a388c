"""What providers have in common."""

from __future__ import annotations

from typing import Any

import pytest

from trellis.core.jobs import JobStatus
from trellis.errors import ConfigurationError, ParameterTypeError
from trellis.providers.base import ExecutionProvider

GOOD: dict[str, Any] = {
    "nodes_per_block": 1,
    "init_blocks": 1,
    "min_blocks": 0,
    "max_blocks": 1,
    "parallelism": 1,
}


class UsersProvider(ExecutionProvider):
    """As in Parsl's programs: it does not call the base's constructor."""

    def __init__(self) -> None:
        self.queue = "debug"
        self._secret = "key"

    def submit(self, command: str, tasks_per_node: int, job_name: str = "mine") -> object:
        return 1

    def status(self, job_ids: list[Any]) -> list[JobStatus]:
        return []

    def cancel(self, job_ids: list[Any]) -> list[bool]:
        return []

    @property
    def label(self) -> str:
        return "mine"

    @property
    def status_polling_interval(self) -> float:
        return 5


class P(UsersProvider):
    """One of ours keeps what it was given by its base's method."""

    def __init__(self, **numbers: Any) -> None:
        self._keep_parameters(numbers)


def test_cores_and_memory_are_unknown_until_they_are_set() -> None:
    provider = UsersProvider()
    assert (provider.cores_per_node, provider.mem_per_node) == (None, None)
    provider.cores_per_node, provider.mem_per_node = 8, 16.5
    assert (provider.cores_per_node, provider.mem_per_node) == (8, 16.5)
    assert UsersProvider().cores_per_node is None


def test_repr_shows_the_settings_and_nothing_private() -> None:
    assert repr(UsersProvider()) == "UsersProvider(queue='debug')"


@pytest.mark.parametrize(
    "change", [{}, {"max_blocks": 0, "init_blocks": 0}, {"init_blocks": 5, "max_blocks": 1}, {"parallelism": 0.5}]
)
def test_numbers_that_make_sense(change: dict[str, Any]) -> None:
    P(**{**GOOD, **change})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"nodes_per_block": 0}, "P: nodes_per_block must be a whole number of at least 1, not 0"),
        ({"init_blocks": -1}, "P: init_blocks must be a whole number of at least 0, not -1"),
        ({"min_blocks": -1}, "P: min_blocks must be a whole number of at least 0, not -1"),
        ({"max_blocks": -1}, "P: max_blocks must be a whole number of at least 0, not -1"),
        ({"min_blocks": 2}, r"P: min_blocks \(2\) must not exceed max_blocks \(1\)"),
        ({"parallelism": -0.5}, "P: parallelism must be a number of at least 0, not -0.5"),
    ],
)
def test_numbers_that_make_no_sense(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        P(**{**GOOD, **change})


@pytest.mark.parametrize("name", sorted(GOOD))
def test_numbers_that_are_none(name: str) -> None:
    with pytest.raises(ParameterTypeError, match=name):
        P(**{**GOOD, name: "1"})
