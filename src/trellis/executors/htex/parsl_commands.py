"""The names of Parsl's programs in launch commands that users have written: ours are started in their place.

Nothing of ours depends on ``PATH``, where there may be programs of a real Parsl by the same names: they do not
understand our processes.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

_MANAGER = "process_worker_pool.py"
_INTERCHANGE = "interchange.py"
_MANAGER_MODULE = "trellis.executors.high_throughput.process_worker_pool"
INTERCHANGE_COMMAND = (sys.executable, "-P", "-m", "trellis.executors.htex.interchange.service")

# What ``interchange_launch_cmd`` is unless a user says otherwise: programs put words before it.
DEFAULT_INTERCHANGE_LAUNCH_CMD = [_INTERCHANGE]

# As a word of its own: a path is a program that the user means.
_MANAGER_WORD = re.compile(rf"(?<![\w./-]){re.escape(_MANAGER)}(?![\w./-])")
# Where a command of a shell ends and another begins.
_COMMAND_END = re.compile(r"[;&|()\n]")
# What comes after one of these is looked up in a container, which has its own interpreter elsewhere.
_CONTAINERS = frozenset(
    {"apptainer", "ch-run", "docker", "enroot", "podman", "podman-hpc", "sarus", "shifter", "singularity", "udocker"}
)


def with_our_manager(launch_cmd: str) -> str:
    """A ``launch_cmd`` that starts our manager where it says ``process_worker_pool.py``, but in containers."""

    def ours(found: re.Match[str]) -> str:
        before = _COMMAND_END.split(launch_cmd[: found.start()])[-1]
        if any(os.path.basename(word) in _CONTAINERS for word in before.split()):
            return found.group()
        return f"{{python}} -P -m {_MANAGER_MODULE}"

    return _MANAGER_WORD.sub(ours, launch_cmd)


def with_our_interchange(command: Sequence[str]) -> list[str]:
    """An ``interchange_launch_cmd`` that starts our interchange where it says ``interchange.py``."""
    return [word for given in command for word in (INTERCHANGE_COMMAND if given == _INTERCHANGE else (given,))]
