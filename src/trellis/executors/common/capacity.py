"""How much of its computer may be used for tasks, and until when, from what the system and the batch system say. Pure.

Others read files and variables (see ``host``); here is what they mean.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime

from trellis.errors import ConfigurationError

# A memory limit of a version-1 cgroup that is at least this is none: the kernel's way of saying so is a huge number.
_NO_LIMIT_BYTES = 2**60
# A manager drains so long before the end of its job, or a tenth of the time it has, if that is less.
DRAIN_MARGIN_S = 60.0
_MB = 2**20
_GB = 2**30


def cgroup_directories(own: str) -> Iterator[tuple[str, str]]:
    """Controller (empty: version 2) and directory, from ``/proc/self/cgroup``: own ones first, then those around them.

    In a container the own one may be out of sight; the outermost, ``/``, then is the container's.
    """
    for line in own.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            if controller in ("", "cpu", "memory"):
                parts = [part for part in path.split("/") if part and part != ".."]
                for count in range(len(parts), -1, -1):
                    yield controller, "/" + "/".join(parts[:count])


def parse_cpu_max(text: str) -> float:
    """Cores, from ``cpu.max`` of a version-2 cgroup: ``150000 100000`` is 1.5; infinite when there is no limit."""
    quota, _, period = text.strip().partition(" ")
    return math.inf if quota == "max" else int(quota) / int(period or 100_000)


def parse_cpu_quota(quota_us: str, period_us: str) -> float:
    """Cores, from the two files of a version-1 cgroup."""
    quota = int(quota_us)
    return math.inf if quota <= 0 else quota / int(period_us)


def parse_memory_limit(text: str) -> float:
    """Bytes, of either version; infinite when there is no limit."""
    text = text.strip()
    if text == "max" or int(text) >= _NO_LIMIT_BYTES:
        return math.inf
    return int(text)


def parse_oom_kills(text: str) -> int | None:
    """Processes killed for lack of memory, from ``memory.events``, ``memory.oom_control`` or ``/proc/vmstat``."""
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill":
            return int(value)
    return None


def _in_slurm_job(environ: Mapping[str, str]) -> bool:
    # On a login node a shell with an allocation has the job's variables too, but is on no node of it.
    return "SLURM_JOB_ID" in environ and "SLURMD_NODENAME" in environ


def _number(environ: Mapping[str, str], name: str) -> float:
    """0 when it is not set, or no number."""
    try:
        return float(environ.get(name, ""))
    except ValueError:
        return 0.0


def slurm_cpus(environ: Mapping[str, str]) -> float:
    """Cores of this node that the Slurm job has; infinite when it does not say."""
    return (_in_slurm_job(environ) and _number(environ, "SLURM_CPUS_ON_NODE")) or math.inf


def slurm_memory_bytes(environ: Mapping[str, str]) -> float:
    """Memory of this node that the Slurm job has; infinite when it does not say."""
    if not _in_slurm_job(environ):
        return math.inf
    per_cpu = _number(environ, "SLURM_MEM_PER_CPU") * _number(environ, "SLURM_CPUS_ON_NODE")
    return (_number(environ, "SLURM_MEM_PER_NODE") or per_cpu or math.inf) * _MB  # Slurm counts in MB


def _said(environ: Mapping[str, str], name: str, least: float) -> float:
    """What the user says.

    Raises:
        ConfigurationError: it is no number, or less than ``least``.
    """
    value = _number(environ, name)
    if not (least <= value < math.inf):
        raise ConfigurationError(f"{name} must be a number of at least {least:g}, not {environ[name]!r}")
    return value


def usable_cores(environ: Mapping[str, str], allowed: int, cgroup_cpus: float) -> int:
    """Cores that count for workers: ``PARSL_CORES`` when it is set, else the least that anybody allows.

    Raises:
        ConfigurationError: ``PARSL_CORES`` is no number of at least 1.
    """
    if environ.get("PARSL_CORES"):
        return int(_said(environ, "PARSL_CORES", 1.0))
    return max(1, math.floor(min(allowed, cgroup_cpus, slurm_cpus(environ)) + 1e-9))


def usable_memory_bytes(environ: Mapping[str, str], total: int, cgroup_bytes: float) -> int:
    """Memory that counts for workers: ``PARSL_MEMORY_GB`` when it is set, else the least that anybody allows.

    Raises:
        ConfigurationError: ``PARSL_MEMORY_GB`` is no number above 0.
    """
    if environ.get("PARSL_MEMORY_GB"):
        return int(_said(environ, "PARSL_MEMORY_GB", 0.001) * _GB)
    return int(min(total, cgroup_bytes, slurm_memory_bytes(environ)))


def slurm_job_to_ask_for(environ: Mapping[str, str]) -> str | None:
    """The Slurm job that runs here, if its environment does not say when it ends: Slurm before 23.02 does not."""
    known = not _in_slurm_job(environ) or _number(environ, "SLURM_JOB_END_TIME")
    return None if known else environ["SLURM_JOB_ID"]


def parse_slurm_end(text: str) -> float | None:
    """Seconds since the epoch, from ``scontrol show job``: infinite without a limit, None when nothing is said.

    The time there is this host's; the user's options may have made it another one than the provider asked for.
    """
    match = re.search(r"\bEndTime=(\S+)", text)
    if match is None:
        return None
    if match[1] == "Unknown":
        return math.inf
    try:
        return datetime.fromisoformat(match[1]).timestamp()
    except ValueError:
        return None


def ends_in_s(
    environ: Mapping[str, str], walltime_s: float | None, now: float, said_end: float | None = None
) -> float | None:
    """Seconds until the batch system ends the job of one that starts now; None when nobody says.

    Args:
        environ: of the job.
        walltime_s: as the provider asked for it; for batch systems that do not tell the job.
        now: seconds since the epoch.
        said_end: as ``parse_slurm_end`` gives it.
    """
    end = _number(environ, "SLURM_JOB_END_TIME") if _in_slurm_job(environ) else 0.0
    if end or said_end:
        left_s = max(0.0, (end or said_end or 0.0) - now)
        return None if left_s == math.inf else left_s
    pbs_s = _number(environ, "PBS_WALLTIME") if "PBS_JOBID" in environ else 0.0
    return pbs_s or walltime_s


def drain_after_s(drain_period_s: float | None, node_ends_in_s: float | None) -> float | None:
    """When a manager stops to take tasks: after its drain period, or in time before the end of its job."""
    times = [] if drain_period_s is None else [drain_period_s]
    if node_ends_in_s is not None:
        times.append(node_ends_in_s - min(DRAIN_MARGIN_S, 0.1 * node_ends_in_s))
    return min(times, default=None)
