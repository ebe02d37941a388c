"""A run's record, as its program sees it: notes of tasks and measurements go into the journal, a thread writes them.

Nothing here waits for the database, and no task waits for the journal. When there is no room, samples are dropped
first, then what else was measured, and events of tasks last; what was dropped is counted in the record.
"""

from __future__ import annotations

import getpass
import logging
import os
import platform
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from trellis.core.measurements import Measurement, TaskSample
from trellis.core.users_errors import describe
from trellis.dataflow.notes import SUBMITTED, Note, TaskNotes, encode_rest, shown_call
from trellis.monitoring.hub import MonitoringHub
from trellis.monitoring.journal import JournalWriter
from trellis.monitoring.messages import (
    DROPPED,
    MEASURED,
    RUN_BEGAN,
    RUN_ENDED,
    SAMPLE,
    SETTINGS_FILE,
    Entry,
    RecorderSettings,
    RunBegan,
)
from trellis.monitoring.recorder_process import RecorderProcess
from trellis.version import VERSION
from trellis.watching.view import WatchedKernel

logger = logging.getLogger(__name__)

# Between two writes to the journal.
_WRITE_S = 0.2
# Entries in one frame: so long the interpreter is held at a time, less than a millisecond.
_FRAME_ENTRIES = 1_000
# Measurements that wait to be written.
_MOST_MEASURED = 50_000
# What is on disk and not recorded yet: samples are dropped above the one, all above the other.
_FULL_FOR_SAMPLES_BYTES = 500_000_000
_FULL_BYTES = 4_000_000_000
# How long the end of a program waits for its record to be complete. The recorder goes on without it.
_LAST_ENTRIES_S = 10.0


class Recording:
    """Records a kernel's run, from ``begin`` to ``end``; executors give it their measurements.

    Args:
        kernel: whose tasks are recorded.
        hub: how.
    """

    def __init__(self, kernel: WatchedKernel, hub: MonitoringHub) -> None:
        self._kernel = kernel
        self._hub = hub
        self.interval_s = hub.resource_monitoring_interval if hub.resource_monitoring_enabled else 0.0
        self.directory = Path(kernel.run_dir) / "monitoring"
        self._notes = TaskNotes()
        self._measured: deque[Entry] = deque()
        self._dropped_samples = self._dropped_events = 0
        self._told_dropped = (0, 0)
        self._warned = False
        self._encoder = msgspec.msgpack.Encoder(enc_hook=encode_rest)
        self._journal: JournalWriter | None = None
        self._process: RecorderProcess | None = None
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    # -- the run -----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin the journal, and start the process that reads it.

        Raises:
            OSError: the run directory cannot be written.
        """
        kernel = self._kernel
        self._journal = JournalWriter(self.directory)
        began = RunBegan(
            run_id=kernel.run_id,
            workflow_name=kernel.workflow_name,
            workflow_version=kernel.workflow_version,
            time_began=kernel.time_began.timestamp(),
            host=platform.node(),
            user=_user(),
            rundir=os.path.abspath(kernel.run_dir),
            pid=os.getpid(),
            trellis_version=VERSION,
            python_version=platform.python_version(),
        )
        self._write([(RUN_BEGAN, began)])
        settings = RecorderSettings(
            run_id=kernel.run_id,
            journal=os.path.abspath(self.directory),
            url=self._hub.database_url(kernel.config.run_dir),
            parent=os.getpid(),
            log=os.path.abspath(self.directory / "recorder.log"),
            directory=os.getcwd(),
            debug=self._hub.monitoring_debug,
        )
        (self.directory / SETTINGS_FILE).touch(mode=0o600)  # the URL may have a password
        (self.directory / SETTINGS_FILE).write_bytes(msgspec.json.encode(settings))
        self._process = RecorderProcess(settings, kernel.notify)
        self._process.start()
        self._thread = threading.Thread(target=self._work, name="trellis-record", daemon=True)
        self._thread.start()
        kernel.record_tasks(self._notes)

    def end(self) -> None:
        """Write what is left, and wait until it is in the database, but not for long."""
        self._kernel.record_tasks(None)
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        if self._journal is not None:
            self._drain()
            self._write([(RUN_ENDED, time.time())])
            self._journal.close()
        if self._process is not None and not self._process.end(_LAST_ENTRIES_S):
            logger.info("the record of this run is not complete yet; process %d goes on with it", self._process.pid)

    # -- what executors measure --------------------------------------------------------------------------------

    def take(self, batch: Sequence[Measurement]) -> None:
        """Record these. From any thread; returns at once and never raises; what there is no room for is counted."""
        room = _MOST_MEASURED - len(self._measured)
        for measured in batch:
            try:
                if isinstance(measured, TaskSample):
                    if room < _MOST_MEASURED // 10 or not self._add_sample(measured):
                        self._dropped_samples += 1
                    else:
                        room -= 1
                elif room > 0:
                    self._measured.append((MEASURED[type(measured)], *measured))
                    room -= 1
                else:
                    self._dropped_events += 1
            except Exception:  # something else was given
                logger.debug("cannot record %r", measured, exc_info=True)

    def _add_sample(self, sample: TaskSample) -> bool:
        record: Any = getattr(sample.attempt, "key", None)
        if record is None:  # of a bare submit
            return True
        try_id = record.try_id
        if (
            record.attempt is not sample.attempt and record.outcome is None and try_id
        ):  # it has ended, and is tried again
            try_id -= 1
        self._measured.append((SAMPLE, record.id, try_id, self.interval_s, *sample[1:]))
        return True

    # -- the journal -------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while not self._over.wait(_WRITE_S):
            try:
                self._drain()
            except Exception:
                logger.exception("writing the record failed")

    def _drain(self) -> None:
        unread = self._journal.unread if self._journal is not None else 0
        for waiting, limit in ((self._notes.noted, _FULL_BYTES), (self._measured, _FULL_FOR_SAMPLES_BYTES)):
            left = len(waiting)
            while left > 0:
                count = min(left, _FRAME_ENTRIES)
                entries = [waiting.popleft() for _ in range(count)]
                left -= count
                if unread > limit:
                    self._drop(entries)
                else:
                    self._write(entries)
        dropped = (self._dropped_samples, self._dropped_events)
        if dropped != self._told_dropped and self._write([(DROPPED, *dropped)]):
            self._told_dropped = dropped

    def _drop(self, entries: Sequence[Entry | Note]) -> None:
        kinds = [entry.kind if isinstance(entry, Note) else entry[0] for entry in entries]
        samples = kinds.count(SAMPLE)
        self._dropped_samples += samples
        self._dropped_events += len(entries) - samples - kinds.count(DROPPED)

    def _write(self, entries: Sequence[Entry | Note]) -> bool:
        if self._journal is None:
            return False
        try:
            frame = self._encoder.encode(entries)
        except Exception:  # of one of them, such as an int of more than 64 bits
            frame = b""
        if not frame:
            frame = self._encoder.encode([found for entry in entries if (found := self._encodable(entry)) is not None])
        try:
            self._journal.append(frame)
        except OSError as error:
            self._drop(entries)
            if not self._warned:
                self._warned = True
                self._kernel.notify(
                    f"the run is not recorded any more, or not completely: {self.directory} cannot be written "
                    f"({describe(error)}); tasks go on"
                )
            return False
        return True

    def _encodable(self, entry: Entry | Note) -> Entry | Note | None:
        try:
            self._encoder.encode(entry)
        except Exception:
            try:
                entry = msgspec.structs.astuple(entry) if isinstance(entry, Note) else entry
                if entry[0] == SUBMITTED and isinstance(entry[-1], tuple):  # a large int among the arguments
                    entry = (*entry[:-1], {"arguments": shown_call(entry[-1], {})})
                return [_as_text(value) for value in entry]
            except Exception:
                self._drop([entry])
                return None
        return entry


def _as_text(value: Any) -> Any:
    """A value that can be encoded; for the few that cannot."""
    if isinstance(value, bool | float | None.__class__):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**63 else float("inf")
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, tuple | list):
        return [_as_text(element) for element in value]
    if isinstance(value, dict):
        return {_as_text(name): _as_text(element) for name, element in value.items()}
    return _as_text(encode_rest(value))


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a uid without a name
        return str(os.getuid())
