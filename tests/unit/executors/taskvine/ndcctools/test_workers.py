"""What the real TaskVine says of its workers, and what is news of it; the factory's command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trellis.executors.taskvine import TaskVineFactoryConfig
from trellis.executors.taskvine.ndcctools.engine import NdcctoolsEngine
from trellis.executors.taskvine.ndcctools.factory_command import RealFactorySettings, factory_settings
from trellis.executors.taskvine.ndcctools.workers import FACTORY_NAME, WorkerBook
from trellis.executors.taskvine.worker_command import ManagerAccess
from trellis.wire.vine import Resources, WorkerJoined, WorkerLeft


def row(number: int, host: str = "n1", factory: str | None = None, **fields: Any) -> dict[str, Any]:
    allocations = {"cores_total": 2, "memory_total": 100, "disk_total": 10, "gpus_total": 0, "cores_inuse": 1}
    return {
        "addrport": f"10.0.0.1:{number}",
        "workerid": f"worker-{number}",
        "hostname": host,
        "factory_name": factory,
        **allocations,
        **fields,
    }


def test_a_worker_joins_when_it_has_said_what_it_has_and_leaves_once() -> None:
    book = WorkerBook()
    assert book.look([row(1, cores_total=0)]) == []
    joined = WorkerJoined("worker-1", "n1", Resources(2, 100, 10, 0))
    assert book.look([row(1)]) == [joined]
    assert book.look([row(1)]) == []
    (left,) = book.look([])
    assert isinstance(left, WorkerLeft)
    assert (left.worker, left.hostname) == ("worker-1", "n1")
    assert book.look([]) == []


def test_workers_are_named_by_their_addresses() -> None:
    book = WorkerBook()
    book.look([row(1)])
    assert [book.name(address) for address in ("10.0.0.1:1", "10.0.0.1:2", None)] == ["worker-1", "10.0.0.1:2", ""]


def test_a_status_tells_blocks_from_our_own_factory() -> None:
    book = WorkerBook()
    book.look([row(1, factory="block-3"), row(2, factory=FACTORY_NAME), row(3)])
    found = [(status.worker, status.block, status.from_factory) for status in book.statuses()]
    assert found == [("worker-1", "block-3", False), ("worker-2", "", True), ("worker-3", "", False)]
    assert book.statuses()[0].used.cores == 1


def test_hosts_are_drained_when_nobody_else_is_there() -> None:
    book = WorkerBook()
    book.look([row(1, "n1", "b1"), row(2, "n2", "b1"), row(3, "n2", "b2")])
    assert book.hosts_of(["b1"]) == ["n1"]
    assert book.hosts_of(["b1", "b2"]) == ["n1", "n2"]


def words(**fields: Any) -> list[str]:
    return settings(**fields).command


def settings(python: str = "/usr/bin/python", **fields: Any) -> RealFactorySettings:
    return factory_settings(TaskVineFactoryConfig(**fields), "127.0.0.1", 9123, "/password", "/logs", python)


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("factory_timeout", 7, "--factory-timeout=7"),
        ("min_workers", 0, "--min-workers=0"),
        ("max_workers", 9, "--max-workers=9"),
        ("workers_per_cycle", 3, "--workers-per-cycle=3"),
        ("worker_options", "--cpu 1", f"--extra-options=--parent-death --from-factory {FACTORY_NAME} --cpu 1"),
        ("worker_executable", "/opt/vine_worker", "--worker-binary=/opt/vine_worker"),
        ("worker_timeout", 5, "--timeout=5"),
        ("cores", 4, "--cores=4"),
        ("gpus", 0, "--gpus=0"),
        ("memory", 100, "--memory=100"),
        ("disk", 200, "--disk=200"),
        ("python_env", "env.tar.gz", "--poncho-env=env.tar.gz"),
    ],
)
def test_each_field_of_a_factory_has_its_option(field: str, value: Any, word: str) -> None:
    assert word in words(**{field: value})
    assert word not in words()


def test_the_factory_knows_its_manager_and_the_password() -> None:
    command = words()
    assert command[0] == "vine_factory"
    assert command[-2:] == ["127.0.0.1", "9123"]
    assert "--password=/password" in command


def test_where_the_factory_keeps_files() -> None:
    told = factory_settings(TaskVineFactoryConfig(scratch_dir="/scratch"), "h", 1, None, "/logs", "/usr/bin/python")
    assert (told.scratch_dir, told.logdir) == ("/scratch", "/logs")
    assert not any("--password" in word for word in told.command)


def test_the_directory_of_an_environment_is_not_a_packaged_one() -> None:
    told = settings("/env/bin/python", python_env="/env")
    assert told.path == "/env/bin"
    assert not any("poncho" in word for word in told.command)


def test_the_workers_command() -> None:
    config = TaskVineFactoryConfig(cores=2, worker_timeout=9, worker_options="--feature ssd")
    access = ManagerAccess(["h", "h2"], 9123, Path("/run/password"), measure=True)
    assert NdcctoolsEngine().worker_command(access, config) == [
        *["vine_worker", "--timeout", "9", "--password", "/run/password"],
        *["--cores", "2", "--feature", "ssd", "h", "9123"],
    ]
