"""The bed itself: jobs run. When this fails, nothing else here means much."""

from __future__ import annotations

import subprocess
from pathlib import Path


def test_jobs_run(tmp_path: Path) -> None:
    script, output = tmp_path / "job", tmp_path / "output"
    script.write_text("echo hello from $NSLOTS\n")
    done = subprocess.run(
        ["qsub", "-sync", "y", "-j", "y", "-o", str(output), str(script)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, output.read_text()) == (0, "hello from 1\n"), done.stdout + done.stderr
