"""Parameters of HighThroughputExecutor whose effect only real processes show."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

import trellis
from tests.integration.htex.conftest import StartExecutor
from trellis.core.interfaces import ExecutorContext
from trellis.errors import ExecutorError
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.executors.htex.interchange.selection import BlockIdManagerSelector, ManagerSelector
from trellis.executors.htex.launch import DEFAULT_LAUNCH_CMD
from trellis.providers import LocalProvider
from trellis.staging.base import Staging
from trellis.staging.transfer import place_in_working_dir
from trellis.transport.keys import create_keys, load_client_keys

WAIT_S = 30


def wait_until(condition: Any, what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {WAIT_S} s: {what}"
        time.sleep(0.02)


def test_workers_by_cores_memory_and_maximum(start_htex: StartExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARSL_CORES", "4")
    monkeypatch.setenv("PARSL_MEMORY_GB", "8")
    for parameters, workers in (
        ({"max_workers_per_node": None, "cores_per_worker": 2}, 2),
        ({"max_workers_per_node": None, "mem_per_worker": 3}, 2),
        ({"max_workers_per_node": 1}, 1),
    ):
        executor = start_htex(**parameters)
        executor.submit(len, {}, "").result(WAIT_S)
        assert executor.connected_workers == workers
        executor.shutdown()


def test_a_node_too_small_for_one_worker_says_so(start_htex: StartExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARSL_MEMORY_GB", "2")
    exception = start_htex(mem_per_worker=1000).submit(len, {}, "").exception(WAIT_S)
    assert "no worker fits this node: 2.0 GB of memory, 1000 for each worker" in str(exception)


def test_prefetched_tasks_wait_at_the_manager(start_htex: StartExecutor) -> None:
    for prefetch, at_manager in ((0, 1), (3, 4)):
        executor = start_htex(max_workers_per_node=1, prefetch_capacity=prefetch)
        for _ in range(6):
            executor.submit(time.sleep, {}, 60)
        wait_until(
            lambda e=executor, n=at_manager: [m["tasks"] for m in e.connected_managers()] == [n], "tasks at the manager"
        )
        executor.shutdown()


def test_ports_are_taken_from_their_ranges(start_htex: StartExecutor) -> None:
    executor = start_htex(worker_port_range=(43100, 43200), interchange_port_range=(43300, 43400))
    assert executor.submit(len, {}, "abc").result(WAIT_S) == 3
    assert 43100 <= executor._ports.worker < 43200
    assert 43300 <= executor._ports.client < 43400


def test_a_fixed_port_for_managers(start_htex: StartExecutor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    executor = start_htex(worker_port=port)
    assert executor._ports.worker == port
    assert executor.submit(len, {}, "abc").result(WAIT_S) == 3
    with pytest.raises(ExecutorError, match=str(port)):
        start_htex(worker_port=port)


def test_another_loopback_address(start_htex: StartExecutor) -> None:
    executor = start_htex(loopback_address="127.0.0.5")
    assert executor.submit(len, {}, "abc").result(WAIT_S) == 3
    interchange = psutil.Process(executor._client._process.pid)  # type: ignore[union-attr]
    listening = {c.laddr.ip for c in interchange.net_connections() if c.status == psutil.CONN_LISTEN}
    # The socket is of IPv6, to take both kinds.
    assert {address.removeprefix("::ffff:") for address in listening} == {"127.0.0.5"}


def addresses_listened_at(executor: HighThroughputExecutor) -> set[str]:
    """By all processes of this program."""
    found: set[str] = set()
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            found |= {c.laddr.ip for c in process.net_connections() if c.status == psutil.CONN_LISTEN}
    return {address.removeprefix("::ffff:") for address in found}


@pytest.mark.parametrize("address", ["localhost", "127.0.0.2"])
def test_an_explicit_address(start_htex: StartExecutor, address: str) -> None:
    executor = start_htex(address=address)
    assert executor.submit(len, {}, "abc").result(WAIT_S) == 3
    assert f" -a {address} " in executor.launch_command("0")
    listening = addresses_listened_at(executor)
    assert listening <= {"127.0.0.1", "::1", address}
    assert address in listening or address == "localhost"


def test_large_arguments_are_files_whatever_the_address(start_htex: StartExecutor) -> None:
    executor = start_htex(address="127.0.0.1")
    assert executor.submit(len, {}, "").result(WAIT_S) == 0
    future = executor.submit(_look_into, {}, bytes(1_000_000), executor._client._settings.shared_dir)  # type: ignore[union-attr]
    assert future.result(WAIT_S) == 1


def _look_into(argument: bytes, directory: str) -> int:
    import os

    return len([name for name in os.listdir(directory) if name.startswith("arguments-")])


def test_keys_of_the_users_own_are_used(start_htex: StartExecutor, tmp_path: Path) -> None:
    create_keys(tmp_path / "keys")
    before = load_client_keys(tmp_path / "keys")
    executor = start_htex()
    executor.shutdown()
    executor.cert_dir = tmp_path / "keys"
    executor.start(ExecutorContext(run_dir=str(tmp_path / "run"), run_id="keys"))
    assert executor.submit(len, {}, "abc").result(WAIT_S) == 3
    assert f"--cert_dir {tmp_path / 'keys'} " in executor.launch_command("0")
    assert load_client_keys(tmp_path / "keys") == before
    assert not (Path(executor.logdir) / "certificates").exists()


def test_an_address_that_does_not_answer_in_time_is_named(start_htex: StartExecutor) -> None:
    with contextlib.ExitStack() as stack:
        # Nobody accepts, and the queue is full.
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        command = DEFAULT_LAUNCH_CMD.replace("{worker_port}", str(listener.getsockname()[1]))
        executor = start_htex(address="127.0.0.1", address_probe_timeout=1, launch_cmd=command)
        assert "127.0.0.1: no answer within 1 s" in str(executor.submit(len, {}, "").exception(WAIT_S))


def test_logs_lie_where_they_are_asked_for(start_htex: StartExecutor, tmp_path: Path) -> None:
    executor = start_htex(worker_logdir_root=str(tmp_path / "scratch"), worker_debug=True)
    executor.submit(len, {}, "").result(WAIT_S)
    name = executor.connected_managers()[0]["manager"]
    log = tmp_path / "scratch" / executor.label / "block-0" / name / "manager.log"
    assert "registered" in log.read_text()
    assert "Python" in (tmp_path / executor.label / "interchange.log").read_text()


def mark_and_sleep(mark: Path) -> None:
    mark.touch()
    time.sleep(60)


def test_a_silent_manager_is_given_up_after_the_threshold(start_htex: StartExecutor, tmp_path: Path) -> None:
    executor = start_htex(heartbeat_period=1, heartbeat_threshold=2, max_workers_per_node=1, block_error_handler=False)
    worker = executor.submit(os.getpid, {}).result(WAIT_S)
    manager = psutil.Process(worker).parent()
    assert manager is not None
    mark = tmp_path / "started"
    future = executor.submit(mark_and_sleep, {}, mark)
    wait_until(mark.exists, "the task runs")
    manager.suspend()
    try:
        assert "sent nothing for" in str(future.exception(WAIT_S))
    finally:
        manager.resume()
    manager.wait(WAIT_S)  # told that it was given up, it goes, and its workers with it
    wait_until(lambda: not psutil.pid_exists(worker), "the worker is gone")


def test_managers_keep_quiet_connections_alive(start_htex: StartExecutor) -> None:
    executor = start_htex(heartbeat_period=1, heartbeat_threshold=2)
    executor.submit(len, {}, "").result(WAIT_S)
    name = executor.connected_managers()[0]["manager"]
    time.sleep(4)
    assert [manager["manager"] for manager in executor.connected_managers()] == [name]


def test_a_manager_drains_and_leaves(start_htex: StartExecutor) -> None:
    executor = start_htex(drain_period=1, max_workers_per_node=1, block_error_handler=False)
    task = executor.submit(time.sleep, {}, 2)
    wait_until(lambda: [m["draining"] for m in executor.connected_managers()] == [True], "it drains")
    assert task.result(WAIT_S) is None  # what it has, it finishes
    wait_until(lambda: executor.connected_managers() == [], "it left")


def test_an_own_command_for_the_interchange(start_htex: StartExecutor, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    program = f"open({str(mark)!r}, 'w').close()\nfrom trellis.executors.htex.interchange.service import main\nmain()"
    executor = start_htex(interchange_launch_cmd=[sys.executable, "-c", program])
    assert executor.submit(len, {}, "abc").result(WAIT_S) == 3
    assert mark.exists()


def test_tasks_go_to_the_newest_block_first(tmp_path: Path) -> None:
    executor = HighThroughputExecutor(
        max_workers_per_node=1,
        provider=LocalProvider(init_blocks=2, max_blocks=2),
        manager_selector=BlockIdManagerSelector(),
    )
    executor.start(ExecutorContext(run_dir=str(tmp_path)))
    try:
        wait_until(lambda: executor.connected_workers == 2, "both blocks are there")
        blocks = {executor.submit(os.getenv, {}, "PARSL_WORKER_BLOCK_ID").result(WAIT_S) for _ in range(12)}
        assert blocks == {"1"}
    finally:
        executor.shutdown()


class MiddleBlockFirst(ManagerSelector):
    """Neither chance nor ours does the same. The favourite is the last, as for Parsl."""

    def sort_managers(self, ready_managers: Mapping[bytes, Any], manager_list: Iterable[bytes]) -> list[bytes]:
        return sorted(manager_list, key=lambda one: ready_managers[one]["block_id"] == "1")


def test_a_manager_selector_of_ones_own(tmp_path: Path) -> None:
    executor = HighThroughputExecutor(
        max_workers_per_node=1,
        provider=LocalProvider(init_blocks=3, max_blocks=3),
        manager_selector=MiddleBlockFirst(),
    )
    executor.start(ExecutorContext(run_dir=str(tmp_path)))
    try:
        wait_until(lambda: executor.connected_workers == 3, "all blocks are there")
        blocks = {executor.submit(os.getenv, {}, "PARSL_WORKER_BLOCK_ID").result(WAIT_S) for _ in range(12)}
        assert blocks == {"1"}
    finally:
        executor.shutdown()


def test_blocks_are_of_the_provider_and_managers_start_as_the_launch_command_says(start_htex: StartExecutor) -> None:
    executor = start_htex(
        provider=LocalProvider(worker_init="export OF_THE_PROVIDER=yes"),
        launch_cmd=f"env STARTED_BY={{python}}-in-block-{{{{block_id}}}} {DEFAULT_LAUNCH_CMD}",
    )
    names = ("OF_THE_PROVIDER", "STARTED_BY")
    values = [executor.submit(os.getenv, {}, name).result(WAIT_S) for name in names]
    assert values == ["yes", f"{sys.executable}-in-block-0"]


Place = tuple[dict[str, str | None], list[int]]  # variables, cores


def where_it_runs() -> tuple[str, dict[str, str | None], list[int]]:
    names = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")
    return os.environ["PARSL_WORKER_RANK"], {name: os.getenv(name) for name in names}, sorted(os.sched_getaffinity(0))


def places_by_worker(executor: HighThroughputExecutor, workers: int) -> dict[str, Place]:
    """Where tasks of each worker run."""
    found: dict[str, Place] = {}
    deadline = time.monotonic() + WAIT_S
    while len(found) < workers:
        assert time.monotonic() < deadline, f"only {len(found)} workers"
        for future in [executor.submit(where_it_runs, {}) for _ in range(4 * workers)]:
            rank, variables, cores = future.result(WAIT_S)
            found[rank] = variables, cores
    return found


def test_each_worker_has_an_accelerator_and_cores_of_its_own(start_htex: StartExecutor) -> None:
    cores = sorted(os.sched_getaffinity(0))
    lists = [cores[:1], cores[-1:]]
    executor = start_htex(
        max_workers_per_node=None,
        cores_per_worker=0.1,
        available_accelerators=["0,1", "7"],
        cpu_affinity="list:" + ":".join(",".join(map(str, one)) for one in lists),
    )
    places = places_by_worker(executor, 2)
    assert executor.connected_workers == 2  # as many as accelerators
    for rank, devices, one in (("0", "0,1", lists[0]), ("1", "7", lists[1])):
        names = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")
        assert places[rank] == (dict.fromkeys(names, devices), one)


def test_without_affinity_and_accelerators_workers_have_all_cores(start_htex: StartExecutor) -> None:
    variables, cores = places_by_worker(start_htex(max_workers_per_node=1), 1)["0"]
    assert cores == sorted(os.sched_getaffinity(0))
    assert set(variables.values()) == {None}


def use_memory(size_mb: int, seconds: float) -> int:
    used = b"x" * (size_mb << 20)
    time.sleep(seconds)
    return len(used)


def test_memory_is_measured_every_ten_poll_periods(start_htex: StartExecutor) -> None:
    often = start_htex(poll_period=10)
    assert "memory" in str(often.submit(use_memory, {"memory": 100}, 300, 60).exception(WAIT_S))
    seldom = start_htex(poll_period=100_000)
    assert seldom.submit(use_memory, {"memory": 100}, 300, 1).result(WAIT_S) == 300 << 20


class FromMemory(Staging):
    """Brings files of the scheme ``mem``: their content is their path."""

    def can_stage_in(self, file: trellis.File) -> bool:
        return file.scheme == "mem"

    def stage_in(self, dm: Any, executor: str, file: trellis.File, parent_fut: Any) -> None:
        place_in_working_dir(dm, executor, file)
        assert file.local_path is not None
        Path(file.local_path).write_text(file.path)


def read(inputs: Sequence[trellis.File] = ()) -> str:
    return Path(inputs[0].filepath).read_text()


def test_files_come_by_the_executors_own_staging_into_its_directory(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    executor = HighThroughputExecutor(max_workers_per_node=1, storage_access=[FromMemory()], working_dir=str(files))
    config = trellis.Config(executors=[executor], run_dir=str(tmp_path / "runinfo"), initialize_logging=False)
    with trellis.load(config):
        assert trellis.python_app(read)(inputs=[trellis.File("mem://x/some/text")]).result(WAIT_S) == "/some/text"
    assert (files / "text").read_text() == "/some/text"


def test_details_are_logged_on_request(start_htex: StartExecutor, tmp_path: Path) -> None:
    sizes = []
    for debug in (False, True):
        executor = start_htex(worker_debug=debug)
        executor.submit(len, {}, "").result(WAIT_S)
        logs = [Path(executor.logdir) / "interchange.log", *Path(executor.logdir).glob("block-*/*/manager.log")]
        executor.shutdown()
        sizes.append(sum(" DEBUG " in log.read_text() for log in logs))
    assert sizes[0] == 0
    assert sizes[1] > 0


def test_an_own_error_handler_sees_the_blocks(start_htex: StartExecutor) -> None:
    seen: list[tuple[object, dict[str, object]]] = []
    executor = start_htex(block_error_handler=lambda executor, status: seen.append((executor, status)))
    executor.submit(len, {}, "").result(WAIT_S)
    wait_until(lambda: seen, "the handler is called")
    assert seen[0][0] is executor
    assert list(seen[0][1]) == ["0"]
