"""What users say of a TaskVine factory. Values only: nothing is opened here, and nothing changes them later."""

from __future__ import annotations

from dataclasses import dataclass

from trellis.core.kinds import Choice, OrNone, Path, Text
from trellis.core.validation import answers_misspelt_names, check_all
from trellis.core.values import MOST_COUNTED, Duration, Kind, Number
from trellis.errors import ParameterValueError

# The worker of the engine that is used.
DEFAULT_EXECUTABLE = "vine_worker"
BATCH_TYPES = ("local", "slurm", "condor", "sge", "uge", "pbs", "torque", "lsf")


@answers_misspelt_names
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
        check_all(self, _KINDS)
        if self.min_workers > self.max_workers:
            raise ParameterValueError(
                f"{type(self).__name__}: min_workers ({self.min_workers}) must not exceed max_workers "
                f"({self.max_workers})"
            )


_COUNT = Number(least=0, most=MOST_COUNTED, whole=True)
_SOME = Number(least=1, most=MOST_COUNTED, whole=True)
_MB = OrNone(Number(least=1, whole=True, unit="MB"))

_KINDS: dict[str, Kind] = {
    "factory_timeout": Duration(least=1, whole=True),
    "scratch_dir": OrNone(Path()),
    "min_workers": _COUNT,
    "max_workers": _SOME,
    "workers_per_cycle": _COUNT,
    "worker_options": OrNone(Text(lines=False)),
    "worker_executable": Text(empty=False, lines=False),
    "worker_timeout": Duration(least=1, whole=True),
    "cores": OrNone(_SOME),
    "gpus": OrNone(_COUNT),
    "memory": _MB,
    "disk": _MB,
    "python_env": OrNone(Path()),
    "batch_type": Choice(*BATCH_TYPES),
    "condor_requirements": OrNone(Text(lines=False)),
    "batch_options": OrNone(Text()),
}
