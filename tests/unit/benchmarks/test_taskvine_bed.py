"""Measurements in the root directory of the real TaskVine. Here nothing runs inside: commands are small programs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.real.bed import ROOT, BedError
from tests.real.taskvine import bed, rates

Says = Callable[[str], None]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root directory where Parsl is."""
    for made in ("tmp", rates.PARSL[1:]):
        (tmp_path / made).mkdir(parents=True)
    (tmp_path / rates.PARSL[1:] / ".ready").touch()
    return tmp_path


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Says:
    """Have this Python program run, whatever is to run inside."""

    def set_program(text: str) -> None:
        monkeypatch.setattr(bed, "command_inside", lambda *_, **__: [sys.executable, "-c", text])

    return set_program


def test_parsl_has_an_interpreter_of_its_own() -> None:
    words = rates.command("parsl", "fork", 5)
    assert "PATH=/opt/parsl/bin:/usr/bin:/bin" in words
    assert words[-3:] == ["parsl", "fork", "5"]
    assert rates.command("native", "fork", 5)[0] == "python"


def test_a_measurement_gives_its_last_line_and_leaves_nothing(root: Path, program: Says) -> None:
    program("print('something else'); print(50.5, 0.25)")
    assert bed.measure(root, "native", "fork", 5) == (50.5, 0.25)
    assert list((root / "tmp").iterdir()) == []


def test_a_measurement_that_fails_or_hangs_tells_so_and_leaves_nothing(root: Path, program: Says) -> None:
    program("raise SystemExit('it is broken')")
    with pytest.raises(BedError, match="it is broken"):
        bed.measure(root, "parsl", "fork", 5)
    program("import sys; sys.stdin.close(); import threading; threading.Event().wait()")
    with pytest.raises(BedError, match=r"still not done after 0\.2 s"):
        bed.measure(root, "parsl", "fork", 5, 0.2)
    assert list((root / "tmp").iterdir()) == []


def test_taskvine_itself_is_tried_again_and_others_are_not(root: Path, program: Says) -> None:
    program(f"import pathlib; p = pathlib.Path({str(root / 'seen')!r}); f = p.exists(); p.touch(); print(1 / f, 0.1)")
    assert bed.measure(root, "native", "direct", 5) == (1.0, 0.1)
    (root / "seen").unlink()
    with pytest.raises(BedError, match="ZeroDivisionError"):
        bed.measure(root, "ndcctools", "direct", 5)


def test_the_comparison_goes_on_after_a_failure(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(_: Path, system: str, mode: str, tasks: int) -> tuple[float, float]:
        if (system, mode) == ("parsl", "regular"):
            raise BedError("it is broken")
        return tasks * 10.0, 0.0015

    monkeypatch.setattr(bed, "measure", measure)
    assert bed.compare(root, 7) == 1
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[:2] for row in rows if row[1] == "parsl"] == [["regular", "parsl"], ["fork", "parsl"]]
    assert ["regular", "parsl", "failed:", "it", "is", "broken"] in rows
    assert ["fork", "parsl", "70", "1.5"] in rows
    assert len(rows) == 11
    monkeypatch.setattr(bed, "measure", lambda *_: (1.0, 1.0))
    assert bed.compare(root) == 0


def test_parsl_is_installed_once_apart_and_in_the_pinned_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[Sequence[str]] = []

    def run(*words: str) -> None:
        commands.append(words)
        (tmp_path / "opt/parsl").mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr(bed, "_run", run)
    bed.prepare_parsl(tmp_path)
    bed.prepare_parsl(tmp_path)
    download, make, install = commands
    assert download[-2:] == ("parsl", "conda-pack")
    assert download[download.index("--constraint") + 1] == str(ROOT / "constraints.txt")
    assert make[-1] == rates.PARSL
    assert f"{rates.PARSL}/bin/pip" in install
    pinned = (ROOT / "constraints.txt").read_text().splitlines()
    assert {"parsl==2025.1.13", "conda-pack==0.9.2"} <= set(pinned)


def test_what_tests_need_is_made_without_parsl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[Sequence[str]] = []

    def run(*words: str) -> None:
        commands.append(words)
        (tmp_path / "opt/trellis").mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr(bed, "_run", run)
    monkeypatch.setattr(bed, "_mirror", lambda: "http://mirror")
    bed.prepare(tmp_path)
    assert commands
    assert not any("parsl" in words or word.startswith(rates.PARSL) for words in commands for word in words)
