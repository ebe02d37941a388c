"""What users say of a TaskVine factory. Values only: nothing is opened here, and nothing changes them later."""

from __future__ import annotations

from dataclasses import dataclass

from trellis.core.validation import check_at_least, check_type
from trellis.errors import ConfigurationError

# The worker of the engine that is used.
DEFAULT_EXECUTABLE = "vine_worker"
BATCH_TYPES = ("local", "slurm", "condor", "sge", "uge", "pbs", "torque", "lsf")


@dataclass
class TaskVineFactoryConfig:
    """How workers are started. Times in seconds, memory and disk in MB.

    Args:
        factory_timeout: the factory ends when the manager has been silent for so long.
        scratch_dir: where workers have their caches and sandboxes; None: the temporary directory of their host.
        min_workers: workers that are always kept.
        max_workers: workers at most.
        workers_per_cycle: workers that may be on their way at a time; 0: any number. (``batch_type="local"``.)
        worker_options: further words on the worker's command line.
        worker_executable: the worker's command; the default is the worker of the engine that is used.
        worker_timeout: a worker ends when it had nothing to do for so long.
        cores, gpus, memory, disk: what each worker offers; None: all that its host has.
        python_env: directory of an environment, with Trellis in it, whose Python workers and their tasks run with.
        batch_type: "local": workers run on this host; "slurm", "condor", "sge", "uge", "pbs", "torque", "lsf": each is
            a job of that batch system.
        condor_requirements: of HTCondor's jobs.
        batch_options: further words for the batch system's submission command; for HTCondor, lines of the submit
            description.

    Raises:
        ConfigurationError: a value has a wrong type or cannot work; the message names the field.
    """

    factory_timeout: int = 300
    scratch_dir: str | None = None
    min_workers: int = 1
    max_workers: int = 1
    workers_per_cycle: int = 1
    worker_options: str | None = None
    worker_executable: str = DEFAULT_EXECUTABLE
    worker_timeout: int = 300
    cores: int | None = None
    gpus: int | None = None
    memory: int | None = None
    disk: int | None = None
    python_env: str | None = None
    batch_type: str = "local"
    condor_requirements: str | None = None
    batch_options: str | None = None

    def __post_init__(self) -> None:
        owner = type(self).__name__
        for name, types in _TYPES.items():
            check_type(owner, name, getattr(self, name), *types)
        for name in ("factory_timeout", "worker_timeout", "cores", "memory", "disk", "max_workers"):
            if getattr(self, name) is not None:
                check_at_least(owner, name, getattr(self, name), 1)
        for name in ("min_workers", "workers_per_cycle", "gpus"):
            if getattr(self, name) is not None:
                check_at_least(owner, name, getattr(self, name), 0)
        if self.min_workers > self.max_workers:
            raise ConfigurationError(
                f"{owner}: min_workers ({self.min_workers}) must not exceed max_workers ({self.max_workers})"
            )
        if self.batch_type not in BATCH_TYPES:
            known = ", ".join(map(repr, BATCH_TYPES))
            raise ConfigurationError(f"{owner}: batch_type must be one of {known}, not {self.batch_type!r}")


_TYPES: dict[str, tuple[type | None, ...]] = {
    "factory_timeout": (int,),
    "scratch_dir": (str, None),
    "min_workers": (int,),
    "max_workers": (int,),
    "workers_per_cycle": (int,),
    "worker_options": (str, None),
    "worker_executable": (str,),
    "worker_timeout": (int,),
    "cores": (int, None),
    "gpus": (int, None),
    "memory": (int, None),
    "disk": (int, None),
    "python_env": (str, None),
    "batch_type": (str,),
    "condor_requirements": (str, None),
    "batch_options": (str, None),
}
