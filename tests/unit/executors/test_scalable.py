"""The base of block-providing executors, with a minimal executor on top and the fake provider below."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from trellis.core.interfaces import Attempt, BlockLoad, ExecutorContext, PoolLoad, ScalableExecutor
from trellis.core.jobs import JobState, JobStatus
from trellis.core.measurements import BlockSeen
from trellis.errors import BadStateException, ConfigurationError, ParameterTypeError, ScalingFailed
from trellis.executors.block_executor import BlockExecutor
from trellis.executors.status_handling import BlockProviderExecutor
from trellis.testing import FakeProvider


class ScriptedProvider(FakeProvider):
    """Has a place for scripts, and lets a test wait for its first job and for its next status question."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.script_dir: str | None = None
        self.submitted_one = threading.Event()
        self.asked = threading.Event()
        self.emptied = threading.Event()

    def submit(self, command: str, tasks_per_node: int, job_name: str = "parsl.fake") -> str:
        job_id = super().submit(command, tasks_per_node, job_name)
        self.submitted_one.set()
        return job_id

    def status(self, job_ids: list[Any]) -> list[JobStatus]:
        self.asked.set()
        return super().status(job_ids)

    def cancel(self, job_ids: list[Any]) -> list[bool]:
        done = super().cancel(job_ids)
        self.emptied.set()
        return done


class MinimalExecutor(BlockExecutor):
    label = "minimal"

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.failed_with: list[BadStateException] = []
        self.released: list[str] = []
        self.drained: list[str] = []
        self.blocks: dict[str, BlockLoad] = {}

    def start(self, context: ExecutorContext | None = None) -> None:
        self.start_blocks(context or ExecutorContext())

    def launch(self, attempt: Attempt) -> None:
        raise NotImplementedError

    def cancel(self, attempt: Attempt) -> bool:
        raise NotImplementedError

    def shutdown(self) -> None:
        self.stop_blocks()

    def _get_launch_command(self, block_id: str) -> str:
        return f"start {block_id}"

    def load(self) -> PoolLoad:
        return PoolLoad(self.outstanding, self.workers_per_node, self.blocks)

    def release(self, block_ids: Sequence[str]) -> None:
        self.released += block_ids

    def drain(self, block_ids: Sequence[str]) -> None:
        self.drained += block_ids

    def fail_outstanding(self, exception: BadStateException) -> None:
        self.failed_with.append(exception)

    @property
    def outstanding(self) -> int:
        return 0

    @property
    def workers_per_node(self) -> float:
        return 1


Make = Callable[..., MinimalExecutor]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made = []

    def make_executor(provider: FakeProvider | None, **settings: Any) -> MinimalExecutor:
        executor = MinimalExecutor(provider=provider, **settings)
        made.append(executor)
        return executor

    yield make_executor
    for executor in made:
        executor.shutdown()


def started(make: Make, tmp_path: Path, **settings: Any) -> tuple[MinimalExecutor, ScriptedProvider]:
    provider = ScriptedProvider(**settings)
    executor = make(provider)
    executor.start(ExecutorContext(run_dir=str(tmp_path)))
    if provider.init_blocks:
        assert provider.submitted_one.wait(30)
    return executor, provider


def test_it_is_what_the_controller_asks_for() -> None:
    executor: ScalableExecutor = MinimalExecutor(provider=None)
    assert executor.label == "minimal"


def test_starting_submits_the_first_blocks_and_stopping_cancels_them(make: Make, tmp_path: Path) -> None:
    executor, provider = started(make, tmp_path)
    executor.shutdown()
    executor.shutdown()
    assert provider.submitted == {"job-0": "start 0"}
    assert executor.blocks_to_job_id == {"0": "job-0"}
    assert executor.job_ids_to_block == {"job-0": "0"}
    assert executor.status()["0"].state is JobState.SCALED_IN
    assert executor.status_facade["0"].state is JobState.SCALED_IN
    assert executor.released == ["0"]


def test_the_providers_scripts_go_to_the_run_directory_of_each_start(make: Make, tmp_path: Path) -> None:
    executor, provider = started(make, tmp_path / "first")
    assert provider.script_dir == str(tmp_path / "first" / "submit_scripts")
    executor.shutdown()
    executor.start(ExecutorContext(run_dir=str(tmp_path / "second")))
    assert provider.script_dir == str(tmp_path / "second" / "submit_scripts")
    assert (tmp_path / "second" / "submit_scripts").is_dir()


def test_a_relative_run_directory_is_made_absolute(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    executor = make(provider := ScriptedProvider(init_blocks=0))
    executor.start(ExecutorContext(run_dir="runinfo/000"))
    assert provider.script_dir == str(tmp_path / "runinfo" / "000" / "submit_scripts")


def test_a_provider_without_a_place_for_scripts_gets_none(make: Make, tmp_path: Path) -> None:
    provider = FakeProvider(init_blocks=0)
    make(provider).start(ExecutorContext(run_dir=str(tmp_path)))
    assert not hasattr(provider, "script_dir")
    assert list(tmp_path.iterdir()) == []


def test_scaling_by_hand(make: Make, tmp_path: Path) -> None:
    executor, provider = started(make, tmp_path, init_blocks=0, max_blocks=3)
    assert executor.scale_out_facade(2) == ["0", "1"]
    assert executor.scale_in_facade(1) == ["1"]
    assert executor.scale_in(1, max_idletime=10) == []  # without a manager it is not idle
    assert executor.scale_in_facade(1, max_idletime=10) == []
    assert executor.scale_in(1) == ["0"]
    assert provider.cancelled == ["job-1", "job-0"]


def test_a_program_may_start_more_than_max_blocks_by_hand(make: Make, tmp_path: Path) -> None:
    executor, provider = started(make, tmp_path, init_blocks=0, max_blocks=2)
    assert executor.scale_out_facade(3) == ["0", "1", "2"]
    assert executor.scale_out_facade(1) == ["3"]
    assert len(provider.submitted) == 4


def test_scaling_in_can_spare_busy_blocks(make: Make, tmp_path: Path) -> None:
    executor, provider = started(make, tmp_path, init_blocks=0, max_blocks=2)
    executor.scale_out_facade(2)
    executor.blocks = {"0": BlockLoad(1, 1, 0.0), "1": BlockLoad(1, 0, 5.0)}
    assert executor.scale_in(2, force=False) == ["1"]
    assert (executor.drained, provider.cancelled) == (["1"], ["job-1"])
    assert executor.scale_in(2) == ["0"]
    assert provider.cancelled == ["job-1", "job-0"]


def test_polling_by_hand(make: Make, tmp_path: Path) -> None:
    executor, provider = started(make, tmp_path, status_polling_interval=3600)
    provider.asked.clear()
    executor.poll_facade()
    assert provider.asked.wait(30)
    assert executor.status_polling_interval == 3600


def test_without_a_provider_there_are_no_blocks(make: Make) -> None:
    executor = make(None)
    executor.start()
    executor.poll_facade()
    assert (executor.provider, executor.status(), executor.blocks_to_job_id, executor.job_ids_to_block) == (
        None,
        {},
        {},
        {},
    )
    assert executor.status_polling_interval == 0
    with pytest.raises(ScalingFailed, match="no provider"):
        executor.scale_out_facade(1)


def test_scaling_before_the_start_is_refused(make: Make) -> None:
    with pytest.raises(ScalingFailed, match="not started"):
        make(FakeProvider()).scale_in(1)


def test_an_executor_that_failed_fails_what_is_outstanding_once_and_refuses_more(make: Make, tmp_path: Path) -> None:
    executor, provider = started(make, tmp_path)
    reason = RuntimeError("the interchange died")
    assert (executor.bad_state_is_set, executor.executor_exception) == (False, None)
    executor.set_bad_state_and_fail_all(reason)
    executor.fail_all(RuntimeError("something else"))
    assert (executor.bad_state_is_set, executor.executor_exception) == (True, reason)
    (failure,) = executor.failed_with
    assert (failure.executor, failure.exception) == (executor, reason)
    with pytest.raises(BadStateException, match="the interchange died"):
        executor.submit(print, {})
    assert provider.emptied.wait(30)  # its blocks are of no use any more
    assert provider.cancelled == ["job-0"]


def test_an_executor_that_failed_may_be_started_again(make: Make, tmp_path: Path) -> None:
    executor, _ = started(make, tmp_path)
    executor.fail_all(RuntimeError("x"))
    executor.shutdown()
    executor.start(ExecutorContext(run_dir=str(tmp_path)))
    assert not executor.bad_state_is_set


def test_the_error_handler_is_asked_with_the_executor(make: Make, tmp_path: Path) -> None:
    heard = []
    executor = make(None, block_error_handler=lambda *what: heard.append(what))
    status = {"0": JobStatus(JobState.FAILED)}
    executor.handle_errors(status)
    assert heard == [(executor, status)]


@pytest.mark.parametrize(("setting", "fails"), [(True, True), (False, False)])
def test_true_and_false_choose_a_handler(make: Make, setting: bool, fails: bool) -> None:
    executor = make(FakeProvider(), block_error_handler=setting)
    executor.handle_errors({"0": JobStatus(JobState.FAILED)})
    assert executor.bad_state_is_set == fails


def test_an_error_handler_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(ParameterTypeError, match="block_error_handler"):
        MinimalExecutor(provider=None, block_error_handler="simple")


def test_a_poller_tells_the_executor_how_to_scale(make: Make, tmp_path: Path) -> None:
    executor, provider = started(make, tmp_path, init_blocks=0, min_blocks=1, max_blocks=1)
    executor.scale_by("simple", 0.01, 60)
    assert provider.submitted_one.wait(30)


def test_no_strategy_holds_before_the_start(make: Make) -> None:
    with pytest.raises(ScalingFailed, match="not started"):
        make(FakeProvider()).scale_by("simple", 1, 60)


class Plain(BlockProviderExecutor):
    """What Parsl's users write: the rest is up to the base class."""

    label = "plain"

    def start(self) -> None: ...

    def submit(self, func: Any, resource_specification: Any, *args: Any, **kwargs: Any) -> Future[Any]:
        return self.tasks.setdefault(len(self.tasks), Future())

    def shutdown(self) -> None: ...

    def _get_launch_command(self, block_id: str) -> str:
        return f"begin {block_id}"

    def outstanding(self) -> int:  # type: ignore[override]
        return len(self.tasks)

    workers_per_node = 2


def test_blocks_of_an_executor_without_a_kernel_are_looked_at_when_it_is_asked(tmp_path: Path) -> None:
    provider = ScriptedProvider(max_blocks=2)
    executor = Plain(provider=provider)
    executor.run_dir = str(tmp_path)
    assert executor.status() == executor.status_facade == {}
    assert executor.scale_out_facade(1) == ["0"]
    assert provider.submitted == {"job-0": "begin 0"}
    assert provider.script_dir == str(tmp_path / "submit_scripts")
    provider.run()
    assert executor.status()["0"].state is executor.status_facade["0"].state is JobState.RUNNING
    provider.finish("job-0")
    executor.poll_facade()
    assert executor.status_facade["0"].state is JobState.COMPLETED
    executor.stop_blocks()


def test_what_plain_executors_tell_of_their_load() -> None:
    provider = FakeProvider(max_blocks=2)
    executor = Plain(provider=provider)
    executor.scale_out_facade(2)
    provider.run("job-0")
    executor.poll_facade()
    assert executor.load() == PoolLoad(0, 2, {"0": BlockLoad(1, 0, float("inf"))})
    executor.submit(print, {})
    assert executor.load() == PoolLoad(1, 2, {"0": BlockLoad(1, 1, 0.0)})
    executor.release(["0"])
    executor.drain(["0"])
    executor.stop_blocks()
    assert sorted(provider.cancelled) == ["job-0", "job-1"]


def test_the_tasks_of_a_plain_executor_that_failed_have_failed() -> None:
    executor = Plain(provider=None)
    done, waiting = executor.submit(print, {}), executor.submit(print, {})
    done.set_result(1)
    executor.set_bad_state_and_fail_all(RuntimeError("enough"))
    assert done.result() == 1
    assert isinstance(waiting.exception(), BadStateException)
    assert executor._executor_bad_state.is_set()


def test_jobs_and_statuses_that_a_subclass_writes_down_stay(make: Make, tmp_path: Path) -> None:
    executor = Plain(provider=FakeProvider(max_blocks=1))
    executor.scale_out_facade(1)
    executor.blocks_to_job_id["mine"] = "theirs"
    executor.job_ids_to_block["theirs"] = "mine"
    executor._simulated_status["mine"] = JobStatus(JobState.HELD)
    assert executor.blocks_to_job_id == {"0": "job-0", "mine": "theirs"}
    assert executor.job_ids_to_block == {"job-0": "0", "theirs": "mine"}
    assert executor._status["mine"].state is JobState.HELD
    assert executor._get_block_and_job_ids() == (["0", "mine"], ["job-0", "theirs"])
    executor.blocks_to_job_id, executor.job_ids_to_block = {}, {}
    assert executor.blocks_to_job_id == {"0": "job-0"}
    executor.stop_blocks()


def test_a_provider_that_gives_no_job_id_has_refused_the_block() -> None:
    provider = FakeProvider()
    provider.submit = lambda *args: None  # type: ignore[method-assign, assignment, return-value]
    executor = Plain(provider=provider)
    assert executor.scale_out_facade(1) == []
    assert executor.status_facade["0"].state is JobState.FAILED
    assert "no job id" in str(executor.status_facade["0"].message)


@pytest.mark.parametrize("wrong", ["2", -1, 1.5, None])
def test_numbers_of_blocks_are_checked(wrong: Any) -> None:
    executor = Plain(provider=FakeProvider())
    for scale in (executor.scale_out_facade, executor.scale_in, executor.scale_in_facade):
        with pytest.raises(ConfigurationError, match=r"plain: (n|blocks) must be a "):
            scale(wrong)
    with pytest.raises(ConfigurationError, match="plain: max_idletime"):
        executor.scale_in(1, max_idletime="1m")  # type: ignore[arg-type]


# -- the record ----------------------------------------------------------------------------------------------------


class Record:
    """Keeps what executors measure."""

    interval_s = 0.0

    def __init__(self) -> None:
        self.taken: list[Any] = []

    def take(self, batch: Sequence[Any]) -> None:
        self.taken += batch


def states(record: Record) -> list[tuple[str, str | None, str]]:
    return [(seen.block_id, seen.job_id, seen.state) for seen in record.taken]


def test_each_state_of_a_block_is_recorded(tmp_path: Path) -> None:
    record = Record()
    provider = ScriptedProvider(init_blocks=1, max_blocks=1)
    executor = MinimalExecutor(provider=provider)
    executor.start(ExecutorContext(run_dir=str(tmp_path), measurements=record))
    assert provider.submitted_one.wait(10)
    executor.stop_blocks()
    (job_id,) = provider.submitted
    assert [(block, state) for block, _, state in states(record)] == [("0", "PENDING"), ("0", "SCALED_IN")]
    assert states(record)[-1][1] == job_id
    assert {(type(seen), seen.executor) for seen in record.taken} == {(BlockSeen, "minimal")}
    assert executor.block_reports()[0].state == "SCALED_IN"


def test_without_a_record_nothing_is_made(tmp_path: Path) -> None:
    class Watched(MinimalExecutor):
        def create_monitoring_info(self, status: Any) -> list[dict[str, Any]]:
            raise AssertionError("nobody records this run")

    executor = Watched(provider=ScriptedProvider(init_blocks=1))
    executor.start(ExecutorContext(run_dir=str(tmp_path)))
    executor.stop_blocks()
    assert not executor.is_recorded


def test_what_a_subclass_says_of_its_blocks_is_recorded(tmp_path: Path) -> None:
    class Naming(MinimalExecutor):
        def create_monitoring_info(self, status: Any) -> list[dict[str, Any]]:
            rows = super().create_monitoring_info(status)
            return [{**row, "job_id": f"site-{row['block_id']}", "timestamp": None} for row in rows]

    class Doubling(Naming):
        def send_monitoring_info(self, status: Any) -> None:
            super().send_monitoring_info(status)
            super().send_monitoring_info({})

    for kind in (Naming, Doubling):
        record = Record()
        executor = kind(provider=ScriptedProvider(init_blocks=1))
        executor.start(ExecutorContext(run_dir=str(tmp_path), measurements=record))
        executor.stop_blocks()
        assert {job_id for _, job_id, _ in states(record)} == {"site-0"}
        assert all(seen.at > 0 for seen in record.taken)


def test_hindrances_name_what_blocks_wait_for(tmp_path: Path) -> None:
    provider = ScriptedProvider(init_blocks=1, max_blocks=1)
    executor = MinimalExecutor(provider=provider)
    assert executor.block_hindrances()[0].place == "more blocks"  # not started
    executor.start(ExecutorContext(run_dir=str(tmp_path)))
    assert provider.submitted_one.wait(10)
    waiting, limit = executor.block_hindrances()
    assert waiting.place.startswith("block 0")
    assert limit.reason.endswith("allows: 1")
    executor.stop_blocks()
