"""Which run this is, which program has it, and where."""

from __future__ import annotations

import os
import pwd
import socket
import sys

from trellis.version import VERSION
from trellis.watching.snapshot import RunFacts
from trellis.watching.view import WatchedKernel


def facts(kernel: WatchedKernel) -> RunFacts:
    """Which run this is."""
    config = kernel.config
    return RunFacts(
        run_id=kernel.run_id,
        run_dir=kernel.run_dir,
        program=kernel.workflow_name,
        pid=os.getpid(),
        host=socket.gethostname(),
        user=user_name(),
        version=VERSION,
        python=".".join(map(str, sys.version_info[:3])),
        started_at=kernel.time_began.timestamp(),
        project=config.project_name or "",
        executors=tuple(str(executor.label) for executor in config.executors),
    )


def user_name() -> str:
    """Name of the user of this process; a number where it has none, as in containers."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
