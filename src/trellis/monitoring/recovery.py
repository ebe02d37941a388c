"""The rest of a record whose program and recorder were both killed: written by whoever looks at the run next."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from trellis.monitoring.messages import SETTINGS_FILE, RecorderSettings
from trellis.monitoring.recorder_process import RecorderProcess

# A large journal is recorded at some ten thousand tasks per second.
_TIMEOUT_S = 60.0


def settings_of(run_dir: str | Path) -> RecorderSettings | None:
    """How the run in this directory is, or was, recorded; None: it is not, or that cannot be read."""
    try:
        return msgspec.json.decode((Path(run_dir) / "monitoring" / SETTINGS_FILE).read_bytes(), type=RecorderSettings)
    except (OSError, msgspec.DecodeError):
        return None


def is_complete(run_dir: str | Path) -> bool:
    """Whether nothing of this run waits to be recorded."""
    try:
        return not any(name.endswith(".notes") for name in os.listdir(Path(run_dir) / "monitoring"))
    except OSError:
        return True


def finish_record(run_dir: str | Path, timeout_s: float = _TIMEOUT_S) -> bool:
    """Record the rest of a run whose program is gone, and mark it as ended; False: that takes longer, or cannot be.

    Nothing happens when the record is complete, or a recorder is at work.
    """
    settings = settings_of(run_dir)
    if settings is None or is_complete(run_dir):
        return True
    directory = str(Path(run_dir).absolute() / "monitoring")  # it may have been moved
    log = str(Path(directory) / "recorder.log")
    where = settings.directory if os.path.isdir(settings.directory) else os.getcwd()
    settings = msgspec.structs.replace(settings, journal=directory, log=log, parent=0, directory=where)
    process = RecorderProcess(settings, lambda text: None)
    process.start()
    return process.end(timeout_s) and is_complete(run_dir)
