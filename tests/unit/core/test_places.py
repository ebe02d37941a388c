"""Where a run cannot have its directories, the error says what to try."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from trellis.config import Config
from trellis.core.places import absolute, explained
from trellis.dataflow.kernel import DataFlowKernel
from trellis.errors import ConfigurationError
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.executors.threads import ThreadPoolExecutor


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()


@pytest.mark.usefixtures("nowhere")
def test_a_deleted_working_directory_is_named(tmp_path: Path) -> None:
    assert absolute("/a/b") == "/a/b"
    for make in (lambda: DataFlowKernel(Config()), lambda: HighThroughputExecutor(), lambda: absolute("x")):
        with pytest.raises(ConfigurationError, match="the working directory of this program has been deleted"):
            make()


@pytest.mark.usefixtures("nowhere")
def test_threads_need_no_working_directory(tmp_path: Path) -> None:
    with DataFlowKernel(Config(executors=[ThreadPoolExecutor()], run_dir=str(tmp_path / "runs"))) as kernel:
        assert kernel.submit(abs, (-1,)).result(30) == 1


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "written to"),
        (errno.EACCES, "allowed"),
        (errno.ENOTDIR, "a part of the path is a file"),
    ],
)
def test_what_to_try_is_said(number: int, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object, *_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(OSError, match=rf"the run cannot start in .*; .*{advice}.* another run_dir in Config") as caught:
        DataFlowKernel(Config(run_dir=str(tmp_path / "runs")))
    assert caught.value.errno == number


def test_a_full_disk_at_the_start_of_an_executor_is_explained(tmp_path: Path) -> None:
    class Full(ThreadPoolExecutor):
        def start(self, context: object = None) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match=r"the run cannot start in .*runs.000: .* the disk is full: free space there"):
        DataFlowKernel(Config(executors=[Full()], run_dir=str(tmp_path / "runs")))


def test_other_errors_stay_as_they_are() -> None:
    error = OSError(errno.EIO, "x")
    assert explained(error, "/runs") is error
    missing = FileNotFoundError(errno.ENOENT, "x", "/usr/bin/no-such-program")  # not the directory
    assert explained(missing, "/runs") is missing
