"""``trellis demo`` as users run it: real processes, a small tree to survey."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import psutil
import pytest

SVG = "{http://www.w3.org/2000/svg}"


def demo(cwd: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "trellis", "demo", *arguments],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two packages, one of them with copied code; a file that is no Python; and somebody else's package."""
    copied = "def f(a):\n    b = a\n    c = b\n    d = c\n    e = d\n    return e\n"
    files = {
        "big/one.py": copied + "x = 1\n",
        "big/two.py": "# a comment\n" + copied.replace("b = a", "b = a  # differs in layout only"),
        "small/deep.py": "def g():\n    if 1:\n        for _ in ():\n            pass\n",
        "broken.py": "x = '''\n",
        "site-packages/other.py": "y = 1\n",
        ".hidden/other.py": "y = 1\n",
    }
    for name, text in files.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "tree"


@pytest.mark.parametrize("executor", ["threads", "htex"])
def test_survey_of_a_tree(executor: str, tree: Path, tmp_path: Path) -> None:
    done = demo(tmp_path, "--path", str(tree), "--executor", executor, "--workers", "2", "--output", "out")
    assert (done.returncode, done.stderr) == (0, "")
    for expected in (f"{tree}: 4 Python files, 2 workers ({executor})", "Wall time", "Parallel efficiency", "Slowest"):
        assert expected in done.stdout

    report = (tmp_path / "out" / "report.txt").read_text()
    assert gzip.decompress((tmp_path / "out" / "report.txt.gz").read_bytes()).decode() == report
    lines = [" ".join(line.split()) for line in report.splitlines()]
    for expected in (
        "3 files",
        "17 code lines",
        "2 comments",
        "3 functions",
        "6 big/two.py:2 f",
        "2 small/deep.py:1 g",
        "2 copies: big/one.py:1 f, big/two.py:2 f",
    ):
        assert expected in lines
    assert any(line.startswith("- broken.py: ") for line in lines)
    assert "other.py" not in report

    picture = ET.fromstring((tmp_path / "out" / "timeline.svg").read_text())
    tips = [title.text or "" for title in picture.iterfind(f".//{SVG}rect/{SVG}title")]
    assert any(tip.startswith("measure_file") or "× measure_file" in tip for tip in tips)
    assert str(tmp_path / "out" / "timeline.svg") in done.stdout


def test_failures_are_shown_and_give_an_exit_code(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "gzip").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "gzip").chmod(0o755)
    done = demo(
        tmp_path, "--path", str(tree), "--executor", "threads", PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    )
    assert done.returncode == 1
    assert "1 task failed" in done.stdout
    assert "compress" in done.stdout
    assert "exit code 3" in done.stdout
    assert (tmp_path / "trellis-demo" / "timeline.svg").exists()


@pytest.mark.parametrize(
    ("path", "reason"), [("nowhere", "there is no {}"), ("file", "{} is not a directory"), ("empty", "no Python files")]
)
def test_bad_path_is_named(path: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    done = demo(tmp_path, "--path", path)
    assert (done.returncode, done.stdout) == (2, "")
    assert reason.format(tmp_path / path) in done.stderr
    assert str(tmp_path / path) in done.stderr
    assert not (tmp_path / "trellis-demo").exists()


def test_no_place_for_the_output(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = demo(tmp_path, "--path", str(tree), "--output", "file")
    assert done.returncode == 2
    assert f"cannot make the directory {tmp_path / 'file'}" in done.stderr


def test_ctrl_c_ends_it_and_all_its_processes(tmp_path: Path) -> None:
    # Where tests run in the background, the shell may have had Ctrl-C ignored.
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from trellis.cli.main import main; raise SystemExit(main(['demo', '--workers', '2']))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline().startswith("Survey of")
        (interchange,) = wait_for_interchange(running.pid)
        running.send_signal(signal.SIGINT)
        _, stderr = running.communicate(timeout=30)
    assert (running.returncode, stderr) == (130, "trellis: interrupted\n")
    psutil.wait_procs([interchange], timeout=10)
    assert not interchange.is_running()


def wait_for_interchange(pid: int) -> list[psutil.Process]:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = [child for child in psutil.Process(pid).children() if "trellis: interchange" in child.cmdline()[:1]]
        if found:
            return found
        time.sleep(0.02)
    raise TimeoutError("the demo has started no interchange")
