from __future__ import annotations

import logging
import os
import pathlib
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any

import pytest

from tests.unit.dataflow_memo.fakes import Task
from trellis.dataflow.checkpoint import CHECKPOINT_FILE, CheckpointWriter, get_last_checkpoint, load_checkpoints
from trellis.dataflow.memoization import BasicMemoizer, Memoizer, bypassed
from trellis.errors import BadCheckpoint, ConfigurationError, NoDataFlowKernelError, ParameterTypeError


def f(*args: Any, **kwargs: Any) -> None: ...


class Runs:
    """Starts memoizers, each run in the next run directory, and closes what is left open."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.count = 0
        self.started: list[Memoizer] = []

    def start(self, memoizer: BasicMemoizer | None = None, **parameters: Any) -> BasicMemoizer:
        memoizer = memoizer or BasicMemoizer(**parameters)
        memoizer.start(run_dir=str(self.run_dir(self.count)), config_run_dir=str(self.directory))
        self.count += 1
        self.started.append(memoizer)
        return memoizer

    def run_dir(self, number: int) -> pathlib.Path:
        return self.directory / f"{number:03}"

    def on_disk(self, number: int) -> int:
        """How many results the checkpoint of a run holds."""
        path = self.run_dir(number) / "checkpoint" / CHECKPOINT_FILE
        return len(load_checkpoints([path])) if path.exists() else 0


@pytest.fixture
def runs(tmp_path: pathlib.Path) -> Iterator[Runs]:
    runs = Runs(tmp_path / "runinfo")
    yield runs
    for memoizer in runs.started:
        memoizer.close()


def call(memoizer: Memoizer, *args: Any, result: Any = "result", func: Any = f, **kwargs: Any) -> Any:
    """What a call gives: its remembered result, or ``result`` after it has run."""
    task = Task(func, *args, **kwargs)
    found = memoizer.check_memo(task)
    if found is not None:
        return found.result(timeout=0)
    memoizer.update_memo_result(task, result)
    return result


# -- within a run ----------------------------------------------------------------------------------------------


def test_the_same_call_gives_the_remembered_result(runs: Runs) -> None:
    memoizer = runs.start()
    assert [call(memoizer, 1, result=n) for n in range(3)] == [0, 0, 0]
    assert call(memoizer, 2, result=5) == 5


def test_none_is_a_result_like_any_other(runs: Runs) -> None:
    memoizer = runs.start()
    assert call(memoizer, result=None) is None
    assert call(memoizer, result=1) is None


def test_calls_like_a_running_one_wait_for_its_result(runs: Runs) -> None:
    memoizer = runs.start()
    first, followers = Task(f, 1), [Task(f, 1), Task(f, 1)]
    assert memoizer.check_memo(first) is None
    futures = [memoizer.check_memo(task) for task in followers]
    assert [future.done() for future in futures if future] == [False, False]
    memoizer.update_memo_result(first, "shared")
    for task, future in zip(followers, futures, strict=True):
        assert future is not None
        assert future.result(timeout=0) == "shared"
        memoizer.update_memo_result(task, "shared")


def test_no_follower_can_cancel_the_shared_future(runs: Runs) -> None:
    memoizer = runs.start()
    memoizer.check_memo(Task(f))
    future = memoizer.check_memo(Task(f))
    assert future is not None
    assert not future.cancel()
    memoizer.close()


def test_followers_share_a_failure_and_the_next_call_runs(runs: Runs) -> None:
    memoizer = runs.start()
    first = Task(f)
    memoizer.check_memo(first)
    future = memoizer.check_memo(Task(f))
    failure = ValueError("broken")
    memoizer.update_memo_exception(first, failure)
    assert future is not None
    assert future.exception(timeout=0) is failure
    assert memoizer.check_memo(Task(f)) is None


def test_a_cancelled_call_is_released(runs: Runs) -> None:
    memoizer = runs.start()
    first = Task(f)
    memoizer.check_memo(first)
    future = memoizer.check_memo(Task(f))
    memoizer.update_memo_exception(first, CancelledError())
    assert future is not None
    assert isinstance(future.exception(timeout=0), CancelledError)
    assert memoizer.check_memo(Task(f)) is None


def test_a_failed_follower_does_not_end_the_first(runs: Runs) -> None:
    memoizer = runs.start()
    first, follower, other = Task(f), Task(f), Task(f)
    memoizer.check_memo(first)
    memoizer.check_memo(follower)
    memoizer.update_memo_exception(follower, CancelledError())
    waiting = memoizer.check_memo(other)
    assert waiting is not None
    assert not waiting.done()
    memoizer.update_memo_result(first, 1)
    assert waiting.result(timeout=0) == 1


def test_a_retried_task_runs_again_and_keeps_its_followers(runs: Runs) -> None:
    memoizer = runs.start()
    first = Task(f)
    assert memoizer.check_memo(first) is None
    future = memoizer.check_memo(Task(f))
    assert memoizer.check_memo(first) is None
    memoizer.update_memo_result(first, 1)
    assert future is not None
    assert future.result(timeout=0) == 1


def test_tasks_that_were_never_checked_may_end(runs: Runs) -> None:
    memoizer = runs.start()
    memoizer.update_memo_exception(Task(f), ValueError())
    memoizer.update_memo_result(Task(f), 1)
    assert memoizer.check_memo(Task(f)) is None


def test_many_threads_agree_on_one_first(runs: Runs) -> None:
    memoizer = runs.start()
    tasks = [Task(f) for _ in range(16)]
    found: list[Future[Any] | None] = []
    threads = [threading.Thread(target=lambda task=task: found.append(memoizer.check_memo(task))) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found.count(None) == 1
    assert len(set(found)) == 2


def test_tasks_of_uncached_apps_have_no_key(runs: Runs) -> None:
    memoizer = runs.start()
    task = Task(f, memoize=False)
    assert memoizer.check_memo(task) is None
    assert task.hashsum is None


def test_memoize_false_switches_all_off(runs: Runs) -> None:
    kept = runs.start(checkpoint_mode="task_exit")
    call(kept, result=1)
    kept.close()
    memoizer = runs.start(memoize=False, checkpoint_mode="periodic")
    assert call(memoizer, result=2) == 2
    assert call(memoizer, result=3) == 3
    memoizer.close()
    assert runs.on_disk(1) == 0


def test_hash_code_false_keeps_results_of_edited_functions(runs: Runs) -> None:
    def define(source: str) -> Any:
        namespace: dict[str, Any] = {"__name__": "script"}
        exec(source, namespace)
        return namespace["g"]

    old, new = define("def g(): return 1"), define("def g(): return 2")
    by_name, by_code = runs.start(hash_code=False), runs.start()
    assert (call(by_name, func=old, result=1), call(by_name, func=new, result=2)) == (1, 1)
    assert (call(by_code, func=old, result=1), call(by_code, func=new, result=2)) == (1, 2)


def test_closing_fails_what_is_left_open(runs: Runs) -> None:
    memoizer = runs.start()
    first = Task(f)
    memoizer.check_memo(first)
    future = memoizer.check_memo(Task(f))
    memoizer.close()
    assert future is not None
    assert isinstance(future.exception(timeout=0), CancelledError)
    memoizer.update_memo_result(first, "too late")
    memoizer.close()


def test_a_new_run_remembers_nothing_by_itself(runs: Runs) -> None:
    memoizer = runs.start()
    call(memoizer, result=1)
    memoizer.close()
    runs.start(memoizer)
    assert call(memoizer, result=2) == 2


def test_one_memoizer_does_not_serve_two_kernels_at_once(runs: Runs) -> None:
    memoizer = runs.start()
    with pytest.raises(ConfigurationError, match="one kernel at a time"):
        runs.start(memoizer)


# -- checkpoints -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "after_task", "after_checkpoint", "after_close"),
    [
        (None, 0, 1, 1),
        ("task_exit", 1, 1, 2),
        ("dfk_exit", 0, 1, 2),
        ("manual", 0, 1, 2),
        ("periodic", 0, 1, 2),
    ],
)
def test_when_results_are_written(
    mode: str | None, after_task: int, after_checkpoint: int, after_close: int, runs: Runs
) -> None:
    memoizer = runs.start(checkpoint_mode=mode)
    call(memoizer, 1)
    assert runs.on_disk(0) == after_task
    assert memoizer.checkpoint() == str(runs.run_dir(0) / "checkpoint")
    assert runs.on_disk(0) == after_checkpoint
    call(memoizer, 2)
    memoizer.close()
    assert runs.on_disk(0) == after_close


def test_the_directory_of_a_checkpoint_is_there_though_nothing_was_to_be_written(runs: Runs) -> None:
    memoizer = runs.start(checkpoint_mode="manual")
    assert os.listdir(memoizer.checkpoint()) == []


def test_periodic_writes_by_itself(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    written = threading.Event()
    append = CheckpointWriter.append

    def tell(self: CheckpointWriter, key: str, payload: bytes) -> None:
        append(self, key, payload)
        written.set()

    monkeypatch.setattr(CheckpointWriter, "append", tell)
    memoizer = BasicMemoizer(checkpoint_mode="periodic", checkpoint_period="00:00:01")
    memoizer._period_s = 0.001  # type: ignore[assignment]
    runs.start(memoizer)
    call(memoizer)
    assert written.wait(timeout=30)


def test_the_period_is_the_one_that_was_given() -> None:
    assert BasicMemoizer(checkpoint_mode="periodic", checkpoint_period="01:02:03")._period_s == 3723
    assert BasicMemoizer(checkpoint_mode="periodic").checkpoint_period == "00:30:00"
    assert BasicMemoizer(checkpoint_mode="periodic")._period_s == 1800


def test_a_checkpoint_holds_what_was_done_since_the_last_one(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    appended: list[str] = []
    monkeypatch.setattr(CheckpointWriter, "append", lambda self, key, payload: appended.append(key))
    memoizer = runs.start(checkpoint_mode="manual")
    for n in range(3):
        call(memoizer, n)
        memoizer.checkpoint()
    assert len(appended) == len(set(appended)) == 3


def test_a_checkpoint_of_chosen_tasks_leaves_the_others(runs: Runs) -> None:
    memoizer = runs.start(checkpoint_mode="manual")
    tasks = [Task(f, n) for n in range(3)]
    for task in tasks:
        memoizer.check_memo(task)
        memoizer.update_memo_result(task, 0)
    memoizer.checkpoint([tasks[1], Task(f)])
    assert runs.on_disk(0) == 1
    memoizer.checkpoint()
    assert runs.on_disk(0) == 3


def test_a_checkpoint_needs_a_run(runs: Runs) -> None:
    memoizer = BasicMemoizer()
    with pytest.raises(NoDataFlowKernelError):
        memoizer.checkpoint()


def test_failures_are_not_written(runs: Runs) -> None:
    memoizer = runs.start(checkpoint_mode="task_exit")
    task = Task(f)
    memoizer.check_memo(task)
    memoizer.update_memo_exception(task, ValueError())
    memoizer.close()
    assert runs.on_disk(0) == 0


def test_the_next_run_reuses_all_earlier_ones_in_a_checkpoint_mode(runs: Runs) -> None:
    memoizer = BasicMemoizer(checkpoint_mode="task_exit")
    for n in range(3):
        runs.start(memoizer)
        assert [call(memoizer, i, result=(n, i)) for i in range(n + 1)] == [(i, i) for i in range(n + 1)]
        memoizer.close()


def test_without_a_mode_nothing_is_loaded_unasked(runs: Runs) -> None:
    call(runs.start(checkpoint_mode="task_exit"), result=1)
    assert call(runs.start(), result=2) == 2


def test_checkpoint_files_are_loaded_in_any_mode_and_nothing_else(runs: Runs) -> None:
    for n in range(2):
        memoizer = runs.start(checkpoint_mode="manual", checkpoint_files=[])
        call(memoizer, n, result=n)
        chosen = memoizer.checkpoint()
        memoizer.close()
    for mode in (None, "dfk_exit"):
        memoizer = runs.start(checkpoint_mode=mode, checkpoint_files=[chosen])
        assert (call(memoizer, 0, result="new"), call(memoizer, 1, result="new")) == ("new", 1)


def test_the_last_checkpoint_is_enough(runs: Runs) -> None:
    for n in range(3):
        memoizer = runs.start(checkpoint_mode="task_exit", checkpoint_files=get_last_checkpoint(str(runs.directory)))
        assert call(memoizer, result=n) == 0
        memoizer.close()
        assert runs.on_disk(n) == 1


def test_a_wrong_checkpoint_is_refused_at_the_start(runs: Runs, tmp_path: pathlib.Path) -> None:
    memoizer = BasicMemoizer(checkpoint_files=[str(tmp_path / "absent")])
    with pytest.raises(BadCheckpoint, match="absent"):
        runs.start(memoizer)


def test_large_loaded_results_are_read_when_needed_and_not_kept(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    first = runs.start(checkpoint_mode="task_exit")
    call(first, "small", result=b"s")
    call(first, "large", result=b"l" * 100_000)
    first.close()
    second = runs.start(checkpoint_mode="task_exit")
    for _ in range(2):
        assert (call(second, "small"), len(call(second, "large"))) == (b"s", 100_000)
    (runs.run_dir(0) / "checkpoint" / CHECKPOINT_FILE).unlink()
    assert (call(second, "small", result=0), call(second, "large", result=0)) == (b"s", 0)


def test_a_damaged_result_runs_again(runs: Runs, caplog: pytest.LogCaptureFixture) -> None:
    first = runs.start(checkpoint_mode="task_exit")
    call(first, result="old")
    first.close()
    path = runs.run_dir(0) / "checkpoint" / CHECKPOINT_FILE
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    second = runs.start(checkpoint_mode="task_exit")
    assert call(second, result="new") == "new"
    assert "its task runs again" in caplog.text
    assert call(second, result="newer") == "new"


class Loads:
    def __reduce__(self) -> Any:
        return (int, ("not a number",))


def test_a_result_that_cannot_be_loaded_runs_again(runs: Runs) -> None:
    first = runs.start(checkpoint_mode="task_exit")
    call(first, result=Loads())
    first.close()
    assert call(runs.start(checkpoint_mode="task_exit"), result="new") == "new"


def test_results_that_cannot_be_pickled_are_told_once(runs: Runs, caplog: pytest.LogCaptureFixture) -> None:
    memoizer = runs.start(checkpoint_mode="task_exit")
    lock = threading.Lock()
    for n in range(3):
        assert call(memoizer, n, result=lock) is lock
    assert call(memoizer, 0, result=None) is lock
    assert [record.getMessage() for record in caplog.records] == [
        "Results of f stay out of the checkpoint: TypeError: cannot pickle '_thread.lock' object"
    ]
    assert runs.on_disk(0) == 0


def test_a_full_disk_is_told_once_and_tasks_go_on(
    runs: Runs, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: CheckpointWriter, key: str, payload: bytes) -> None:
        raise OSError(28, "No space left on device")

    memoizer = runs.start(checkpoint_mode="task_exit")
    monkeypatch.setattr(CheckpointWriter, "append", full)
    assert [call(memoizer, n, result=n) for n in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="No space"):
        memoizer.checkpoint()
    monkeypatch.undo()
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    memoizer.checkpoint()
    assert runs.on_disk(0) == 3


# -- construction ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("checkpoint_files", "runinfo/000/checkpoint", ParameterTypeError),
        ("checkpoint_files", [1], ParameterTypeError),
        ("checkpoint_files", 1, ParameterTypeError),
        ("checkpoint_mode", "sometimes", ConfigurationError),
        ("checkpoint_mode", 1, ParameterTypeError),
        ("checkpoint_period", 30, ParameterTypeError),
        ("checkpoint_period", "30", ConfigurationError),
        ("checkpoint_period", "00:00:00", ConfigurationError),
        ("checkpoint_period", "00:99:00", ConfigurationError),
        ("memoize", 1, ParameterTypeError),
        ("hash_code", None, ParameterTypeError),
    ],
)
def test_wrong_parameters_are_named(name: str, value: Any, error: type[Exception]) -> None:
    parameters: dict[str, Any] = {"checkpoint_mode": "periodic", name: value}
    with pytest.raises(error, match=f"BasicMemoizer: .*{name}"):
        BasicMemoizer(**parameters)


def test_parameters_can_be_read_back() -> None:
    files: Sequence[str] = ("a",)
    memoizer = BasicMemoizer(checkpoint_files=files, checkpoint_mode="manual", memoize=False, hash_code=False)
    assert (memoizer.checkpoint_files, memoizer.checkpoint_mode, memoizer.checkpoint_period) == (files, "manual", None)
    assert (memoizer.memoize, memoizer.hash_code) == (False, False)


def test_a_period_without_its_mode_is_told(caplog: pytest.LogCaptureFixture) -> None:
    BasicMemoizer(checkpoint_mode="manual", checkpoint_period="00:00:10")
    assert "checkpoint_period has no effect" in caplog.text


# -- subclasses of users -----------------------------------------------------------------------------------------


class ByFirst(BasicMemoizer):
    def make_hash(self, task: Any) -> str:
        return str(task.args[0])


def test_a_subclass_says_what_makes_calls_the_same(runs: Runs) -> None:
    memoizer = runs.start(ByFirst())
    assert call(memoizer, 1, "a", result="first") == "first"
    assert call(memoizer, 1, "b", result="second") == "first"
    assert call(memoizer, 2, "b", result="third") == "third"


def test_a_key_that_is_no_text_is_refused(runs: Runs) -> None:
    class Odd(BasicMemoizer):
        def make_hash(self, task: Any) -> str:
            return b"key"  # type: ignore[return-value]

    with pytest.raises(TypeError, match=r"Odd\.make_hash must give a text, not b'key'"):
        call(runs.start(Odd()), 1)


def test_a_memoizer_knows_its_run(runs: Runs) -> None:
    memoizer = runs.start()
    assert (memoizer.run_dir, memoizer.config_run_dir) == (str(runs.run_dir(0)), str(runs.directory))


def test_overrides_that_nothing_calls_are_told_of() -> None:
    class Old(BasicMemoizer):
        def update_memo(self, task: Any, future: Any) -> None: ...

        def checkpoint_queue(self) -> None: ...

    assert "memoizer Old overrides checkpoint_queue, update_memo, which nothing calls" in bypassed(Old())
    assert bypassed(ByFirst()) == ""
