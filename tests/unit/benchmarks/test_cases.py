"""Each case on a system that does every task at once, in this thread."""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from benchmarks import cases, processes, run, work
from benchmarks.cases import CASES
from benchmarks.figures import FIGURES
from benchmarks.session import QUICK, Session
from benchmarks.systems import SYSTEMS


def at_once(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*map(value, args)))
        return future

    return call


def value(argument: Any) -> Any:
    """The results of futures, also of those in a list."""
    if isinstance(argument, list):
        return [value(item) for item in argument]
    return argument.result() if isinstance(argument, Future) else argument


def wrong(function: Callable[..., Any]) -> Callable[..., Any]:
    return at_once(lambda *args: None)


SESSION = Session(at_once, run_commands=lambda count: time.sleep(1e-4 * count))


@pytest.mark.parametrize(
    "name", ["latency", "noop", "bytes-1kB", "bytes-100kB", "bytes-1MB", "chain", "fan-in", "layers", "bash"]
)
def test_a_case_gives_figures_that_have_titles(name: str) -> None:
    measure = CASES[name].measure
    assert measure is not None
    figures = measure(SESSION, QUICK)
    assert set(figures) <= set(FIGURES)
    assert all(figure >= 0 for figure in figures.values())


@pytest.mark.parametrize("name", ["noop", "bytes-1kB", "chain", "fan-in", "layers"])
def test_wrong_results_fail_a_case(name: str) -> None:
    measure = CASES[name].measure
    assert measure is not None
    with pytest.raises(RuntimeError, match="wrong result"):
        measure(Session(wrong), QUICK)


def test_fairness_takes_the_times_that_the_tasks_tell() -> None:
    class Told(Future[Any]):
        run_info: Any

    def app(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(seconds: float) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_result((f"worker {len(made) % 2}", float(len(made) // 2), 1.0))
            made.append(seconds)
            return future

        return call

    made: list[float] = []
    assert cases.fairness(Session(app), QUICK) == {"busy_percent": 100.0, "tail_ms": 0.0}
    assert all(0.001 <= seconds <= 0.1 for seconds in made)


def test_tasks_that_should_wait_and_do_not_are_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(processes, "settle", lambda limit_s: None)
    Path("gate").touch()
    with pytest.raises(RuntimeError, match="should wait"):
        cases.outstanding(SESSION, QUICK)


def test_waiting_tasks_are_counted_and_weighed(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([{"submit": 1000.0, "manager": 5.0}, {"submit": 1000.0 + 2000 * 300, "manager": 5.0, "workers": 9.0}])
    monkeypatch.setattr(processes, "settle", lambda limit_s: None)
    monkeypatch.setattr(processes, "resident_bytes", lambda: next(looks))
    found = cases.outstanding(Session(lambda function: lambda argument: Future()), QUICK)
    assert (found["outstanding"], found["submit_bytes"], found["manager_bytes"]) == (2000, 300, 0)
    assert "workers_bytes" not in found
    assert 0 < found["slowest_submission"] <= 1


def test_a_submission_that_slows_down_is_told() -> None:
    assert cases._late([10.0, 10.0, 9.0, 8.0, 7.0, 6.0, 5.0, 5.0]) == 0.5
    assert cases._late([10.0]) == 1.0


def test_copies_are_the_most_memory_that_a_process_had(monkeypatch: pytest.MonkeyPatch) -> None:
    size = QUICK.large_array
    monkeypatch.setattr(work, "make_array", lambda size: memoryview(bytearray(size)))
    monkeypatch.setattr(processes, "settle", lambda limit_s: None)
    monkeypatch.setattr(processes, "resident_bytes", lambda: {"submit": 5.0, "workers": 7.0})
    monkeypatch.setattr(processes, "peak_bytes", lambda: {"submit": 5.0 + size, "workers": 7.0 + 2 * size})
    assert cases.copies(SESSION, QUICK) == {"copies_submit": 1.0, "copies_workers": 2.0}


def test_memory_that_was_used_for_a_moment_is_a_peak() -> None:
    processes.forget_peaks()
    before = processes.resident_bytes()["submit"]
    with mmap.mmap(-1, 50_000_000) as memory:  # not what this process may have had before and given back
        for offset in range(0, len(memory), mmap.PAGESIZE):
            memory[offset] = 1
    assert processes.peak_bytes()["submit"] - before > 40_000_000


@pytest.mark.parametrize(
    ("command", "role"),
    [
        ("trellis: interchange", "interchange"),
        ("trellis: manager", "manager"),
        ("trellis: worker", "workers"),
        ("parsl: HTEX interchange", "interchange"),
        ("python process_worker_pool.py --max_workers_per_node=2", "manager"),
        ("python -m loky.backend.popen_loky_posix --pipe 14", "workers"),
        ("python -m benchmarks.run", "workers"),
        ("sleep 3", "other"),
    ],
)
def test_processes_are_known_by_their_names(command: str, role: str) -> None:
    assert processes.role(command, own="python -m benchmarks.run") == role


def test_each_case_is_told_and_a_failing_one_spoils_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> dict[str, float]:
        raise ValueError("it is broken")

    run._say("noop", fail)
    run._say("chain", lambda: {"chain_per_s": 1.0})
    assert capsys.readouterr().out.splitlines() == [
        '{"case": "noop", "failed": "ValueError: it is broken"}',
        '{"case": "chain", "figures": {"chain_per_s": 1.0}}',
    ]


def test_every_system_has_a_title_of_its_own() -> None:
    assert len({system.title for system in SYSTEMS.values()}) == len(SYSTEMS)
