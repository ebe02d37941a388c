"""Environments that conda-pack has made, fitted to their place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from trellis.executors.taskvine.remote import fit

_UNPACK = (
    "import os\nplace = os.path.dirname(os.path.abspath(__file__))\nprint(place, file=open(place + '/log', 'a'))\n"
)


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    place = tmp_path / "cache" / "environment"
    (place / "bin").mkdir(parents=True)
    (place / "bin" / "python").symlink_to(sys.executable)
    (place / "bin" / "conda-unpack").write_text(_UNPACK)
    (tmp_path / "link").symlink_to(place)
    return place


def test_it_is_fitted_to_where_it_really_is_and_once(environment: Path, tmp_path: Path) -> None:
    words = [sys.executable, fit.__file__, str(tmp_path / "link")]
    together = [subprocess.Popen(words) for _ in range(3)]
    assert [process.wait() for process in together] == [0, 0, 0]
    assert (environment / "bin" / "log").read_text() == f"{environment}/bin\n"
    assert (environment / fit.MARK).exists()


def test_one_that_does_not_fit_says_so_and_may_be_tried_again(environment: Path) -> None:
    (environment / "bin" / "conda-unpack").write_text("raise SystemExit('too long a path')\n")
    words = [sys.executable, fit.__file__, str(environment)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "too long a path" in done.stderr
    assert "cannot be fitted" in done.stderr
    assert not (environment / fit.MARK).exists()
