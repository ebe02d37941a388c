"""What this computer has and says: reads, nothing more. What it means is in ``capacity``."""

from __future__ import annotations

import contextlib
import importlib.metadata
import math
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import psutil

from trellis.errors import ConfigurationError
from trellis.executors.common import capacity

_CGROUPS = Path("/sys/fs/cgroup")
# For commands that answer by themselves, and do not have to ask anybody.
_COMMAND_TIMEOUT_S = 30
# For a question that can be done without: a batch system that is overloaded is not waited for.
_CONTROLLER_TIMEOUT_S = 10


def allowed_cpus() -> list[int]:
    """Numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


def _cgroup_directories() -> list[tuple[str, Path]]:
    own = _read(Path("/proc/self/cgroup")) or ""
    found: list[tuple[str, Path]] = []
    for controller, directory in capacity.cgroup_directories(own):
        roots = [_CGROUPS / controller] if controller else [_CGROUPS, _CGROUPS / "unified"]
        found.extend((controller, root / directory.lstrip("/")) for root in roots)
    return found


def cgroup_limits() -> tuple[float, float]:
    """Cores and bytes of memory that this process and all others of its control group may use; perhaps infinite."""
    cpus, memory = [math.inf], [math.inf]
    for _, directory in _cgroup_directories():
        with contextlib.suppress(ValueError):  # a kernel that says it otherwise
            if (text := _read(directory / "cpu.max")) is not None:
                cpus.append(capacity.parse_cpu_max(text))
            quota, period = _read(directory / "cpu.cfs_quota_us"), _read(directory / "cpu.cfs_period_us")
            if quota is not None and period is not None:
                cpus.append(capacity.parse_cpu_quota(quota, period))
            texts = [_read(directory / name) for name in ("memory.max", "memory.limit_in_bytes")]
            memory += [capacity.parse_memory_limit(text) for text in texts if text is not None]
    return min(cpus), min(memory)


def total_memory_bytes() -> int:
    return psutil.virtual_memory().total


class Usable(NamedTuple):
    """What of this computer is for those who run tasks on it."""

    cpus: list[int]  # numbers of the cores that may be used
    cores: int  # that count
    memory_bytes: int
    ends_in_s: float | None  # until the batch system ends the job; None: nobody says


def usable(environ: Mapping[str, str], walltime_s: float | None, now: float) -> Usable:
    """The least that the system, the control group, the batch system and the user allow.

    Args:
        environ: of the job.
        walltime_s: of the job, as whoever started it asked for it; None: not known.
        now: seconds since the epoch.

    Raises:
        ConfigurationError: ``PARSL_CORES`` or ``PARSL_MEMORY_GB`` is no number above 0.
    """
    cpus = allowed_cpus()
    cgroup_cpus, cgroup_bytes = cgroup_limits()
    return Usable(
        cpus,
        capacity.usable_cores(environ, len(cpus), cgroup_cpus),
        capacity.usable_memory_bytes(environ, total_memory_bytes(), cgroup_bytes),
        capacity.ends_in_s(environ, walltime_s, now, _slurm_end(environ)),
    )


def _slurm_end(environ: Mapping[str, str]) -> float | None:
    """When the job that runs here ends, as Slurm's controller says: asked once, and only if the job was not told."""
    job_id = capacity.slurm_job_to_ask_for(environ)
    if job_id is None:
        return None
    try:
        done = subprocess.run(
            ["scontrol", "--oneliner", "show", "job", job_id],
            env={**environ, "SLURM_TIME_FORMAT": "standard"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_CONTROLLER_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return capacity.parse_slurm_end(done.stdout)


def oom_kills() -> int:
    """How many processes around here were killed for lack of memory so far: it says something when it rises."""
    for controller, directory in _cgroup_directories():
        for name in ("memory.events", "memory.oom_control"):
            count = capacity.parse_oom_kills(_read(directory / name) or "") if controller in ("", "memory") else None
            if count is not None:
                return count
    return capacity.parse_oom_kills(_read(Path("/proc/vmstat")) or "") or 0


def is_stopped(pid: int) -> bool:
    """Whether somebody has stopped this process (SIGSTOP): it does nothing then, and does not end."""
    _, _, rest = (_read(Path(f"/proc/{pid}/stat")) or "").rpartition(")")
    return rest.split()[:1] == ["T"]


def packages() -> dict[str, str]:
    """Python distributions that are installed, and their versions."""
    found: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        with contextlib.suppress(Exception):  # a damaged one has no name
            found.setdefault(distribution.metadata["Name"], distribution.version)
    return found


def node_names(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The nodes of the block's job, for tasks that spread over them.

    Raises:
        ConfigurationError: this is no job, or the batch system does not name its nodes.
    """
    if "SLURM_JOB_NODELIST" in environ:
        return slurm_node_names(environ["SLURM_JOB_NODELIST"])
    if "PBS_NODEFILE" in environ:
        return node_file_names(environ["PBS_NODEFILE"])
    raise ConfigurationError(
        "MPI tasks need a list of nodes: neither SLURM_JOB_NODELIST nor PBS_NODEFILE is set "
        "(is this a job of Slurm or PBS?)"
    )


def node_file_names(path: str) -> tuple[str, ...]:
    """The nodes in a file as PBS writes it, each once.

    Raises:
        ConfigurationError: it cannot be read.
    """
    text = _read(Path(path))
    if text is None:
        raise ConfigurationError(f"the list of the job's nodes, {path}, cannot be read")
    return tuple(dict.fromkeys(text.split()))


def slurm_node_names(nodes: str) -> tuple[str, ...]:
    """The nodes in a list as Slurm writes it; those of this job if it is empty.

    Raises:
        ConfigurationError: Slurm does not say.
    """
    if nodes and not set("[],") & set(nodes):
        return (nodes,)
    command = ["scontrol", "show", "hostnames", *([nodes] if nodes else [])]
    try:
        return tuple(subprocess.check_output(command, timeout=_COMMAND_TIMEOUT_S).decode().split())
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigurationError(f"the nodes {nodes} cannot be told apart: {' '.join(command)}: {error}") from None


def mpiexec_version() -> str:
    """What the ``mpiexec`` of this node says of its version; nothing where there is none."""
    try:
        done = subprocess.run(
            ["mpiexec", "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_COMMAND_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode(errors="replace")
