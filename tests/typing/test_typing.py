"""Type checkers know what Trellis's public API gives."""

import subprocess
import sys
from pathlib import Path

from tests.architecture.source import ROOT


def test_user_program_passes_strict_checks(tmp_path: Path) -> None:
    program = Path(__file__).with_name("user_program.py")
    # No configuration file: the user's checker does not have ours.
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}", str(program)],
        cwd=tmp_path,
        env={"PATH": "", "MYPYPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=110,  # a cold cache checks all of Trellis
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


def test_distribution_is_marked_as_typed() -> None:
    assert (ROOT / "src" / "trellis" / "py.typed").exists()
