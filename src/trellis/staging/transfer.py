"""What staging providers share: where files go, whole files only, work before and after a task, tasks of their own.

The functions of tasks are wrapped in instances of the classes here, which travel to workers by name. Nothing here
knows a protocol; retries belong to the kernel.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any

from trellis.staging.files import File

if TYPE_CHECKING:
    from trellis.futures import AppFuture, DataFuture
    from trellis.staging.base import DataManager

Transfer = Callable[[File], object]


def place_in_working_dir(dm: DataManager, executor: str, file: File) -> None:
    """Set ``file.local_path`` to a file of its name in the executor's working directory, or in the current one.

    Raises:
        ValueError: the URL names no file.
    """
    if not file.filename:
        raise ValueError(f"{file.url} cannot be staged: it names a directory, not a file")
    file.local_path = os.path.join(dm.dfk.executors[executor].working_dir or "", file.filename)


def make_parent(path: str) -> None:
    """Make the directory that ``path`` lies in."""
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)


@contextmanager
def whole_file(path: str) -> Iterator[IO[bytes]]:
    """A file to write that appears at ``path`` when all went well, and leaves nothing behind otherwise.

    Tasks that fetch the same file at the same time do not see each other's halves.
    """
    path = os.path.realpath(path)  # a link is written through, as if it were opened
    make_parent(path)
    # A name of its own, since that of the file may be as long as names can be.
    partial = os.path.join(os.path.dirname(path), f".{uuid.uuid4().hex}.part")
    try:
        with open(partial, "xb") as file:
            yield file
        os.replace(partial, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(partial)
        raise


class _Wrapper:
    """A task's function, together with the transfer of one file."""

    __slots__ = ("file", "func", "transfer")

    def __init__(self, func: Callable[..., Any], transfer: Transfer, file: File) -> None:
        self.func = func
        self.transfer = transfer
        self.file = file

    @property
    def __name__(self) -> str:
        return str(getattr(self.func, "__name__", "task"))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.func!r}, {self.file!r})"


class FetchFirst(_Wrapper):
    """Brings a file and then runs the function."""

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        self.transfer(self.file)
        return self.func(*args, **kwargs)


class SendAfter(_Wrapper):
    """Runs the function and then takes a file away."""

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        make_parent(self.file.filepath)
        result = self.func(*args, **kwargs)
        self.transfer(self.file)
        return result


def submit_transfer(dm: DataManager, function: Callable[..., Any], *args: Any, **kwargs: Any) -> AppFuture[Any]:
    """Run a transfer as a task of its own in the user's process; its own files are not staged again."""
    # Not needed on workers, which run what is above.
    from trellis.core.interfaces import INTERNAL_EXECUTOR
    from trellis.dataflow.spec import STAGING_INHIBIT

    kwargs[STAGING_INHIBIT] = True
    future: AppFuture[Any] = dm.dfk.submit(function, args, executors=(INTERNAL_EXECUTOR,), app_kwargs=kwargs)
    return future


def submit_fetch(
    dm: DataManager, function: Callable[..., Any], file: File, parent_fut: Future[Any] | None, *args: Any
) -> DataFuture:
    """A future of ``file``, fetched by a task of its own when ``parent_fut`` is done.

    Args:
        function: called as ``function(*args, parent_fut=..., outputs=[file])``.
    """
    # The task that uses the file may have another current directory than this process.
    file.local_path = os.path.abspath(file.filepath)
    return submit_transfer(dm, function, *args, parent_fut=parent_fut, outputs=[file]).outputs[0]
