"""Staging into and out of zip archives. Archives are on this machine's file system and locked while they are used."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from copy import copy
from typing import Any

from trellis.core.plain_files import open_plain
from trellis.errors import ZipAuthorityError
from trellis.futures import AppFuture, DataFuture
from trellis.staging.base import DataManager, Staging
from trellis.staging.files import File
from trellis.staging.transfer import make_parent, submit_fetch, submit_transfer, whole_file

__all__ = ["ZipAuthorityError", "ZipFileStaging", "zip_path_split"]


def zip_path_split(path: str) -> tuple[str, str]:
    """The archive and the path inside it: ``/a/b.zip/c/d`` is ``c/d`` in ``/a/b.zip``.

    Raises:
        ValueError: there is no archive in the path, or nothing after it.
    """
    archive, mark, inside = path.partition(".zip/")
    if not mark or not inside:
        raise ValueError(f"{path!r} names no file in a zip archive: it should look like archive.zip/path/inside")
    return archive + ".zip", inside


class ZipFileStaging(Staging):
    """Takes ``zip:/path/archive.zip/path/inside`` URLs, for input and output.

    The executor needs a ``working_dir``, shared with the user's process: there the file is while its task runs.
    Uses of an archive by Trellis exclude each other, through a lock file beside it; other programs are not kept away.
    """

    def can_stage_in(self, file: File) -> bool:
        return _is_zip(file)

    def can_stage_out(self, file: File) -> bool:
        return _is_zip(file)

    def stage_in(self, dm: DataManager, executor: str, file: File, parent_fut: Future[Any] | None) -> DataFuture:
        archive, inside = _place(dm, executor, file)
        return submit_fetch(dm, _zip_stage_in, file, parent_fut, archive, inside)

    def stage_out(self, dm: DataManager, executor: str, file: File, app_fu: Future[Any]) -> AppFuture[Any]:
        archive, inside = _place(dm, executor, file)
        make_parent(file.filepath)
        return submit_transfer(dm, _zip_stage_out, archive, inside, parent_fut=app_fu, inputs=[file])

    def __repr__(self) -> str:
        return "ZipFileStaging()"


def _is_zip(file: File) -> bool:
    if file.scheme == "zip" and file.netloc:
        raise ZipAuthorityError(file.url)
    return file.scheme == "zip"


def _place(dm: DataManager, executor: str, file: File) -> tuple[str, str]:
    archive, inside = zip_path_split(file.path)
    if os.path.isabs(inside) or ".." in inside.split("/"):
        raise ValueError(f"{file.url} cannot be staged: the path inside the archive leads out of it")
    working_dir = dm.dfk.executors[executor].working_dir
    if not working_dir:
        raise ValueError(
            f"{file.url} cannot be staged: executor {executor} needs a working_dir for files from archives"
        )
    file.local_path = os.path.abspath(os.path.join(working_dir, inside))
    return os.path.abspath(archive), inside


@contextmanager
def _locked(archive: str) -> Iterator[None]:
    import fcntl

    make_parent(archive)
    with open(open_plain(archive + ".lock", os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until the file is closed
        yield


def _zip_stage_in(archive: str, inside: str, parent_fut: object, outputs: Sequence[File]) -> None:
    from zipfile import ZipFile

    with (
        _locked(archive),
        open(open_plain(archive), "rb") as file,
        ZipFile(file) as opened,
        opened.open(inside) as source,
        whole_file(outputs[0].filepath) as target,
    ):
        shutil.copyfileobj(source, target)


def _zip_stage_out(archive: str, inside: str, parent_fut: object, inputs: Sequence[File]) -> None:
    from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

    source = inputs[0].filepath
    with open(open_plain(source), "rb") as file, _locked(archive):  # which says what it is, if it is no file
        if os.path.exists(archive):
            os.close(open_plain(archive))
            _remove(archive, inside)
        entry = ZipInfo.from_file(source, inside, strict_timestamps=False)
        entry.compress_type = ZIP_DEFLATED
        with ZipFile(archive, "a", ZIP_DEFLATED) as opened, opened.open(entry, "w") as target:
            shutil.copyfileobj(file, target)
    os.remove(source)


def _remove(archive: str, inside: str) -> None:
    """Take a file out of an archive: a task that runs again replaces what it made before."""
    from zipfile import ZipFile

    with ZipFile(archive) as old:
        if inside not in old.namelist():
            return
        with whole_file(archive) as target, ZipFile(target, "w") as new:
            for entry in old.infolist():
                if entry.filename != inside:
                    with old.open(entry) as source, new.open(copy(entry), "w") as target_entry:
                        shutil.copyfileobj(source, target_entry)
