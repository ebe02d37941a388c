"""The recorder's process as its program has it: started, started again when it was killed, left alone at the end.

A thread reads what it says. It is no child that anybody waits for: whatever becomes of it, tasks go on.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from trellis.monitoring.messages import NO_DATABASE, RecorderSettings

logger = logging.getLogger(__name__)

_COMMAND = (sys.executable, "-P", "-m", "trellis.monitoring.recorder")
_PACKAGES = str(Path(__file__).resolve().parent.parent.parent)
# A recorder that ends sooner than this has not been killed by chance.
_YOUNG_S = 5.0
_MOST_YOUNG_DEATHS = 3
_AGAIN_S = 0.5
# How long the end waits for one that has said that it cannot write.
_COMPLAINED_S = 1.0


class RecorderProcess:
    """Keeps a recorder running.

    Args:
        settings: for it.
        notify: tells the user.
    """

    def __init__(self, settings: RecorderSettings, notify: Callable[[str], None]) -> None:
        self._settings = settings
        self._notify = notify
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name="trellis-recorder", daemon=True)
        self._left = False
        self._complained = False

    @property
    def pid(self) -> int:
        return 0 if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it; returns at once."""
        self._thread.start()

    def end(self, timeout_s: float) -> bool:
        """The run has ended: wait for the recorder to have written all of it, but not longer than that."""
        self._thread.join(min(timeout_s, _COMPLAINED_S) if self._complained else timeout_s)
        if self._thread.is_alive():
            # It is left behind; its end is nobody's any more.
            self._left = True
            return False
        return True

    def _keep(self) -> None:
        deaths = 0
        while True:
            begun = time.monotonic()
            code = self._run()
            if code in (0, NO_DATABASE) or self._left:
                return
            deaths = deaths + 1 if time.monotonic() - begun < _YOUNG_S else 1
            if deaths >= _MOST_YOUNG_DEATHS:
                self._notify(
                    f"the run is not recorded any more: the process that does ended {deaths} times ({_ending(code)}); "
                    f"see {self._settings.log}. Tasks go on"
                )
                return
            logger.warning("the recorder %s, and is started again", _ending(code))
            time.sleep(_AGAIN_S)

    def _run(self) -> int | None:
        """Start a recorder and read what it says until it ends; gives its exit code."""
        environment = dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (_PACKAGES, environment.get("PYTHONPATH", ""))))
        try:
            with open(Path(self._settings.log).with_suffix(".stderr"), "ab") as stderr:
                process = subprocess.Popen(
                    _COMMAND,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    env=environment,
                    start_new_session=True,
                )
        except OSError as error:
            logger.warning("the recorder does not start: %s", error)
            return None
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(OSError):
            process.stdin.write(msgspec.json.encode(self._settings) + b"\n")
            process.stdin.close()
        with process.stdout as said:
            for line in said:
                self._complained = True
                self._notify(line.decode(errors="replace").strip())
        return process.wait()


def _ending(code: int | None) -> str:
    if code is None:
        return "could not be started"
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
