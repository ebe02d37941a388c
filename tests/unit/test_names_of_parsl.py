"""Names and modules are where Parsl's programs look for them; what is missing says so when it is used, not before."""

from __future__ import annotations

import abc
import dataclasses
import pickle
import subprocess
import sys
import typing
from importlib import import_module
from typing import Any

import pytest

import trellis
from trellis.app.errors import RemoteExceptionWrapper, wrap_error
from trellis.app.python import PythonApp
from trellis.errors import AppException, NotInTrellis, ParslError
from trellis.executors.base import ParslExecutor
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
    "dataflow.futures.TaskRecord",
    "executors.errors.ParslError",
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
    "jobs.job_status_poller.JobStatusPoller",
    "monitoring.MonitoringHub",
    "monitoring.monitoring.MonitoringHub",
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
    stand_in: Any = find("monitoring.MonitoringHub")
    for bases in ((dict, stand_in), (stand_in, abc.ABC), (ParslExecutor, stand_in)):
        with pytest.raises(NotInTrellis, match="MonitoringHub is not available"):
            type(abc.ABC)("Mine", bases, {})


def test_exceptions_of_what_is_missing_can_be_caught() -> None:
    for path in ("executors.workqueue.errors.WorkQueueFailure", "monitoring.errors.MonitoringHubStartError"):
        error: Any = find(path)
        assert issubclass(error, ParslError)
        assert str(error()) == str(pickle.loads(pickle.dumps(error())))
    failure: Any = find("executors.workqueue.errors.WorkQueueTaskFailure")
    again = pickle.loads(pickle.dumps(failure("lost", ValueError("x"))))
    assert (isinstance(again, AppException), again.reason, str(again.status)) == (True, "lost", "x")


def test_functions_that_are_missing_refuse_too() -> None:
    refuse: Any = find("monitoring.remote.monitor_wrapper")
    assert pickle.loads(pickle.dumps(refuse)) is refuse
    with pytest.raises(NotInTrellis, match=r"^monitor_wrapper is not available .* \(in Parsl, it makes an app measure"):
        refuse(f=print, args=())


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


@pytest.mark.parametrize("name", ["local_threads", "htex_local", "vineex_local"])
def test_parsls_ready_configurations(name: str) -> None:
    config = find(f"configs.{name}.config")
    assert isinstance(config, trellis.Config)


def test_exceptions_as_values() -> None:
    wrapped = wrap_error(int)("seven")
    assert isinstance(wrapped, RemoteExceptionWrapper)
    again = load_result(dump_result(wrapped))
    assert isinstance(again.get_exception(), ValueError)
    with pytest.raises(ValueError, match="seven"):
        again.reraise()
    assert wrap_error(int)("7") == 7
