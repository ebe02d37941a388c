"""On what the figures were measured: hardware and versions. No host names, users or paths."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

import psutil

_DISTRIBUTIONS = (
    "trellis-parallel",
    "parsl",
    "loky",
    "executorlib",
    "distributed",
    "ray",
    "numpy",
    "pyzmq",
    "msgspec",
    "cloudpickle",
)


def facts() -> dict[str, object]:
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release().partition('-')[0]} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "load_before": round(os.getloadavg()[0], 2),
        "versions": {name: version for name in _DISTRIBUTIONS if (version := _version(name))},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
