"""Finds runs: by directory, by process, or the newest one here; and says of each how it is. Asks no program.

What is found to have been killed is written into its ``run.json``, so that it is known on other hosts as well.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from trellis.errors import TrellisError
from trellis.watching import run_file, socket_place
from trellis.watching.processes import (
    boot_id,
    look,
    open_directories,
    own_processes,
    pid_namespace,
    removed_directories,
)
from trellis.watching.run_file import RUN_FILE, RunEnd, RunFile, RunFileError
from trellis.watching.snapshot import RunState

logger = logging.getLogger(__name__)

# Where programs put their runs unless they are told otherwise; see ``trellis.Config``.
RUN_DIR = "runinfo"
# Below a directory that holds no runs itself.
_DEPTH = 4
_MOST_DIRECTORIES = 20_000


class NoSuchRun(TrellisError):
    """No run was found, or several; the message says what to try."""


@dataclass(frozen=True, slots=True)
class FoundRun:
    """A run, and how it is as far as its files and the system say: ``live`` means that it can be asked."""

    file: RunFile
    state: RunState
    text: str = ""  # more about the state, for people

    @property
    def directory(self) -> str:
        return self.file.directory


# -- how a run is ----------------------------------------------------------------------------------------------


def judge(file: RunFile) -> FoundRun:
    """How a run is. One that was killed is written down as such."""
    facts, end = file.facts, file.end
    if end is not None:
        state: RunState = "ended" if end.how == "cleanup" else "killed"
        return FoundRun(file, state, "" if state == "ended" else _killed_text(file))
    if file.boot_id != boot_id():
        if facts.host != socket.gethostname():
            return FoundRun(file, "elsewhere", _elsewhere_text(file))
        return _killed(file)
    with contextlib.suppress(OSError):
        owner = os.stat(os.path.join(file.directory, RUN_FILE)).st_uid
        if owner != os.geteuid() and _process_is_there(file) is not False:
            who = f"it is a run of user {facts.user} (uid {owner}), and answers that user only"
            return FoundRun(file, "private", f"{who}: ask as {facts.user}")
    there = _process_is_there(file)
    if there is False or (there is None and not _somebody_listens(file)):
        return _killed(file)
    if there and (process := look(facts.pid)) is not None and process.state in "Tt":
        return FoundRun(file, "suspended", _suspended_text(file, process.state))
    return FoundRun(file, "live")


def _process_is_there(file: RunFile) -> bool | None:
    """None: its number does not count here, as in a container."""
    if file.pid_namespace != pid_namespace():
        return None
    process = look(file.facts.pid)
    return process is not None and process.start == file.process_start and process.state != "Z"


def _somebody_listens(file: RunFile) -> bool:
    try:
        socket_place.connect(file.socket_path, 1.0).close()
    except (ConnectionRefusedError, FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _killed(file: RunFile) -> FoundRun:
    ended = replace(file, end=RunEnd("killed", _last_sign(file)))
    try:
        run_file.write(ended)
        if file.socket:
            socket_place.remove(file.socket_path)
    except OSError as error:  # somebody else's, or a file system that can be read only
        logger.debug("the end of %s is not written: %s", file.directory, error)
    return FoundRun(ended, "killed", _killed_text(ended))


def _last_sign(file: RunFile) -> float:
    """When something of the run was last written, which is about when it was killed."""
    times = [file.facts.started_at]
    with contextlib.suppress(OSError):
        for entry in os.scandir(file.directory):
            with contextlib.suppress(OSError):
                times.append(entry.stat(follow_symlinks=False).st_mtime)
    return min(max(times), time.time())


def _killed_text(file: RunFile) -> str:
    return (
        f"process {file.facts.pid} on {file.facts.host} has ended without cleaning up: it was killed, or its host went "
        f"down; {os.path.join(file.directory, 'trellis.log')} has its last words"
    )


def _elsewhere_text(file: RunFile) -> str:
    facts = file.facts
    return (
        f"it lives on host {facts.host}, and this is {socket.gethostname()}: ask there, for example "
        f"`ssh {facts.host} trellis status {os.path.abspath(file.directory)}`"
    )


def _suspended_text(file: RunFile, state: str) -> str:
    pid = file.facts.pid
    if state == "t":
        return f"a debugger has stopped process {pid}: it answers when it goes on"
    return (
        f"process {pid} is suspended (Ctrl-Z or SIGSTOP), and nothing moves: `fg` or `kill -CONT {pid}` lets it go on"
    )


# -- which run -------------------------------------------------------------------------------------------------


def find(named: str | None) -> FoundRun:
    """The run that is meant by a directory or the number of a process; None: the newest live one of ``./runinfo``.

    Where none is live there it is the last one; where there are none, the only one of this user on this host.

    Raises:
        NoSuchRun: there is none, or it is not clear which.
    """
    if named is None:
        return _newest_here()
    if os.path.isdir(named):
        damaged: list[str] = []
        runs = runs_below(named, damaged)
        if not runs and damaged:
            raise NoSuchRun(damaged[0])
        if not runs:
            raise NoSuchRun(
                f"{named} is no run, and there is none below it: the directory of a run has a file {RUN_FILE}. "
                "`trellis runs` lists the runs that there are"
            )
        return newest(runs)
    if named.isdecimal():
        return of_process(int(named))
    if os.path.basename(named) == RUN_FILE and os.path.exists(named):
        return find(os.path.dirname(named) or ".")
    raise NoSuchRun(
        f"{named} is neither the directory of a run nor the number of a process: `trellis runs` lists the runs that "
        f"there are{_similar(named)}"
    )


def _similar(named: str) -> str:
    inside = os.path.join(RUN_DIR, named)
    return f"; did you mean {inside}?" if os.path.isdir(inside) else ""


def _newest_here() -> FoundRun:
    here = runs_below(RUN_DIR) if os.path.isdir(RUN_DIR) else []
    if here:
        return newest(here)
    elsewhere = runs_of_processes()
    if len(elsewhere) == 1:
        return elsewhere[0]
    if elsewhere:
        listed = "\n".join(
            f"  {run.directory}  ({run.file.facts.program}, pid {run.file.facts.pid})" for run in elsewhere
        )
        raise NoSuchRun(f"there is no run in ./{RUN_DIR}, but several of yours go on on this host; name one:\n{listed}")
    raise NoSuchRun(
        f"there is no run: no directory {RUN_DIR} here ({os.getcwd()}), and no program of yours on this host has one "
        "going on. Name the directory of a run, or go to where the program was started"
    )


def newest(runs: list[FoundRun]) -> FoundRun:
    """The newest of those that go on; if none does, of all."""
    live = [run for run in runs if run.state not in ("ended", "killed")]
    return max(live or runs, key=lambda run: run.file.facts.started_at)


def of_process(pid: int) -> FoundRun:
    """The newest live run of a process, or of the program that has started it.

    Raises:
        NoSuchRun: it has none.
    """
    asked = pid
    if look(pid) is None:
        hint = f"; for the run's directory of that name write ./{pid}" if os.path.isdir(f"./{pid}") else ""
        raise NoSuchRun(f"there is no process {pid} on this host{_similar(str(pid))}{hint}")
    while pid > 1:
        runs = list(_runs_of(pid))
        if runs:
            return newest(runs)
        process = look(pid)
        pid = process.parent if process is not None else 0
    if removed := removed_directories(asked):
        raise NoSuchRun(
            f"process {asked} may have a run, but it cannot be asked: directories that it uses have been removed, and "
            f"with them the socket: {', '.join(removed)}"
        )
    raise NoSuchRun(
        f"process {asked} has no run of Trellis, nor has what started it, as far as you may see it: "
        "`trellis runs` lists the runs that there are"
    )


def runs_of_processes() -> list[FoundRun]:
    """Runs of this user that go on on this host, wherever their directories are; oldest first."""
    found = {run.directory: run for pid in own_processes() for run in _runs_of(pid)}
    return sorted(found.values(), key=lambda run: run.file.facts.started_at)


def _runs_of(pid: int) -> Iterator[FoundRun]:
    """Runs of one process: it has their directories open."""
    for directory in open_directories(pid):
        with contextlib.suppress(RunFileError):
            file = run_file.read(directory)
            if file.facts.pid == pid and file.end is None:
                yield judge(file)


def runs_below(directory: str, damaged: list[str] | None = None) -> list[FoundRun]:
    """All runs in a directory or below it, oldest first. A directory that is one itself counts alone.

    Args:
        directory: where to look.
        damaged: gets what is to be said of those whose ``run.json`` cannot be used.
    """
    found = [judge(file) for file in _files_below(directory, [] if damaged is None else damaged)]
    return sorted(found, key=lambda run: (run.file.facts.started_at, run.directory))


def _files_below(directory: str, damaged: list[str]) -> Iterator[RunFile]:
    if os.path.exists(os.path.join(directory, RUN_FILE)):
        yield from _read(directory, damaged)
        return
    level, looked_at = [directory], 0
    for _ in range(_DEPTH):
        deeper: list[str] = []
        for one in level:
            looked_at += 1
            if looked_at > _MOST_DIRECTORIES:
                return
            for path in _directories_in(one):
                if os.path.exists(os.path.join(path, RUN_FILE)):
                    yield from _read(path, damaged)
                # A program that a task of a run starts has its runs in there.
                deeper.append(path)
        level = deeper


def _read(directory: str, damaged: list[str]) -> Iterator[RunFile]:
    try:
        yield run_file.read(directory)
    except RunFileError as error:
        damaged.append(str(error))


def _directories_in(directory: str) -> list[str]:
    found = []
    with contextlib.suppress(OSError):
        for entry in os.scandir(directory):
            with contextlib.suppress(OSError):
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                    found.append(entry.path)
    return sorted(found)
