from __future__ import annotations

import os
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from trellis.dataflow.final_tasks import FinalTasks, stream_path
from trellis.dataflow.states import States
from trellis.futures import DataFuture
from trellis.staging.files import File


class BytesPath(os.PathLike[bytes]):
    def __fspath__(self) -> bytes:
        return b"/x/out.txt"


@pytest.mark.parametrize(
    ("stream", "path"),
    [
        (None, ""),
        ("out.txt", "out.txt"),
        (("out.txt", "w"), "out.txt"),
        ((Path("/x/out.txt"), "a"), "/x/out.txt"),
        (Path("/x/out.txt"), "/x/out.txt"),
        (File("/x/out.txt"), "/x/out.txt"),
        (BytesPath(), "/x/out.txt"),
        ((), ""),
        (-1, ""),
        (object(), ""),
    ],
)
def test_paths_of_streams(stream: Any, path: str) -> None:
    assert stream_path(stream) == path


def test_the_file_behind_a_data_future() -> None:
    made: Future[Any] = Future()
    assert stream_path(DataFuture(made, File("/x/out.txt"))) == "/x/out.txt"


def test_counts_over_all_apps() -> None:
    final = FinalTasks()
    final.by_app["f"][States.failed] += 2
    final.by_app["g"][States.failed] += 1
    final.by_app["g"][States.exec_done] += 4
    assert (final.counts[States.failed], final.counts[States.exec_done], final.total) == (3, 4, 7)
