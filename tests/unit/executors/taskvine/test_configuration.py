"""What TaskVineExecutor makes of its parameters and configurations, without starting anything."""

from __future__ import annotations

import copy
import os
import shlex
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from tests.unit.executors.taskvine.embedded.manager.managing import registration
from trellis.errors import ConfigurationError
from trellis.executors import TaskVineExecutor, TaskVineFactoryConfig, TaskVineManagerConfig
from trellis.executors.taskvine import Library, TaskVineFile
from trellis.executors.taskvine.embedded.manager import events
from trellis.executors.taskvine.embedded.manager.service import machine_settings
from trellis.executors.taskvine.embedded.manager.state import VineManagerState
from trellis.executors.taskvine.embedded.worker.main import parse_arguments
from trellis.executors.taskvine.engine import EMBEDDED, NDCCTOOLS, Engine
from trellis.executors.taskvine.worker_command import ManagerAccess
from trellis.providers import (
    CondorProvider,
    GridEngineProvider,
    LocalProvider,
    LSFProvider,
    PBSProProvider,
    SlurmProvider,
    TorqueProvider,
)
from trellis.wire.vine import Resources, TaskShape

HERE = ManagerAccess(["127.0.0.1"], 9123, Path("/run/password"), False)
FAR = ManagerAccess(["10.0.0.1"], 9123, Path("/run/password"), False)


def executor(**parameters: Any) -> TaskVineExecutor:
    return TaskVineExecutor(engine="embedded", **parameters)


def command(access: ManagerAccess = HERE, engine: Engine = EMBEDDED, **fields: Any) -> list[str]:
    return engine.worker_command(access, TaskVineFactoryConfig(**fields))


def worker_options(access: ManagerAccess = HERE, **fields: Any) -> Any:
    """The command, as the worker understands it."""
    words = command(access, **fields)
    assert words[:4] == [sys.executable, "-P", "-m", "trellis.executors.taskvine.embedded.worker.main"]
    return parse_arguments(words[4:])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("port", 70000),
        ("port", "9123"),
        ("address", 1),
        ("env_vars", "A=1"),
        ("max_retries", -1),
        ("library_config", {"slots": 1}),
        ("autolabel_algorithm", "best"),
        ("wait_for_workers", -1),
        ("shared_fs", "yes"),
        ("tune_parameters", []),
        ("extra_pkgs", "numpy"),
        ("project_name", 7),
    ],
)
def test_a_manager_config_that_cannot_work_names_its_field(field: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"TaskVineManagerConfig: {field}"):
        TaskVineManagerConfig(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("factory_timeout", 0),
        ("max_workers", 0),
        ("min_workers", 2),
        ("workers_per_cycle", -1),
        ("cores", 0),
        ("gpus", "all"),
        ("memory", -1),
        ("disk", 1.5),
        ("batch_type", "k8s"),
        ("worker_timeout", 0),
        ("python_env", 1),
        ("scratch_dir", 1),
        ("condor_requirements", 1),
        ("batch_options", ["-q"]),
        ("worker_options", 1),
        ("worker_executable", None),
    ],
)
def test_a_factory_config_that_cannot_work_names_its_field(field: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"TaskVineFactoryConfig: {field}"):
        TaskVineFactoryConfig(**{field: value})


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("label", 1),
        ("worker_launch_method", "cloud"),
        ("function_exec_mode", "lambda"),
        ("engine", "best"),
        ("manager_config", {}),
        ("factory_config", {}),
        ("libraries", [Library("a"), Library("a")]),
    ],
)
def test_a_parameter_that_cannot_work_is_named(parameter: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=parameter):
        TaskVineExecutor(**{parameter: value})


@pytest.mark.parametrize("method", ["factory", "manual"])
def test_a_provider_that_starts_nothing_is_told_of_and_not_used(method: str) -> None:
    with pytest.warns(UserWarning, match=f"provider .* worker_launch_method='{method}'"):
        made = TaskVineExecutor(provider=LocalProvider(), worker_launch_method=method)
    assert made.provider is None


def test_configurations_are_used_and_stay_as_they_are() -> None:
    manager, factory = TaskVineManagerConfig(env_vars={"A": "1"}, port=9200), TaskVineFactoryConfig(cores=2)
    before = copy.deepcopy((manager, factory))
    executor(manager_config=manager, factory_config=factory)
    by_hand = executor(manager_config=manager, factory_config=factory, worker_launch_method="manual")
    assert by_hand._settings(EMBEDDED, Path("password")).worker_ports == (9200, 9201)
    by_hand._chosen_engine, by_hand._access = EMBEDDED, HERE
    assert "--cores 2" in by_hand.worker_command
    assert (manager, factory) == before


@pytest.mark.parametrize(
    ("autolabel_algorithm", "memory", "disk"), [("max-xput", 500, 250), ("bucketing", 1000, 250), ("max", 1000, 1000)]
)
def test_the_autolabel_algorithm_is_the_one_asked_for(autolabel_algorithm: str, memory: int, disk: int) -> None:
    config = TaskVineManagerConfig(autolabel=True, autolabel_algorithm=autolabel_algorithm, autolabel_window=5)
    settings = executor(manager_config=config)._settings(EMBEDDED, Path("password"))
    manager = VineManagerState(machine_settings(settings), Random(1))
    total = Resources(1, 8000, 8000, 0)
    manager.handle(events.ShapesDefined([0], [TaskShape("regular", "c", Resources(cores=1))]), 0.0)
    manager.handle(events.WorkerRegistered(registration("w", total)), 0.0)
    for task, (used, seconds) in enumerate(
        [*[(Resources(None, 500, 1000), 0.25)] * 4, (Resources(None, 1000, 250), 3.0)]
    ):
        (run,) = manager.handle(events.TasksSubmitted([task], [0]), 0.0)
        assert isinstance(run, events.RunTasks)
        assert run.allocations == [total]  # while nothing is known
        manager.handle(events.CallsEnded("w", [task], [seconds], [used]), 0.0)
    (run,) = manager.handle(events.TasksSubmitted([9], [0]), 0.0)
    assert isinstance(run, events.RunTasks)
    assert run.allocations == [Resources(1, memory, disk, 0)]


def test_blocks_are_only_of_those_who_want_them() -> None:
    assert executor().provider is None
    assert executor(worker_launch_method="manual").provider is None
    default = executor(worker_launch_method="provider").provider
    assert isinstance(default, LocalProvider)
    assert default.init_blocks == 1
    provider = LocalProvider()
    assert executor(worker_launch_method="provider", provider=provider).provider is provider


# -- workers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "option", "value"),
    [
        ({}, "host", "127.0.0.1"),
        ({}, "port", 9123),
        ({}, "password_file", Path("/run/password")),
        ({}, "timeout", 300),
        ({"worker_timeout": 5}, "timeout", 5),
        ({}, "cores", None),
        ({"cores": 2}, "cores", 2),
        ({"memory": 1000}, "memory", 1000),
        ({"disk": 500}, "disk", 500),
        ({"gpus": 1}, "gpus", 1),
        ({}, "measure", False),
        ({"worker_options": "--feature fast --feature 'very large'"}, "feature", ["fast", "very large"]),
    ],
    ids=str,
)
def test_what_workers_are_told(fields: dict[str, Any], option: str, value: object) -> None:
    assert getattr(worker_options(**fields), option) == value


def test_workers_measure_when_labels_are_to_be_found() -> None:
    measuring = ManagerAccess(["127.0.0.1"], 9123, Path("/run/password"), True)
    assert worker_options(measuring).measure


def test_workers_try_all_addresses() -> None:
    access = ManagerAccess(["10.0.0.1", "fd00::1"], 9123, Path("/run/password"), False)
    assert worker_options(access).host == "10.0.0.1,fd00::1"


def test_an_own_worker_executable() -> None:
    words = command(worker_executable="/opt/trellis/bin/trellis vine-worker")
    assert words[:4] == ["/opt/trellis/bin/trellis", "vine-worker", "127.0.0.1", "9123"]


def test_workers_run_with_the_python_of_python_env() -> None:
    assert command(python_env=sys.prefix)[0] == f"{sys.prefix}/bin/python"


def test_a_python_env_without_python(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="python_env"):
        command(python_env=str(tmp_path))


def test_scratch_dir_is_where_workers_have_their_files() -> None:
    assert command(scratch_dir="/scratch/me")[:2] == ["env", "TMPDIR=/scratch/me"]


def test_the_real_worker_finds_the_python_of_python_env_on_path() -> None:
    words = command(FAR, NDCCTOOLS, python_env=sys.prefix)
    done = subprocess.run([*words[:4], "printenv", "PATH"], capture_output=True, text=True, check=True)
    assert done.stdout.split(os.pathsep)[0] == f"{sys.prefix}/bin"


def test_the_real_factory_takes_a_directory_or_a_packaged_environment(tmp_path: Path) -> None:
    (tmp_path / "env.tar.gz").touch()
    for given, path, packaged in (
        (None, os.path.dirname(sys.executable), False),
        (sys.prefix, f"{sys.prefix}/bin", False),
        (str(tmp_path / "env.tar.gz"), os.path.dirname(sys.executable), True),
    ):
        process = NDCCTOOLS.factory_process("f", FAR, TaskVineFactoryConfig(python_env=given), "/logs")
        settings = msgspec.to_builtins(process._settings)
        assert settings["path"] == path
        assert (f"--poncho-env={given}" in settings["command"]) == packaged
    with pytest.raises(ConfigurationError, match="python_env"):
        NDCCTOOLS.factory_process("f", FAR, TaskVineFactoryConfig(python_env=str(tmp_path / "none")), "/logs")


def test_the_real_worker_gets_its_own_options() -> None:
    words = command(FAR, NDCCTOOLS, cores=2, worker_timeout=60, worker_options="--single-shot")
    assert shlex.join(words) == (
        "vine_worker --timeout 60 --password /run/password --cores 2 --single-shot 10.0.0.1 9123"
    )


def test_what_a_factory_is_told() -> None:
    config = TaskVineFactoryConfig(min_workers=2, max_workers=7, workers_per_cycle=3, factory_timeout=60)
    settings = EMBEDDED.factory_process("vine", HERE, config, "/logs")._settings
    assert (settings.min_workers, settings.max_workers, settings.workers_per_cycle) == (2, 7, 3)
    assert settings.factory_timeout_s == 60
    assert (settings.port, settings.logdir, settings.scratch_dir) == (9123, "/logs", "/logs")
    assert settings.worker_command == EMBEDDED.worker_command(HERE, config)


# -- batch systems -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("batch_type", "provider", "prefix"),
    [
        ("slurm", SlurmProvider, "#SBATCH "),
        ("condor", CondorProvider, ""),
        ("sge", GridEngineProvider, "#$ "),
        ("uge", GridEngineProvider, "#$ "),
        ("pbs", PBSProProvider, "#PBS "),
        ("torque", TorqueProvider, "#PBS "),
        ("lsf", LSFProvider, "#BSUB "),
    ],
)
def test_each_batch_type_has_its_provider(batch_type: str, provider: type, prefix: str) -> None:
    config = TaskVineFactoryConfig(batch_type=batch_type, min_workers=2, max_workers=8, batch_options="-q long")
    made: Any = executor(factory_config=config).provider
    assert type(made) is provider
    assert (made.init_blocks, made.min_blocks, made.max_blocks, made.nodes_per_block) == (2, 2, 8, 1)
    assert made.scheduler_options.splitlines() == [f"{prefix}-q long"]


def test_jobs_ask_for_what_workers_offer() -> None:
    config = TaskVineFactoryConfig(batch_type="slurm", cores=4, memory=2048, gpus=1)
    slurm: Any = executor(factory_config=config).provider
    assert (slurm.cores_per_node, slurm.mem_per_node, slurm.gpus_per_node, slurm.exclusive) == (4, 2.0, 1, False)
    config = TaskVineFactoryConfig(batch_type="condor", cores=4, memory=2048, condor_requirements='Arch == "X86_64"')
    condor: Any = executor(factory_config=config).provider
    assert (condor.cores_per_slot, condor.mem_per_slot, condor.requirements) == (4, 2.0, 'Arch == "X86_64"')


def test_a_whole_node_is_asked_for_when_nothing_is_said() -> None:
    slurm: Any = executor(factory_config=TaskVineFactoryConfig(batch_type="slurm")).provider
    assert slurm.exclusive


def test_what_a_batch_system_does_not_do_is_told(caplog: pytest.LogCaptureFixture) -> None:
    executor(factory_config=TaskVineFactoryConfig(batch_type="slurm", workers_per_cycle=5))
    assert "workers_per_cycle" in caplog.text


# -- libraries and files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", 1), ("context", 1), ("exec_mode", "thread"), ("num_slots", 0), ("cores", -1), ("gpus", -1)],
)
def test_a_library_that_cannot_work_names_its_field(field: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"Library: {field}"):
        Library(**{"name": "index", field: value})


def test_direct_mode_has_one_slot() -> None:
    with pytest.raises(ConfigurationError, match="num_slots"):
        Library("index", exec_mode="direct", num_slots=2)


@pytest.mark.parametrize(("field", "value"), [("cache", "always"), ("peer_transfer", 1), ("unpack", "yes")])
def test_a_file_that_cannot_work_names_its_field(field: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"TaskVineFile: {field}"):
        TaskVineFile("a.txt", **{field: value})
