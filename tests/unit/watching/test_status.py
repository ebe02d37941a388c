from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.unit.watching.played import Apps, Played, kernel_of, until
from trellis.core.reports import ExecutorReport
from trellis.dataflow.kernel import DataFlowKernel
from trellis.errors import DataFlowException, ParameterTypeError, ParameterValueError
from trellis.watching.snapshot import AppTasks, as_json
from trellis.watching.tasks import list_tasks


@pytest.fixture
def played() -> Played:
    return Played()


@pytest.fixture(params=[True, False], ids=["collected", "kept"])
def kernel(request: pytest.FixtureRequest, played: Played, tmp_path: Path) -> Iterator[DataFlowKernel]:
    kernel = kernel_of(played, tmp_path, garbage_collect=request.param, project_name="weather")
    yield kernel
    kernel.cleanup()


@pytest.fixture
def apps(kernel: DataFlowKernel) -> Apps:
    return Apps(kernel)


def some_tasks(apps: Apps, played: Played, tmp_path: Path) -> list[Any]:
    """A done one, a failed one and one that waited for it, a cancelled, a running, a launched and a pending one."""
    done, failed, cancelled = apps.simulate(), apps.simulate(stdout=(str(tmp_path / "out"), "w")), apps.stubborn()
    running, launched = apps.stubborn(), apps.simulate()
    dependent, pending = apps.stubborn(failed), apps.known(launched)
    played.end(done)
    played.end(failed, exception=ValueError("too large"))
    dependent.exception()
    played.begin(running)
    played.cancel = lambda attempt: True  # type: ignore[method-assign]
    assert cancelled.cancel()
    return [done, failed, cancelled, running, launched, dependent, pending]


def test_tasks_are_counted_by_app_and_state_whether_or_not_their_records_are_kept(
    apps: Apps, played: Played, kernel: DataFlowKernel, tmp_path: Path
) -> None:
    some_tasks(apps, played, tmp_path)
    status = kernel.status()
    assert status.states == {
        "pending": 1, "launched": 1, "running": 1, "exec_done": 1, "failed": 1, "dep_fail": 1, "cancelled": 1
    }  # fmt: skip
    assert status.apps == (
        AppTasks("known", 1, {"pending": 1}),
        AppTasks("simulate", 3, {"launched": 1, "exec_done": 1, "failed": 1}),
        AppTasks("stubborn", 3, {"running": 1, "dep_fail": 1, "cancelled": 1}),
    )
    assert (status.total, status.remaining, status.state, status.ended_at) == (7, 3, "live", None)
    assert {state.name: count for state, count in kernel.task_state_counts.items() if count} == status.states


def test_which_run_it_is(kernel: DataFlowKernel) -> None:
    run = kernel.status().run
    assert (run.run_dir, run.run_id, run.project, list(run.executors)) == (
        kernel.run_dir,
        kernel.run_id,
        "weather",
        ["played"],
    )


def test_the_last_failures_are_in_it(apps: Apps, played: Played, kernel: DataFlowKernel, tmp_path: Path) -> None:
    some_tasks(apps, played, tmp_path)
    first, second = kernel.status().failures
    assert (first.task_id, first.error, first.hostname, first.stdout) == (
        1,
        "ValueError: too large",
        "node7",
        str(tmp_path / "out"),
    )
    assert (second.task_id, second.state) == (5, "dep_fail")


def test_executors_tell_of_themselves_and_inner_threads_only_when_they_work(kernel: DataFlowKernel) -> None:
    assert kernel.status().executors == (ExecutorReport("played", "Played", 4, 1, 2, 3),)


def test_an_executor_that_raises_or_hangs_costs_its_own_answer_only(kernel: DataFlowKernel, played: Played) -> None:
    def broken() -> ExecutorReport:
        raise OSError("no connection")

    released = threading.Event()

    def hangs() -> ExecutorReport:
        released.wait()
        return ExecutorReport("played", "Played", 4)

    played.answers = broken
    assert kernel.status().executors[0].notes == ("its report failed: OSError: no connection",)
    played.answers = hangs
    assert kernel.status(timeout_s=0.01).executors[0].notes == ("it has not answered within 0.01 s",)
    released.set()


def test_of_an_executor_that_knows_nothing_the_kernel_says_what_it_has(
    kernel: DataFlowKernel, played: Played, apps: Apps
) -> None:
    played.answers = lambda: ExecutorReport("played", "Played", 0)
    apps.simulate(), apps.simulate()
    assert kernel.status().executors[0].notes == ("2 tasks given to it have not ended",)


def test_how_long_it_takes_follows_from_the_rate(apps: Apps, played: Played, kernel: DataFlowKernel) -> None:
    pace, now = kernel._watch.pace, time.monotonic()
    futures = [apps.simulate() for _ in range(6)]
    pace._looks.clear()
    pace.note(now - 5, 6, 0)
    pace.note(now - 2, 6, 0)
    for future in futures[:2]:
        played.end(future)
        future.result()
    until(lambda: kernel.final_tasks.total == 2)
    status = kernel.status()
    assert status.rate_per_s == pytest.approx(0.4, rel=0.2)
    assert status.eta_s == pytest.approx(10, rel=0.2)
    assert kernel.status().mean_rate_per_s


def test_when_only_tasks_that_run_are_left_no_time_is_foretold(
    apps: Apps, played: Played, kernel: DataFlowKernel
) -> None:
    first, last = apps.simulate(), apps.simulate()
    kernel._watch.pace.note(time.monotonic() - 5, 2, 0)
    played.end(first)
    first.result()
    played.begin(last)
    status = kernel.status()
    assert (bool(status.rate_per_s), status.remaining, status.eta_s) == (True, 1, None)


def test_while_it_is_cleaned_up_it_says_so(played: Played, tmp_path: Path) -> None:
    kernel = kernel_of(played, tmp_path)
    seen: list[Any] = []
    played.shutdown = lambda: seen.append(kernel.status())  # type: ignore[method-assign]
    kernel.cleanup()
    assert (seen[0].state, bool(seen[0].notes)) == ("ending", True)


def test_wrong_time_limits_are_refused(kernel: DataFlowKernel) -> None:
    with pytest.raises(ParameterValueError, match="status: timeout_s"):
        kernel.status(timeout_s=-1)
    with pytest.raises(ParameterTypeError, match="status: timeout_s"):
        kernel.status(timeout_s="soon")  # type: ignore[arg-type]


def test_a_forked_child_is_told_where_to_ask(kernel: DataFlowKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "left_behind", True)
    for ask in (kernel.status, lambda: kernel.explain(0)):
        with pytest.raises(DataFlowException, match="forked child"):
            ask()


def test_it_is_plain_json(apps: Apps, kernel: DataFlowKernel) -> None:
    apps.simulate()
    status = as_json(kernel.status())
    assert (status["apps"][0]["states"], status["executors"][0]["blocks"]) == ({"launched": 1}, [])


# -- lists -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, [1, 3, 4, 5, 6]),
        ({"failed": True}, [1, 5]),
        ({"states": ["launched", "running"]}, [3, 4]),
        ({"states": ["pending"], "failed": True}, [1, 5, 6]),
        ({"apps": ["stubborn"]}, [3, 5]),
        ({"apps": ["stubborn"], "states": ["running"]}, [3]),
    ],
)
def test_which_tasks_are_listed(
    wanted: dict[str, Any], found: list[int], apps: Apps, played: Played, kernel: DataFlowKernel, tmp_path: Path
) -> None:
    some_tasks(apps, played, tmp_path)
    listed = list_tasks(kernel, **wanted)
    assert [task.task_id for task in listed.tasks] == found
    assert (listed.total, listed.notes) == (len(found), ())
    shorter = list_tasks(kernel, **wanted, limit=1)
    assert ([task.task_id for task in shorter.tasks], shorter.total) == (found[:1], len(found))


def test_of_what_is_not_kept_the_number_is_told(
    apps: Apps, played: Played, kernel: DataFlowKernel, tmp_path: Path
) -> None:
    some_tasks(apps, played, tmp_path)
    listed = list_tasks(kernel, states=["exec_done"])
    if kernel.config.garbage_collect:
        assert listed.tasks == []
        assert listed.notes[0].startswith("1 more have ended and are not kept: Config(garbage_collect=False)")
    else:
        assert ([task.task_id for task in listed.tasks], listed.notes) == ([0], ())


def test_names_that_are_not_there(apps: Apps, kernel: DataFlowKernel) -> None:
    apps.simulate()
    with pytest.raises(ParameterValueError, match=r"there is no state 'done': states are pending, running"):
        list_tasks(kernel, states=["done"])
    assert list_tasks(kernel, apps=["simulation"]).notes == ("no app simulation was called; apps that were: simulate",)


def test_a_task_that_runs_tells_where(apps: Apps, played: Played, kernel: DataFlowKernel) -> None:
    played.begin(apps.simulate())
    (task,) = list_tasks(kernel).tasks
    assert (task.hostname, task.manager, task.worker, task.block_id) == ("node7", "m1", 3, "0")
    assert task.running_since is not None


def test_halves_of_characters_do_not_spoil_the_answer() -> None:
    assert msgspec.json.encode(as_json({"caf\udce9": ["/out\udce9", 1]})) == b'{"caf\\\\udce9":["/out\\\\udce9",1]}'
