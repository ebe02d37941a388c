"""Which nodes a batch job has, for programs that ask for them.

What MPIExecutor itself asks is in ``trellis.executors.common.host``, and who gets which nodes is decided by managers.
"""

from __future__ import annotations

import enum
import os

from trellis.core.missing import Missing
from trellis.core.validation import check_type
from trellis.executors.common.host import node_file_names, slurm_node_names
from trellis.executors.high_throughput.mpi_prefix_composer import VALID_LAUNCHERS

__all__ = [
    "VALID_LAUNCHERS",
    "MPINodesUnavailable",
    "MPITaskScheduler",
    "Scheduler",
    "TaskScheduler",
    "get_nodes_in_batchjob",
    "get_pbs_hosts_list",
    "get_slurm_hosts_list",
    "identify_scheduler",
]

_INSTEAD = "managers of MPIExecutor give nodes to tasks themselves"


class TaskScheduler(Missing, was="passes tasks to the workers of a node", instead=_INSTEAD): ...


class PrioritizedTask(Missing, was="is a task that waits for nodes", instead=_INSTEAD): ...


class MPITaskScheduler(Missing, was="gives nodes of a job to tasks", instead=_INSTEAD): ...


class Scheduler(enum.Enum):
    """The batch systems whose jobs are known."""

    Unknown = 0
    Slurm = 1
    PBS = 2


class MPINodesUnavailable(Exception):
    """A task wants more nodes than are free."""

    def __init__(self, requested: int, available: int) -> None:
        super().__init__(requested, available)
        self.requested = requested
        self.available = available

    def __str__(self) -> str:
        return f"{self.requested} nodes are wanted, and {self.available} are free"


def identify_scheduler() -> Scheduler:
    """The batch system whose job this process is in, by its environment."""
    if os.environ.get("PBS_NODEFILE"):
        return Scheduler.PBS
    if os.environ.get("SLURM_JOB_NODELIST") or os.environ.get("SLURM_NODELIST"):
        return Scheduler.Slurm
    return Scheduler.Unknown


def get_nodes_in_batchjob(scheduler: Scheduler) -> list[str]:
    """The names of this job's nodes.

    Raises:
        ParameterTypeError: ``scheduler`` is none.
        RuntimeError: the batch system is not known.
    """
    check_type("get_nodes_in_batchjob", "scheduler", scheduler, Scheduler)
    if scheduler is Scheduler.PBS:
        return get_pbs_hosts_list()
    if scheduler is Scheduler.Slurm:
        return get_slurm_hosts_list()
    raise RuntimeError(f"the nodes of a job of {scheduler} are not known: neither PBS_NODEFILE nor SLURM_JOB_NODELIST")


def get_pbs_hosts_list() -> list[str]:
    """The nodes in the file that PBS has written for this job, each once.

    Raises:
        KeyError: this is no job of PBS.
        ConfigurationError: the file cannot be read.
    """
    return list(node_file_names(os.environ["PBS_NODEFILE"]))


def get_slurm_hosts_list() -> list[str]:
    """The nodes of this job of Slurm's.

    Raises:
        ConfigurationError: Slurm does not say.
    """
    return list(slurm_node_names(os.environ.get("SLURM_JOB_NODELIST") or os.environ.get("SLURM_NODELIST") or ""))
