"""Staging in and out by ``rsync``, run on the worker, which reaches back to the host of the files."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

from trellis.core.kinds import Word
from trellis.core.plain_files import open_plain
from trellis.core.validation import check
from trellis.staging.base import DataManager, Staging
from trellis.staging.files import File
from trellis.staging.transfer import FetchFirst, SendAfter, make_parent, place_in_working_dir

# rsync's messages are short; the last of them say what went wrong.
_SHOWN_CHARACTERS = 500


def _rsync(source: str, target: str) -> None:
    """Raises:
    OSError: rsync failed; the message has its exit code and last words.
    """
    from trellis.utils import execute_wait

    # -s: a path with spaces is one path on the other side, too. -L: what a link leads to.
    exit_code, stdout, stderr = execute_wait(shlex.join(["rsync", "-s", "-L", "--", source, target]))
    said = f"{stdout or ''}{stderr or ''}".strip()[-_SHOWN_CHARACTERS:]
    if exit_code != 0:
        raise OSError(f"rsync from {source} to {target} ended with exit code {exit_code}: {said}")
    if "skipping " in said:  # a directory, a FIFO: no error for rsync, and no file for the task
        raise OSError(f"rsync from {source} to {target} brought no file: {said}")


def _fetch(hostname: str, file: File) -> None:
    make_parent(file.filepath)
    _rsync(f"{hostname}:{file.path}", file.filepath)


def _send(hostname: str, file: File) -> None:
    os.close(open_plain(file.filepath))  # which says what it is, if it is no file
    _rsync(file.filepath, f"{hostname}:{file.path}")


class RSyncStaging(Staging):
    """Copies ``file:`` files between a host and the workers, within the task.

    Workers must be able to log in to the host without being asked for anything (for example with ssh keys).

    Args:
        hostname: where the files are, as rsync takes it: ``"host"`` or ``"user@host"``.
    """

    def __init__(self, hostname: str) -> None:
        self.hostname: str = check("RSyncStaging", "hostname", hostname, Word())

    def can_stage_in(self, file: File) -> bool:
        return file.scheme == "file"

    def can_stage_out(self, file: File) -> bool:
        return file.scheme == "file"

    def stage_in(self, dm: DataManager, executor: str, file: File, parent_fut: Future[Any] | None) -> None:
        _place(dm, executor, file)

    def stage_out(self, dm: DataManager, executor: str, file: File, app_fu: Future[Any]) -> None:
        _place(dm, executor, file)

    def replace_task(self, dm: DataManager, executor: str, file: File, func: Callable[..., Any]) -> Callable[..., Any]:
        return FetchFirst(func, partial(_fetch, self.hostname), file)

    def replace_task_stage_out(
        self, dm: DataManager, executor: str, file: File, func: Callable[..., Any]
    ) -> Callable[..., Any]:
        return SendAfter(func, partial(_send, self.hostname), file)

    def __repr__(self) -> str:
        return f"RSyncStaging(hostname={self.hostname!r})"


def _place(dm: DataManager, executor: str, file: File) -> None:
    file.path = os.path.abspath(file.path)  # on the host of the files, which is where this runs
    place_in_working_dir(dm, executor, file)
