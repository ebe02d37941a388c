"""What a program and the recorder of its run tell each other: the settings, and the entries of the journal.

A frame of the journal is a list of entries. Those of tasks are the notes of ``trellis.dataflow.notes``; the others are
tuples as well, with these numbers first.
"""

from __future__ import annotations

from typing import Any

import msgspec

from trellis.core.measurements import BlockSeen, FileSeen, NodeSeen

# Rows for a run: the first entry of a journal, and the last one of a program that was not killed.
RUN_BEGAN = 20  # a ``RunBegan``
RUN_ENDED = 21  # when
DROPPED = 22  # how many samples, and how many other entries, there was no room for until now
# What executors have measured; the fields follow.
SAMPLE = 30  # task, try, interval, and the fields of ``TaskSample`` but its attempt
NODE = 31
BLOCK = 32
FILE = 33

MEASURED = {NodeSeen: NODE, BlockSeen: BLOCK, FileSeen: FILE}


class RunBegan(msgspec.Struct, array_like=True, frozen=True):
    """What is known of a run when it begins."""

    run_id: str
    workflow_name: str
    workflow_version: str
    time_began: float
    host: str
    user: str
    rundir: str
    pid: int
    trellis_version: str
    python_version: str


class RecorderSettings(msgspec.Struct, frozen=True):
    """What a recorder reads from its standard input, as one line of JSON; it stays beside the journal, as a file."""

    run_id: str
    journal: str  # directory
    url: str  # of the database, as SQLAlchemy takes it
    parent: int  # pid of the program; 0: it is gone, only the rest of the journal is to be recorded
    log: str  # path of its log
    directory: str  # where the program was: the URL may have a relative path
    debug: bool = False


# Exit code of a recorder that is not to be started again.
NO_DATABASE = 3

SETTINGS_FILE = "recorder.json"


Entry = tuple[Any, ...] | list[Any]
