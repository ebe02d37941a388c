"""Staging in over HTTP and HTTPS. Reads only: nothing is ever sent to a server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from trellis.core.download import read_url
from trellis.futures import DataFuture
from trellis.staging.base import DataManager, Staging
from trellis.staging.files import File
from trellis.staging.transfer import FetchFirst, place_in_working_dir, submit_fetch, whole_file


def download(file: File) -> None:
    """Fetch ``file.url`` to ``file.local_path``.

    Raises:
        OSError: the message names the URL and what the server said, or what broke.
    """
    with whole_file(file.filepath) as target:
        read_url(file.url, target)


def _http_stage_in(parent_fut: object, outputs: Sequence[File]) -> None:
    download(outputs[0])


class _HTTPStaging(Staging):
    def can_stage_in(self, file: File) -> bool:
        return file.scheme in ("http", "https")

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class HTTPSeparateTaskStaging(_HTTPStaging):
    """Fetches each file by a task of its own in the user's process. Needs a file system shared with the workers."""

    def stage_in(self, dm: DataManager, executor: str, file: File, parent_fut: Future[Any] | None) -> DataFuture:
        place_in_working_dir(dm, executor, file)
        return submit_fetch(dm, _http_stage_in, file, parent_fut)


class HTTPInTaskStaging(_HTTPStaging):
    """Fetches each file on the worker, within the task that needs it. Needs no shared file system."""

    def stage_in(self, dm: DataManager, executor: str, file: File, parent_fut: Future[Any] | None) -> None:
        place_in_working_dir(dm, executor, file)

    def replace_task(self, dm: DataManager, executor: str, file: File, func: Callable[..., Any]) -> Callable[..., Any]:
        return FetchFirst(func, download, file)
