"""The process that runs the real TaskVine's factory: starts it, watches it, and ends it with its workers.

Started by the submit side as the embedded engine's factory is: settings on standard input, which then stays open as
long as the user's process lives; its number on standard output once the factory runs.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from trellis.core.process_end import exit_reason
from trellis.executors.common.process import GroupLeader
from trellis.executors.common.service_main import announce, run_service
from trellis.executors.taskvine.ndcctools.factory_command import RealFactorySettings
from trellis.executors.taskvine.settings import FactoryReady
from trellis.transport.service import Loop

# The factory ends its workers one after the other.
_END_GRACE_S = 5.0


def run(settings: RealFactorySettings, lifeline: int) -> str:
    """Serve until ``lifeline`` closes, or the factory ends by itself; then why it did.

    Raises:
        OSError: it cannot be started.
    """
    if settings.scratch_dir is not None:
        os.makedirs(settings.scratch_dir, exist_ok=True)
    # Private: the factory puts the password there. With the workspaces of workers that had to be killed.
    with tempfile.TemporaryDirectory(
        prefix="trellis-factory-", dir=settings.scratch_dir, ignore_cleanup_errors=True
    ) as scratch:
        return _run_in(scratch, settings, lifeline)


def _run_in(scratch: str, settings: RealFactorySettings, lifeline: int) -> str:
    with open(Path(settings.logdir) / "factory.log", "ab") as log:
        factory = GroupLeader(
            [settings.command[0], f"--scratch-dir={scratch}", *settings.command[1:]],
            stdout=log,
            stderr=log,
            cwd=scratch,
            environment=environment(scratch, settings.path),
        )
    loop, reasons = Loop(), list[str]()
    factory.watch(loop, lambda: reasons.append(f"vine_factory: {exit_reason(*factory.reap())}"))
    loop.add_fd(lifeline, lambda: None if os.read(lifeline, 4096) else reasons.append(""))
    try:
        announce(FactoryReady(factory.pid))
        while not reasons:
            loop.run_once(None)
        return reasons[0]
    finally:
        loop.remove_fd(lifeline)
        _end(factory, loop)
        loop.close()


def environment(scratch: str, first: str) -> dict[str, str]:
    """Ours, with the Python that tasks run with first on PATH, and no public catalog server."""
    path = os.pathsep.join([first, os.environ.get("PATH", os.defpath)])
    return {"CATALOG_HOST": "127.0.0.1", **os.environ, "PATH": path, "TMPDIR": scratch}


def _end(factory: GroupLeader, loop: Loop) -> None:
    if factory.returncode is None:
        factory.terminate()
    until = time.monotonic() + _END_GRACE_S
    while factory.returncode is None and (left_s := until - time.monotonic()) > 0:
        loop.run_once(left_s)
    if factory.returncode is None:
        factory.reap()


def _serve(settings: RealFactorySettings, lifeline: int) -> str:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's: the user's program decides
    if shutil.which(settings.command[0]) is None:
        return f"{settings.command[0]} is not on PATH: it comes with TaskVine (coop-computing-tools)"
    try:
        return run(settings, lifeline)
    except OSError as error:
        return f"{settings.command[0]} cannot be started: {error}"


def main() -> int:
    """Entry point: ``python -m trellis.executors.taskvine.ndcctools.factory``."""
    return run_service("vine factory (ndcctools)", "factory", RealFactorySettings, _serve)


if __name__ == "__main__":
    sys.exit(main())
