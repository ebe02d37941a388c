"""Stand-ins for Parsl's executors that Trellis does not have, and for their parts."""

from trellis.core.missing import Missing, missing_function

_TASKVINE = "use TaskVineExecutor, whose workers keep files as those of Work Queue do"
_BLOCKS = "use HighThroughputExecutor, or MPIExecutor for programs of MPI, with the provider of your batch system"
_SEARCH = "managers search by themselves; address_probe_timeout of HighThroughputExecutor says how long"
_PART = "it was a part of Parsl's own process for TaskVine; here TaskVineExecutor has other parts, none of them public"

WORK_QUEUE_DEFAULT_PORT = 0


class WorkQueueExecutor(Missing, was="runs tasks on workers of Work Queue, of cctools", instead=_TASKVINE): ...


class FluxExecutor(Missing, was="runs tasks in an instance of the Flux resource manager", instead=_BLOCKS): ...


class FluxFutureWrapper(Missing, was="is the future of a task in Flux", instead=_BLOCKS): ...


class RadicalPilotExecutor(
    Missing, was="runs tasks and MPI programs in pilot jobs of RADICAL-Pilot", instead=_BLOCKS
): ...


class ResourceConfig(Missing, was="says what a pilot of RadicalPilotExecutor has", instead=_BLOCKS): ...


class ParslWorker(Missing, was="is the base of what runs tasks in a pilot of RADICAL-Pilot", instead=_BLOCKS): ...


class DefaultWorker(Missing, was="runs tasks in a pilot of RADICAL-Pilot", instead=_BLOCKS): ...


class MPIWorker(Missing, was="runs tasks of MPI in a pilot of RADICAL-Pilot", instead=_BLOCKS): ...


class GlobusComputeExecutor(
    Missing,
    was="sends tasks to an endpoint of Globus Compute",
    instead="use HighThroughputExecutor from where blocks of the endpoint's batch system can be submitted",
): ...


class HTEXFuture(
    Missing,
    was="is the future of a task in HighThroughputExecutor",
    instead="all executors give futures of concurrent.futures; cancel() and parsl_executor_task_id are there",
): ...


class TestWorker(Missing, was="tries which address of the interchange can be reached", instead=_SEARCH): ...


class ParslTaskToVine(Missing, was="carries a task to TaskVine's process", instead=_PART): ...


class VineTaskToParsl(Missing, was="carries an outcome from TaskVine's process", instead=_PART): ...


class ParslFileToVine(Missing, was="tells TaskVine's process of a file", instead=_PART): ...


probe_addresses = missing_function(
    "probe_addresses", __name__, was="tries which address of the interchange can be reached", instead=_SEARCH
)
run_parsl_function = missing_function(
    "run_parsl_function", __name__, was="runs a task on a worker of TaskVine", instead=_PART
)

__all__ = [
    "WORK_QUEUE_DEFAULT_PORT",
    "DefaultWorker",
    "FluxExecutor",
    "FluxFutureWrapper",
    "GlobusComputeExecutor",
    "HTEXFuture",
    "MPIWorker",
    "ParslFileToVine",
    "ParslTaskToVine",
    "ParslWorker",
    "RadicalPilotExecutor",
    "ResourceConfig",
    "TestWorker",
    "VineTaskToParsl",
    "WorkQueueExecutor",
    "probe_addresses",
    "run_parsl_function",
]
