"""A manager process and its workers, as their interchange sees them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.htex.stage import WAIT_S, Proxy, Stage
from trellis.wire.messages import (
    CancelTasks,
    CheckTasks,
    Demand,
    Draining,
    Goodbye,
    Packages,
    PackagesRequest,
    ReceivedUpTo,
    Refused,
    Register,
    RegisterAgain,
    Results,
    TasksCancelled,
    TasksMissing,
    TasksOverMemory,
    TasksReturned,
    TasksStarted,
    Welcome,
    WitnessReport,
    WorkerLoss,
)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.close()


@pytest.fixture
def proxy(stage: Stage) -> Iterator[Proxy]:
    proxy = Proxy(stage.port)
    yield proxy
    proxy.close()


ONE = ("--max_workers_per_node", "1")
TWO = ("--max_workers_per_node", "2")
TWO_CORES = {"PARSL_CORES": "2"}
FOUR_CORES = {"PARSL_CORES": "4"}


def wait_for_file(path: str) -> str:
    deadline = time.monotonic() + WAIT_S
    while not os.path.exists(path) and time.monotonic() < deadline:
        time.sleep(0.005)
    return path


def append(path: str) -> None:
    with open(path, "a") as file:
        file.write("x")


def note_and_wait(note: str, go: str) -> str:
    Path(note).touch()
    return wait_for_file(go)


# -- the connection breaks ---------------------------------------------------------------------------------------


def test_after_a_break_it_says_again_what_may_be_lost_and_what_it_has(
    stage: Stage, proxy: Proxy, tmp_path: Path
) -> None:
    hello = stage.welcome(*ONE, port=proxy.port)
    assert (hello.resumed, hello.holding, hello.started) == (False, [], [])
    assert stage.run(1, abs, -1) == 1
    stage.submit(2, note_and_wait, f"{tmp_path}/note", f"{tmp_path}/go")
    stage.submit(3, abs, -3)
    stage.until((tmp_path / "note").exists)
    proxy.cut()
    (tmp_path / "go").touch()  # it ends while nobody hears of it
    time.sleep(0.5)
    proxy.heal()
    again = stage.wait_for(Register)
    assert again.resumed
    assert again.manager == hello.manager
    assert set(again.holding) <= {2, 3}
    reports = [message.ids for message in stage.said(Results) if message.sequence == 1]
    assert reports == [[1], [1]], "before and after the break"
    stage.send(Welcome([]))
    assert (stage.result(2), stage.result(3)) == (f"{tmp_path}/go", 3)


def test_what_the_submit_side_has_is_not_said_again(stage: Stage, proxy: Proxy) -> None:
    stage.welcome(*ONE, port=proxy.port)
    for task in (1, 2, 3):
        assert stage.run(task, abs, -task) == task
    stage.send(ReceivedUpTo(2))
    assert stage.run(4, abs, -4) == 4  # that message has come before
    proxy.cut()
    stage.heard.clear()
    proxy.heal()
    stage.until(lambda: bool(stage.said(Register)))
    assert [message.sequence for message in stage.said(Results)] == [3, 4]


def test_an_interchange_that_does_not_know_it_is_told_everything(stage: Stage, tmp_path: Path) -> None:
    stage.welcome(*ONE)
    stage.run(1, time.sleep, 0.01)  # so long that the next one is not kept ready beside it
    stage.submit(2, note_and_wait, f"{tmp_path}/note", f"{tmp_path}/go")
    stage.submit(3, abs, -3)
    stage.until((tmp_path / "note").exists)
    stage.heard.clear()
    stage.send(RegisterAgain())
    stage.send(RegisterAgain())  # said of each message that it did not expect
    stage.until(lambda: bool(stage.said(Register)))
    assert [type(message) for message in stage.heard] == [Results, Register]
    (hello,) = stage.said(Register)
    assert (hello.resumed, hello.holding, hello.started) == (True, [3, 2], [2])
    stage.send(Welcome([]))
    (tmp_path / "go").touch()
    assert stage.result(3) == 3
    stage.send(RegisterAgain())
    stage.until(lambda: len(stage.said(Register)) == 2)


def test_tasks_whose_function_was_lost_on_the_way_are_missing_and_harm_no_worker(stage: Stage) -> None:
    stage.welcome(*ONE)
    stage.number(abs)  # the definition went with a connection that broke
    stage.submit(1, abs, -1)
    stage.send(CheckTasks([1]))
    assert stage.wait_for(TasksMissing).ids == [1]
    stage.define(abs)
    assert stage.run(1, abs, -1) == 1
    assert stage.said(WorkerLoss) == []


def test_a_task_that_is_sent_twice_runs_once(stage: Stage, tmp_path: Path) -> None:
    stage.welcome(*ONE)
    log = tmp_path / "log"
    stage.submit(1, wait_for_file, f"{tmp_path}/go")
    for _ in range(2):
        stage.submit(2, append, str(log))
    (tmp_path / "go").touch()
    stage.submit(3, abs, -3)
    assert stage.result(3) == 3
    assert log.read_text() == "x"


def test_it_names_the_tasks_that_never_came(stage: Stage, tmp_path: Path) -> None:
    stage.welcome(*ONE)
    stage.submit(1, wait_for_file, f"{tmp_path}/go")
    stage.send(CheckTasks([1, 7, 8]))
    assert stage.wait_for(TasksMissing).ids == [7, 8]
    (tmp_path / "go").touch()
    stage.result(1)


def test_cut_off_for_too_long_it_ends_and_its_workers_with_it(stage: Stage, proxy: Proxy, tmp_path: Path) -> None:
    stage.welcome(*ONE, "--hb_period", "0.2", "--hb_threshold", "1", port=proxy.port)
    worker = stage.run(1, os.getpid)
    stage.submit(2, note_and_wait, f"{tmp_path}/note", f"{tmp_path}/go")
    stage.until((tmp_path / "note").exists)
    proxy.cut()
    assert stage.wait_for_end() == 1
    assert "the interchange sent nothing for" in stage.stderr
    assert not psutil.pid_exists(worker)


def test_tasks_are_announced_when_they_start_and_not_before(stage: Stage, tmp_path: Path) -> None:
    stage.welcome(*ONE)
    stage.submit(1, wait_for_file, f"{tmp_path}/go")
    stage.submit(2, abs, -2)
    stage.until(lambda: bool(stage.said(TasksStarted)))
    stage.send(CheckTasks([]))
    stage.wait_for(TasksMissing)
    assert [message.ids for message in stage.said(TasksStarted)] == [[1]]
    (tmp_path / "go").touch()
    assert stage.result(2) == 2


# -- its witness -------------------------------------------------------------------------------------------------


def learn_that_it_is_short(stage: Stage, function: Callable[..., Any], *args: Any) -> None:
    """Run it until the manager offers more of it than there are workers."""
    for task in range(1000, 1060):
        stage.run(task, function, *args)


def test_when_it_is_killed_its_witness_tells_what_runs_and_what_has_not_started(stage: Stage, tmp_path: Path) -> None:
    hello = stage.welcome(*ONE)
    assert hello.witnessed
    (tmp_path / "go").touch()
    learn_that_it_is_short(stage, note_and_wait, f"{tmp_path}/note", f"{tmp_path}/go")
    (tmp_path / "go").unlink()
    (tmp_path / "note").unlink()
    for task in (1, 2, 3):
        stage.submit(task, note_and_wait, f"{tmp_path}/note", f"{tmp_path}/go")
    stage.until((tmp_path / "note").exists)
    stage.until(lambda: any(3 in message.ids for message in stage.said(TasksStarted)))
    assert stage.process is not None
    stage.process.kill()
    report = stage.wait_for(WitnessReport)
    assert (report.manager, report.running, report.unstarted) == (hello.manager, [1], [2, 3])


def test_a_manager_that_says_goodbye_needs_no_witness(stage: Stage, tmp_path: Path) -> None:
    stage.welcome(*ONE)
    assert stage.process is not None
    (witness,) = [
        one for one in psutil.Process(stage.process.pid).children() if one.cmdline()[:1] == ["trellis: witness"]
    ]
    stage.process.send_signal(signal.SIGINT)
    stage.wait_for(Goodbye)
    stage.wait_for_end()
    assert not witness.is_running()
    assert stage.said(WitnessReport) == []


def test_a_batch_system_that_signals_all_processes_leaves_the_witness_alone(stage: Stage) -> None:
    stage.welcome(*ONE)
    assert stage.process is not None
    (witness,) = [
        one for one in psutil.Process(stage.process.pid).children() if one.cmdline()[:1] == ["trellis: witness"]
    ]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        witness.send_signal(number)
    stage.process.kill()
    assert stage.wait_for(WitnessReport).unstarted == []
    psutil.wait_procs([witness], WAIT_S)
    assert not witness.is_running()


def test_sigint_gives_back_what_has_not_started(stage: Stage, tmp_path: Path) -> None:
    stage.welcome(*ONE)
    (tmp_path / "go").touch()
    learn_that_it_is_short(stage, note_and_wait, f"{tmp_path}/note", f"{tmp_path}/go")
    (tmp_path / "go").unlink()
    (tmp_path / "note").unlink()
    for task in (1, 2, 3):
        stage.submit(task, note_and_wait, f"{tmp_path}/note", f"{tmp_path}/go")
    stage.until((tmp_path / "note").exists)
    assert stage.process is not None
    stage.process.send_signal(signal.SIGINT)
    assert stage.wait_for(TasksReturned).ids == [2, 3]
    stage.wait_for(Goodbye)
    assert stage.wait_for_end() == 0


# -- its end -----------------------------------------------------------------------------------------------------


def test_sigterm_gives_back_what_waits_and_lets_end_what_runs(stage: Stage, tmp_path: Path) -> None:
    stage.welcome(*ONE)
    stage.submit(1, note_and_wait, f"{tmp_path}/note", f"{tmp_path}/go")
    stage.submit(2, abs, -2)
    stage.until((tmp_path / "note").exists)
    assert stage.process is not None
    stage.process.terminate()
    assert isinstance(stage.wait_for(Draining), Draining)
    assert stage.wait_for(TasksReturned).ids == [2]
    stage.submit(3, abs, -3)  # it was on its way
    assert stage.wait_for(TasksReturned).ids == [3]
    (tmp_path / "go").touch()
    assert stage.wait_for(Goodbye).reason == "SIGTERM: the batch system or its user ended the job"
    assert stage.results == {1: f"{tmp_path}/go"}
    assert stage.wait_for_end() == 0


def test_a_batch_system_that_signals_workers_too_ends_no_task(stage: Stage, tmp_path: Path) -> None:
    stage.welcome(*ONE)
    worker = stage.run(1, os.getpid)
    os.kill(worker, signal.SIGTERM)
    stage.submit(2, note_and_wait, f"{tmp_path}/note", f"{tmp_path}/go")
    stage.until((tmp_path / "note").exists)
    os.kill(worker, signal.SIGTERM)
    (tmp_path / "go").touch()
    assert stage.result(2) == f"{tmp_path}/go"
    assert stage.run(3, os.getpid) == worker


def test_sigterm_before_anybody_answers_is_the_end_too(stage: Stage) -> None:
    stage.start(*ONE)
    stage.wait_for(Register)
    assert stage.process is not None
    stage.process.terminate()
    assert stage.wait_for_end() == 0
    assert stage.stderr == ""


def test_one_that_is_refused_says_why(stage: Stage) -> None:
    stage.start(*ONE)
    stage.wait_for(Register)
    stage.send(Refused("it is Tuesday"))
    assert stage.wait_for_end() == 1
    assert "the interchange refuses this manager: it is Tuesday" in stage.stderr


def test_a_second_signal_is_the_end(stage: Stage, tmp_path: Path) -> None:
    stage.welcome(*ONE)
    stage.submit(1, note_and_wait, f"{tmp_path}/note", f"{tmp_path}/go")
    stage.until((tmp_path / "note").exists)
    assert stage.process is not None
    stage.process.terminate()
    stage.wait_for(Draining)
    stage.process.send_signal(signal.SIGINT)
    assert stage.wait_for(Goodbye).reason == "it got SIGINT"  # not the grace that is over
    assert stage.wait_for_end() == 0
    assert stage.results == {}


def test_near_the_end_of_its_job_it_drains(stage: Stage) -> None:
    hello = stage.welcome(*ONE, "--walltime_s", "3")
    assert hello.ends_in_s is not None
    assert hello.ends_in_s <= 3
    stage.wait_for(Draining)


def start_child(note: str) -> None:
    child = subprocess.Popen(["sleep", "600"])
    Path(note).write_text(str(child.pid))
    child.wait()


def test_a_cancelled_task_ends_with_its_children(stage: Stage, tmp_path: Path) -> None:
    stage.welcome(*ONE)
    note = tmp_path / "note"
    stage.submit(1, start_child, str(note))
    stage.until(lambda: note.exists() and bool(note.read_text()))
    child = psutil.Process(int(note.read_text()))
    stage.send(CancelTasks([1]))
    assert stage.wait_for(TasksCancelled).ids == [1]
    child.wait(WAIT_S)
    assert stage.run(2, abs, -2) == 2


# -- what belongs to whom ----------------------------------------------------------------------------------------

VARIABLES = [
    "CUDA_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "ZE_AFFINITY_MASK",
    "ZE_ENABLE_PCI_ID_DEVICE_ORDER",
    "OMP_NUM_THREADS",
    "PARSL_MPI_PREFIX",
]


def what_i_have() -> tuple[list[int], dict[str, str]]:
    return sorted(os.sched_getaffinity(0)), {name: os.environ[name] for name in VARIABLES if name in os.environ}


two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")


@two_cores
def test_a_worker_has_the_cores_of_its_rank(stage: Stage) -> None:
    first, second, *_ = sorted(os.sched_getaffinity(0))
    stage.welcome(*ONE, "--cpu_affinity", f"list:{second}:{first}", environ=TWO_CORES)
    cpus, variables = stage.run(1, what_i_have)
    assert cpus == [second]
    assert variables == {"OMP_NUM_THREADS": "1"}


def test_a_list_that_is_too_short_is_an_error_that_says_so(stage: Stage) -> None:
    first = min(os.sched_getaffinity(0))
    stage.start(*TWO, "--cpu_affinity", f"list:{first}", environ=TWO_CORES)
    assert stage.wait_for_end() == 1
    assert f"cpu_affinity='list:{first}' has cores for 1 workers, and this node runs 2" in stage.stderr


def test_without_affinity_a_worker_has_all_cores(stage: Stage) -> None:
    stage.welcome(*ONE)
    assert stage.run(1, what_i_have) == (sorted(os.sched_getaffinity(0)), {})


def test_accelerators_cap_the_workers_and_each_sees_its_own(stage: Stage) -> None:
    hello = stage.welcome("--available_accelerators", "4,5", environ=FOUR_CORES)
    assert (hello.workers, hello.gpus) == (1, 2)
    _, variables = stage.run(1, what_i_have)
    assert variables == {
        "CUDA_VISIBLE_DEVICES": "4,5",
        "ROCR_VISIBLE_DEVICES": "4,5",
        "ZE_AFFINITY_MASK": "4,5",
        "ZE_ENABLE_PCI_ID_DEVICE_ORDER": "1",
    }


@two_cores
def test_a_task_with_a_demand_gets_what_it_asks_for_and_the_next_finds_nothing_of_it(stage: Stage) -> None:
    cores = sorted(os.sched_getaffinity(0))[:2]
    pin = f"list:{cores[0]}:{cores[1]}"
    stage.welcome(*TWO, "--cpu_affinity", pin, "--available_accelerators", "A", "B", environ=TWO_CORES)
    assert stage.run(1, what_i_have, demand=Demand(cores=2))[0] == cores
    cpus, variables = stage.run(2, what_i_have, demand=Demand(cores=1, gpus=2))
    assert cpus == cores
    assert set(variables["CUDA_VISIBLE_DEVICES"].split(",")) == {"A", "B"}
    cpus, variables = stage.run(3, what_i_have)
    assert len(cpus) == 1
    assert variables["CUDA_VISIBLE_DEVICES"] == {cores[0]: "A", cores[1]: "B"}[cpus[0]]
    assert variables["OMP_NUM_THREADS"] == "1"


def most_at_once(directory: str, weight: int) -> int:
    """How much weight runs at this time, this task included."""
    mine = Path(directory) / f"{os.getpid()}-{time.monotonic_ns()}"
    mine.write_text(str(weight))
    time.sleep(0.02)
    total = 0
    for path in Path(directory).iterdir():
        with contextlib.suppress(FileNotFoundError):
            total += int(path.read_text() or 0)
    mine.unlink()
    return total


def test_slots_are_never_oversold(stage: Stage, tmp_path: Path) -> None:
    stage.welcome("--max_workers_per_node", "4", environ=FOUR_CORES)
    directory = tmp_path / "running"
    directory.mkdir()
    for task in range(60):
        cores = (1, 1, 3, 2, 1, 4)[task % 6]
        demand = Demand(cores=cores) if cores > 1 or task % 4 else None
        stage.submit(task, most_at_once, str(directory), cores, demand=demand)
    stage.until(lambda: len(stage.results) == 60)
    assert max(stage.results.values()) == 4


def test_the_worker_of_a_wide_task_dies_and_the_others_go_on(stage: Stage) -> None:
    stage.welcome("--max_workers_per_node", "3", environ={"PARSL_CORES": "3"})
    stage.submit(1, os._exit, 3, demand=Demand(cores=3))
    lost = stage.wait_for(WorkerLoss)
    assert lost.id == 1
    assert "exit code 3" in lost.reason
    assert stage.run(2, abs, -2, demand=Demand(cores=3)) == 2


def mpi_variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("PARSL_") and "WORKER" not in name}


def test_a_task_that_spreads_over_nodes_is_told_their_names(stage: Stage, tmp_path: Path) -> None:
    nodes = tmp_path / "nodes"
    nodes.write_text("n1\nn1\nn2\nn3\n")
    environ = {"PBS_NODEFILE": str(nodes)}
    hello = stage.welcome(*ONE, "--enable_mpi_mode", "--mpi_launcher", "srun", environ=environ)
    assert hello.nodes == 3
    found = stage.run(1, mpi_variables, demand=Demand(nodes=2, ranks_per_node=4, launcher_options="-v"))
    assert found["PARSL_MPI_NODELIST"] == "n1,n2"
    assert found["PARSL_MPI_PREFIX"] == "srun --ntasks 8 --ntasks-per-node 4 --nodelist n1,n2 --nodes 2 -v"
    assert stage.run(2, mpi_variables) == {}


# -- memory ------------------------------------------------------------------------------------------------------


def use_memory(megabytes: int, path: str) -> None:
    data = bytearray(os.urandom(1_000_000)) * megabytes
    wait_for_file(path)
    del data


def test_a_task_that_takes_more_memory_than_it_asked_for_is_ended(stage: Stage, tmp_path: Path) -> None:
    stage.welcome(*TWO, environ=TWO_CORES | {"PARSL_MEMORY_GB": "4"})
    stage.submit(1, use_memory, 300, f"{tmp_path}/go", demand=Demand(memory_mb=200))
    over = stage.wait_for(TasksOverMemory)
    assert (over.ids, over.limits_mb) == ([1], [200])
    assert over.peaks_mb[0] > 200
    stage.submit(2, use_memory, 100, f"{tmp_path}/go", demand=Demand(memory_mb=500))
    assert stage.run(3, abs, -3) == 3
    (tmp_path / "go").touch()
    stage.result(2)
    assert [message.ids for message in stage.said(TasksOverMemory)] == [[1]]


def kill_myself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def use_memory_in_a_child(megabytes: int) -> None:
    code = f"import time; data = bytearray(b'x') * {megabytes}_000_000; time.sleep(60)"
    subprocess.run([sys.executable, "-c", code], check=False)


def test_memory_of_its_children_is_the_tasks(stage: Stage) -> None:
    stage.welcome(*ONE, environ={"PARSL_MEMORY_GB": "4"})
    stage.submit(1, use_memory_in_a_child, 300, demand=Demand(memory_mb=200))
    assert stage.wait_for(TasksOverMemory).ids == [1]


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A control group of version 1 with little memory."""
    group = Path(f"/sys/fs/cgroup/memory/trellis-test-{os.getpid()}")
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text("300000000")
    except OSError:
        pytest.skip("needs root, and control groups of version 1")
    yield group
    group.rmdir()


def test_a_worker_that_the_system_kills_for_lack_of_memory(small_group: Path, stage: Stage) -> None:
    stage.start(*ONE)
    assert stage.process is not None
    (small_group / "cgroup.procs").write_text(str(stage.process.pid))  # before it looks how much there is
    hello = stage.wait_for(Register)
    assert hello.memory_bytes <= 300_000_000
    stage.send(Welcome([]))
    stage.submit(1, use_memory, 600, "/nowhere")
    reason = stage.wait_for(WorkerLoss).reason
    assert re.fullmatch(r"out of memory: the system killed it; peak memory \d+ MB", reason)
    stage.process.terminate()
    assert stage.wait_for_end() == 0


def test_one_that_somebody_kills_is_not_out_of_memory(stage: Stage) -> None:
    stage.welcome(*ONE)
    stage.submit(1, kill_myself)
    reason = stage.wait_for(WorkerLoss).reason
    assert reason.startswith("killed by signal 9 (SIGKILL), perhaps by the system for lack of memory; peak memory ")


# -- others ------------------------------------------------------------------------------------------------------


def test_it_names_the_packages_that_are_installed(stage: Stage) -> None:
    stage.welcome(*ONE)
    stage.send(PackagesRequest(7))
    packages = stage.wait_for(Packages)
    assert packages.request == 7
    found = {name.lower(): version for name, version in zip(packages.names, packages.versions, strict=True)}
    assert found["psutil"] == psutil.__version__


def test_workers_that_cannot_start_say_why_and_tasks_are_given_back(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "setproctitle.py").write_text(
        "def setproctitle(title):\n    if 'worker' in title: raise OSError('no luck')\n"
        "def setthreadtitle(title): pass\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    stage.welcome(*ONE, environ={"PYTHONPATH": path})
    stage.submit(1, abs, -1)
    assert stage.wait_for(TasksReturned).ids == [1]
    reason = stage.wait_for(Goodbye).reason
    assert "workers die before they are ready: exit code 1" in reason
    assert "no luck" in reason
    assert stage.wait_for_end() == 1
    assert "no luck" in stage.stderr


def test_what_a_worker_writes_to_standard_error_arrives_there(stage: Stage) -> None:
    stage.welcome(*ONE)
    stage.run(1, os.write, 2, b"some words")
    assert "some words" in stage.stderr


def test_capacity_follows_the_environment(stage: Stage) -> None:
    hello = stage.welcome("-c", "0.5", "-m", "0.25", environ={"PARSL_CORES": "3", "PARSL_MEMORY_GB": "1"})
    assert (hello.workers, hello.cpus, hello.memory_bytes) == (4, 3, 2**30)
