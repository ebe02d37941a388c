"""Names and modules are where Parsl's programs look for them; what is missing says so when it is used, not before."""

from __future__ import annotations

import abc
import dataclasses
import gc
import json
import os
import pickle
import signal
import subprocess
import sys
import time
import typing
from collections.abc import Iterator
from importlib import import_module
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import pytest

import trellis
from trellis import HighThroughputExecutor, ThreadPoolExecutor
from trellis.app.bash import remote_side_bash_executor
from trellis.app.errors import RemoteExceptionWrapper, wrap_error
from trellis.app.python import PythonApp, timeout
from trellis.dataflow.memoization import (
    BasicMemoizer,
    id_for_memo,
    id_for_memo_dict,
    id_for_memo_function,
    id_for_memo_list,
    id_for_memo_pickle,
    id_for_memo_tuple,
    make_hash,
)
from trellis.errors import AppException, AppTimeout, NotInTrellis, ParslError
from trellis.executors.base import ParslExecutor
from trellis.executors.execute_task import execute_task
from trellis.launchers import SimpleLauncher
from trellis.monitoring.message_type import MessageType
from trellis.monitoring.types import TaggedMonitoringMessage
from trellis.multiprocessing import ForkProcess, MacSafeQueue, SpawnContext, join_terminate_close_proc
from trellis.providers import LocalProvider
from trellis.serialize import pack_res_spec_apply_message
from trellis.serialize.base import SerializerBase
from trellis.serialize.concretes import DillCallableSerializer, DillSerializer, PickleSerializer
from trellis.serialize.facade import pack_buffers, unpack_buffers
from trellis.usage_tracking import levels
from trellis.usage_tracking.api import UsageInformation, get_parsl_usage
from trellis.wire.payload import dump_result, load_result

SECOND_PLACES = [
    "app.app.join_app",
    "app.bash.AppBase",
    "app.bash.wrap_error",
    "app.errors.File",
    "app.errors.ParslError",
    "app.errors.RemoteExceptionWrapper",
    "app.errors.wrap_error",
    "app.futures.File",
    "app.futures.Future",
    "app.python.AppBase",
    "app.python.wrap_error",
    "data_provider.staging.DataFuture",
    "data_provider.staging.File",
    "data_provider.staging.Future",
    "dataflow.errors.ParslError",
    "dataflow.futures.DataFuture",
    "dataflow.futures.Future",
    "dataflow.futures.PENDING",
    "dataflow.futures.TaskRecord",
    "executors.errors.ParslError",
    "executors.high_throughput.executor.GENERAL_HTEX_PARAM_DOCS",
    "executors.high_throughput.interchange.ManagerLost",
    "executors.high_throughput.mpi_prefix_composer.InvalidResourceSpecification",
    "executors.status_handling.BadStateException",
    "executors.status_handling.JobStatus",
    "executors.status_handling.ParslExecutor",
    "jobs.error_handlers.JobState",
    "jobs.errors.ParslError",
    "launchers.errors.ExecutionProviderException",
    "providers.errors.ParslError",
]

MISSING = [
    "data_provider.globus.GlobusStaging",
    "executors.FluxExecutor",
    "executors.GlobusComputeExecutor",
    "executors.RadicalPilotExecutor",
    "executors.WorkQueueExecutor",
    "executors.flux.executor.FluxExecutor",
    "executors.globus_compute.GlobusComputeExecutor",
    "executors.radical.RadicalPilotExecutor",
    "executors.radical.executor.RadicalPilotExecutor",
    "executors.workqueue.WorkQueueExecutor",
    "executors.workqueue.executor.WorkQueueExecutor",
    "providers.AWSProvider",
    "providers.AzureProvider",
    "providers.GoogleCloudProvider",
    "providers.KubernetesProvider",
    "providers.aws.aws.AWSProvider",
    "providers.azure.azure.AzureProvider",
    "providers.googlecloud.googlecloud.GoogleCloudProvider",
    "providers.kubernetes.kube.KubernetesProvider",
]

# After the import of the root alone, each in a fresh interpreter would take long: one forgets what it has loaded.
REACHABLE = [
    "addresses.address_by_hostname",
    "app.app.python_app",
    "app.bash.BashApp",
    "app.errors.AppTimeout",
    "app.futures.DataFuture",
    "app.python.PythonApp",
    "concurrent.ParslPoolExecutor",
    "config.Config",
    "configs.local_threads.config",
    "data_provider.data_manager.default_staging",
    "data_provider.files.File",
    "data_provider.http.HTTPInTaskStaging",
    "dataflow.dependency_resolvers.DEEP_DEPENDENCY_RESOLVER",
    "dataflow.dflow.DataFlowKernelLoader",
    "dataflow.errors.DependencyError",
    "dataflow.futures.AppFuture",
    "dataflow.memoization.id_for_memo",
    "dataflow.states.States",
    "errors.ConfigurationError",
    "executors.HighThroughputExecutor",
    "executors.base.ParslExecutor",
    "executors.errors.ScalingFailed",
    "executors.high_throughput.errors.WorkerLost",
    "executors.high_throughput.executor.HighThroughputExecutor",
    "executors.high_throughput.manager_selector.ManagerSelector",
    "executors.status_handling.BlockProviderExecutor",
    "executors.taskvine.executor.TaskVineExecutor",
    "executors.threads.ThreadPoolExecutor",
    "executors.workqueue.executor",
    "jobs.error_handlers.noop_error_handler",
    "jobs.errors.TooManyJobFailuresError",
    "jobs.states.JobState",
    "launchers.SrunLauncher",
    "launchers.base.Launcher",
    "launchers.launchers.SimpleLauncher",
    "log_utils.set_stream_logger",
    "monitoring.monitoring.MonitoringHub",
    "providers.LocalProvider",
    "providers.base.ExecutionProvider",
    "providers.condor.condor.CondorProvider",
    "providers.kubernetes.kube.KubernetesProvider",
    "providers.local.local.LocalProvider",
    "providers.pbspro.pbspro.PBSProProvider",
    "providers.slurm.slurm.SlurmProvider",
    "serialize.facade",
    "serialize.errors.DeserializationError",
    "utils.get_all_checkpoints",
    "version.VERSION",
]


def find(path: str) -> object:
    module, _, name = path.rpartition(".")
    return getattr(import_module(f"trellis.{module}"), name)


@pytest.mark.parametrize("path", SECOND_PLACES)
def test_names_that_parsls_modules_pass_on(path: str) -> None:
    assert find(path) is not None


@pytest.mark.parametrize("path", MISSING)
def test_what_is_missing_can_be_imported_and_says_so_when_it_is_used(path: str) -> None:
    stand_in: Any = find(path)
    words = rf"^{path.rpartition('.')[2]} is not available in this version of Trellis \(in Parsl, it .+\): .+"
    with pytest.raises(NotInTrellis, match=words):
        stand_in("a", label="b")
    if isinstance(stand_in, type):
        with pytest.raises(NotInTrellis, match=words):
            type("Mine", (stand_in,), {"label": "mine"})


@pytest.mark.parametrize("path", MISSING)
def test_what_is_missing_is_a_class_that_annotations_take(path: str) -> None:
    stand_in: Any = find(path)

    @dataclasses.dataclass
    class Settings:
        hub: stand_in | None = None
        several: list[stand_in] = dataclasses.field(default_factory=list)

    assert typing.get_type_hints(Settings, localns={"stand_in": stand_in})["hub"] == typing.Optional[stand_in]  # noqa: UP045
    assert not isinstance(Settings(), stand_in)
    assert not isinstance(stand_in, stand_in)
    assert not issubclass(Settings, stand_in)
    assert not hasattr(stand_in, "start")
    assert pickle.loads(pickle.dumps(stand_in)) is stand_in


def test_who_extends_a_stand_in_beside_other_classes_is_told_too() -> None:
    stand_in: Any = find("monitoring.db_manager.Database")
    for bases in ((dict, stand_in), (stand_in, abc.ABC), (ParslExecutor, stand_in)):
        with pytest.raises(NotInTrellis, match="Database is not available"):
            type(abc.ABC)("Mine", bases, {})


def test_exceptions_of_what_is_missing_can_be_caught() -> None:
    for path in ("executors.workqueue.errors.WorkQueueFailure", "monitoring.errors.MonitoringHubStartError"):
        error: Any = find(path)
        assert issubclass(error, ParslError)
        assert str(error()) == str(pickle.loads(pickle.dumps(error())))
    failure: Any = find("executors.workqueue.errors.WorkQueueTaskFailure")
    again = pickle.loads(pickle.dumps(failure("lost", ValueError("x"))))
    assert (isinstance(again, AppException), again.reason, str(again.status)) == (True, "lost", "x")


@pytest.mark.parametrize("path", ["monitoring.remote.monitor_wrapper", "serialize.facade.register_method_for_data"])
def test_functions_that_are_missing_refuse_too(path: str) -> None:
    refuse: Any = find(path)
    assert pickle.loads(pickle.dumps(refuse)) is refuse
    with pytest.raises(NotInTrellis, match=rf"^{path.rpartition('.')[2]} is not available .* \(in Parsl, it .+\): .+"):
        refuse(3, f=print)


def test_serializers_of_users_are_classes_and_work_alone() -> None:
    class Reversed(SerializerBase):
        def serialize(self, data: bytes) -> bytes:
            return data[::-1]

        def deserialize(self, payload: bytes) -> bytes:
            return payload[::-1]

    assert Reversed().deserialize(Reversed().serialize(b"abc")) == b"abc"
    assert Reversed().identifier == f"{__name__} Reversed".encode()
    for kind in (PickleSerializer, DillSerializer, DillCallableSerializer):
        assert isinstance(kind(), SerializerBase)
        assert kind().deserialize(kind().serialize({"a": lambda x: x + 1}))["a"](2) == 3
    assert unpack_buffers(pack_buffers([b"a", b"", b"bc"])) == [b"a", b"", b"bc"]


def test_names_of_memoization_are_those_of_parsl(tmp_path: Path) -> None:
    class Point:
        def __init__(self, x: int) -> None:
            self.x = x

    id_for_memo.register(Point)(id_for_memo_pickle)
    try:
        assert id_for_memo(Point(1)) == id_for_memo(Point(1)) != id_for_memo(Point(2))
    finally:
        id_for_memo.register(Point)(id_for_memo.dispatch(object))
    assert id_for_memo_list([1]) == id_for_memo([1]) != id_for_memo_tuple((1,))
    assert id_for_memo_dict({1: 2}) == id_for_memo({1: 2})
    assert id_for_memo_function(find) == id_for_memo(find)
    keys = []

    class Noting(BasicMemoizer):
        def check_memo(self, task: Any) -> Any:
            keys.append(make_hash(task))
            return super().check_memo(task)

    with trellis.load(trellis.Config(memoizer=Noting(), run_dir=str(tmp_path))):
        app = trellis.python_app(abs, cache=True)
        assert [app(x).result(30) for x in (-1, -1, -2)] == [1, 1, 2]
    assert keys[0] == keys[1] != keys[2]


def test_the_measurement_is_a_command_under_parsls_name() -> None:
    program = [sys.executable, "-m", "trellis.benchmark.perf", "--help"]
    assert "usage: trellis perf" in subprocess.run(program, check=True, capture_output=True, text=True).stdout


def test_modules_are_reachable_as_attributes_after_the_import_of_the_root() -> None:
    program = f"""
import sys
for path in {REACHABLE!r}:
    for known in [name for name in sys.modules if name.partition(".")[0] == "trellis"]:
        del sys.modules[known]
    import trellis
    found = trellis
    for name in path.split("."):
        found = getattr(found, name)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=100)


@pytest.mark.parametrize("package", ["", ".app", ".executors", ".dataflow", ".providers.slurm"])
def test_what_is_not_there_is_an_attribute_error(package: str) -> None:
    module = import_module(f"trellis{package}")
    assert not hasattr(module, "no_such_thing")
    assert not hasattr(module, "__wrapped__")


def test_a_join_app_is_a_python_app() -> None:
    assert isinstance(trellis.join_app(abs), PythonApp)


# Ready configurations and the provider of their blocks, or None: threads, and TaskVine's own workers.
CONFIGS = {
    "ASPIRE1": "PBSProProvider",
    "anvil": "SlurmProvider",
    "bridges": "SlurmProvider",
    "cc_in2p3": "GridEngineProvider",
    "delta": "SlurmProvider",
    "expanse": "SlurmProvider",
    "frontera": "SlurmProvider",
    "htex_local": "LocalProvider",
    "illinoiscluster": "SlurmProvider",
    "improv": "PBSProProvider",
    "local_threads": None,
    "midway": "SlurmProvider",
    "osg": "CondorProvider",
    "polaris": "PBSProProvider",
    "stampede2": "SlurmProvider",
    "summit": "LSFProvider",
    "toss3_llnl": "SlurmProvider",
    "vineex_local": None,
    "wqex_local": None,
}
NO_CONFIGS = {
    "Azure": "AzureProvider",
    "ec2": "AWSProvider",
    "gc_multisite": "GlobusComputeExecutor",
    "gc_tutorial": "GlobusComputeExecutor",
    "kubernetes": "KubernetesProvider",
}


def test_all_configurations_are_tried() -> None:
    import trellis.configs

    names = {path.stem for path in Path(trellis.configs.__file__).parent.glob("*.py")} - {"__init__"}
    assert {*CONFIGS, *NO_CONFIGS} == names


@pytest.mark.parametrize("name", CONFIGS)
def test_parsls_ready_configurations(name: str, tmp_path: Path) -> None:
    config = find(f"configs.{name}.config")
    assert isinstance(config, trellis.Config)
    executor = config.executors[0]
    provider = getattr(executor, "provider", None) if isinstance(executor, HighThroughputExecutor) else None
    assert (type(provider).__name__ if provider is not None else None) == CONFIGS[name]


@pytest.mark.parametrize("name", NO_CONFIGS)
def test_configurations_that_cannot_be_made_say_so(name: str) -> None:
    module = import_module(f"trellis.configs.{name}")
    with pytest.raises(NotInTrellis, match=f"{NO_CONFIGS[name]} is not available"):
        assert module.config
    assert not hasattr(module, "other")


def test_a_time_limit_for_any_function() -> None:
    assert timeout(divmod, 30)(7, 2) == (3, 1)
    assert timeout(test_a_time_limit_for_any_function, 30).__name__ == "test_a_time_limit_for_any_function"

    def endless() -> None:
        while True:
            time.sleep(0.01)

    with pytest.raises(AppTimeout, match="endless ran for longer"):
        timeout(endless, 0.1)()


def test_usage_tracking_tells_what_a_configuration_consists_of_and_nobody_else() -> None:
    executor = HighThroughputExecutor(provider=LocalProvider(launcher=SimpleLauncher()))
    config = trellis.Config(executors=[executor, ThreadPoolExecutor("threads")])
    usage = json.loads(json.dumps(get_parsl_usage(config)))
    names = [part["c"] if isinstance(part, dict) else part for part in usage]
    assert [name.rpartition(".")[2] for name in names] == [
        "Config",
        "HighThroughputExecutor",
        "LocalProvider",
        "SimpleLauncher",
        "RandomManagerSelector",
        "ThreadPoolExecutor",
    ]
    assert {"executors_len": 2, "dependency_resolver": False}.items() <= usage[0].items()
    assert {"mpi": False}.items() <= usage[1].items()
    assert [levels.DISABLED, levels.LEVEL_1, levels.LEVEL_2, levels.LEVEL_3] == [0, 1, 2, 3]
    with pytest.raises(NotImplementedError, match=r"UsageInformation has no get_usage_information\(\)"):
        UsageInformation().get_usage_information()


def test_a_command_line_can_be_run_as_a_bash_app_does(tmp_path: Path) -> None:
    def greet(name: str, stdout: str) -> str:
        return f"echo hello {name}"

    assert remote_side_bash_executor(greet, "you", stdout=str(tmp_path / "out")) == 0
    assert (tmp_path / "out").read_text() == "hello you\n"


def test_a_packed_call_can_be_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARSL_RANKS", "")  # so that it is put back
    packed = pack_res_spec_apply_message(os.getenv, ("PARSL_RANKS",), {}, {"ranks": 3})
    assert execute_task(packed) == "3"


def put_seven(queue: Any) -> None:
    queue.put(7)


@pytest.fixture
def no_tracker_is_left() -> Iterator[None]:
    """Ends the process by which Python keeps account of semaphores: it would be a stranger to the tests that follow."""
    yield
    gc.collect()
    resource_tracker._resource_tracker._stop()


@pytest.mark.usefixtures("no_tracker_is_left")
def test_queues_and_processes_have_parsls_names() -> None:
    queue = MacSafeQueue(ctx=SpawnContext)
    assert (queue.qsize(), queue.empty()) == (0, True)
    process = ForkProcess(target=put_seven, args=(queue,))
    process.start()
    process.join(30)
    assert (queue.qsize(), queue.empty()) == (1, False)
    assert queue.get(timeout=30) == 7
    assert (queue.qsize(), queue.empty()) == (0, True)
    queue.close()
    queue.join_thread()
    process.close()


def test_a_process_is_ended_by_steps() -> None:
    ends_by_itself = ForkProcess(target=int)
    has_to_be_killed = ForkProcess(target=ignore_the_end)
    for process, limit_s in (
        (ends_by_itself, 30),
        (has_to_be_killed, 2),
    ):
        process.start()
        join_terminate_close_proc(process, timeout=limit_s)
        with pytest.raises(ValueError, match="closed"):
            process.is_alive()


def ignore_the_end() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(60)


def test_monitoring_messages_have_their_types() -> None:
    assert [kind.value for kind in MessageType] == [0, 1, 2, 3, 4, 5]
    assert typing.get_args(TaggedMonitoringMessage) == (MessageType, dict[str, Any])


def test_exceptions_as_values() -> None:
    wrapped = wrap_error(int)("seven")
    assert isinstance(wrapped, RemoteExceptionWrapper)
    again = load_result(dump_result(wrapped))
    assert isinstance(again.get_exception(), ValueError)
    with pytest.raises(ValueError, match="seven"):
        again.reraise()
    assert wrap_error(int)("7") == 7


def test_a_misspelt_name_of_the_package_is_known_to_pythons_own_advice() -> None:
    with pytest.raises(AttributeError) as caught:
        trellis.Confg  # noqa: B018
    assert (caught.value.name, caught.value.obj) == ("Confg", trellis)
    assert "Config" in dir(trellis)  # where it looks for a similar one
