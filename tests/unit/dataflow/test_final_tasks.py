"""Paths of files that tasks write to, whatever was given; and a failure that cannot be noted is one all the same."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import trellis
from trellis import Config
from trellis.dataflow.failure_log import FailureLog
from trellis.dataflow.final_tasks import stream_path
from trellis.dataflow.kernel import DataFlowKernel


class Hostile(os.PathLike[str]):
    def __init__(self, raises: type[BaseException]) -> None:
        self._raises = raises

    def __fspath__(self) -> str:
        raise self._raises("on purpose")


class Bytes(os.PathLike[bytes]):
    def __fspath__(self) -> bytes:
        return b"/out"


@pytest.mark.parametrize(
    ("stream", "path"),
    [
        (None, ""),
        ((), ""),
        ("/out", "/out"),
        (("/out", "a"), "/out"),
        (Path("/out"), "/out"),
        (Bytes(), "/out"),
        (7, ""),
        (Hostile(RuntimeError), ""),
        (Hostile(SystemExit), ""),
    ],
    ids=["none", "empty", "text", "pair", "path", "bytes", "number", "raises", "exits"],
)
def test_the_path_of_a_stream(stream: Any, path: str) -> None:
    assert stream_path(stream) == path


def test_a_failure_that_cannot_be_noted_ends_its_future(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the log is broken")

    monkeypatch.setattr(FailureLog, "note", fail)
    kernel = DataFlowKernel(Config(run_dir=str(tmp_path), executors=[trellis.ThreadPoolExecutor()]))
    try:
        assert isinstance(kernel.submit(int, ("x",)).exception(30), ValueError)
    finally:
        kernel.cleanup()
