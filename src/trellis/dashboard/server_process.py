"""The pages of a live run for ``Config(dashboard=True)``: starts a process that serves them, and ends it."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from trellis.watching.view import WatchedKernel

logger = logging.getLogger(__name__)

_NEEDED = ("sqlalchemy", "starlette", "uvicorn", "jinja2", "plotly")
_PACKAGES = str(Path(__file__).parents[2])
# How long the end of a run waits for the server, which has nothing to finish.
_END_S = 3.0


class DashboardServer:
    """Serves the pages of one run, in a process of its own, while the run lasts.

    Args:
        kernel: The run.
        database_url: Where it is recorded.
    """

    def __init__(self, kernel: WatchedKernel, database_url: str) -> None:
        self._kernel = kernel
        self._settings = {"database": database_url, "run": kernel.run_id}
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
        if missing:
            self._kernel.notify(
                f"Config(dashboard=True) needs {', '.join(missing)}: pip install 'trellis-parallel[dashboard]'; "
                "the tasks run without it"
            )
            return
        path = os.pathsep.join(filter(None, (_PACKAGES, os.environ.get("PYTHONPATH", ""))))
        with open(Path(self._kernel.run_dir) / "dashboard.log", "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "trellis.dashboard.serve"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,
            )
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended already, which the thread tells
            # Not on its command line: the URL may have a password.
            self._process.stdin.write(json.dumps(self._settings).encode() + b"\n")
            self._process.stdin.flush()
        self._thread = threading.Thread(target=self._tell, args=(self._process,), name="trellis-dashboard", daemon=True)
        self._thread.start()

    def _tell(self, process: subprocess.Popen[Any]) -> None:
        assert process.stdout is not None
        with process.stdout as said:
            line = said.readline().decode(errors="replace").strip()
            if line.startswith("http"):
                self._kernel.notify(f"the pages of this run: {line}")
            elif line:
                self._kernel.notify(f"no dashboard: {line}")
            said.read()

    def end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._thread is not None:
            self._thread.join(_END_S)
        place = self._kernel.config.run_dir
        logger.info("the dashboard has ended with the run; `trellis dashboard %s` shows it again", place)

    def leave_behind(self) -> None:
        """Close what a forked child has inherited: the server ends when the program does."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            with contextlib.suppress(OSError):
                os.close(process.stdin.fileno())
