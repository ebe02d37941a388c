"""One run of the benchmarks in a process of its own, as ``python -m benchmarks`` makes it."""

import pytest
from benchmarks.__main__ import RunFailed, run_once

SHORT = ["--target-s=0.01", "--round-trips=5"]


@pytest.mark.parametrize("name", ["processpool", "trellis", "trellis-executor"])
def test_a_run_gives_every_figure(name: str) -> None:
    figures = run_once(name, SHORT)
    assert set(figures) == {
        "first_result_s",
        "latency_p50_ms",
        "latency_p99_ms",
        "rate_per_s",
        "stop_s",
        "tasks",
    }
    assert all(value > 0 for value in figures.values())


def test_a_run_that_fails_says_why() -> None:
    with pytest.raises(RunFailed, match="--nonesuch"):
        run_once("processpool", ["--nonesuch"])
