"""Outputs that a Python app has not made."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from trellis.core.unmade import Unmade
from trellis.remote.outputs import WithOutputs


def make(paths: Sequence[str]) -> str:
    for path in paths:
        Path(path).touch()
    return "done"


def test_what_is_missing_is_told_beside_the_result(tmp_path: Path) -> None:
    made, missing = str(tmp_path / "made"), str(tmp_path / "missing")
    assert WithOutputs(make)([made], [made]) == "done"
    assert WithOutputs(make)([made, missing], [made]) == Unmade("done", (1,))


def test_an_app_may_change_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inner").mkdir()

    def moves() -> None:
        Path("before").touch()
        os.chdir("inner")
        Path("after").touch()

    assert WithOutputs(moves)(["before", "after"]) is None
