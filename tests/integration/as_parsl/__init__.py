"""Programs written for Parsl, run as they are: each is a program of its own, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

# What stands for Parsl itself, where it is installed and must not be found.
REAL = "raise AssertionError('the real Parsl')"
SAYS = "trellis: `import parsl` gives Trellis "


def environment(**more: str) -> dict[str, str]:
    """Of a shell in which nobody has spoken of Parsl; that of the tests is one."""
    assert "as_parsl" not in os.environ.get("PYTHONPATH", ""), "a test has turned the alias on in its own process"
    return {**{name: value for name, value in os.environ.items() if name != "TRELLIS_AS_PARSL"}, **more}


def run(program: str, directory: Path, *words: str, python: str = sys.executable, **more: str) -> str:
    """What a program writes that says once that the alias is on, and has no errors."""
    (directory / "program.py").write_text(dedent(program))
    done = subprocess.run(
        [python, "-m", "trellis", "run", "program.py", *words],
        cwd=directory,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(SAYS), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stdout
