"""``trellis doctor`` where blocks are jobs of a real Slurm."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CONFIG = """
from trellis import Config, HighThroughputExecutor
from trellis.providers import SlurmProvider
provider = SlurmProvider({provider})
config = Config(executors=[HighThroughputExecutor(provider=provider, {executor})], run_dir={run_dir!r})
"""


def examine(directory: Path, provider: str, executor: str = "", *options: str) -> tuple[int, str]:
    path = directory / "config.py"
    path.write_text(CONFIG.format(provider=provider, executor=executor, run_dir=str(directory / "runinfo")))
    command = [sys.executable, "-m", "trellis", "doctor", str(path), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout


def test_a_healthy_configuration(tmp_path: Path) -> None:
    code, output = examine(tmp_path, "exclusive=False", "", "--import", "psutil")
    assert (code, output.splitlines()[-1]) == (0, "Everything works."), output


@pytest.mark.parametrize(
    ("provider", "executor", "step", "hint"),
    [
        ("partition='nonesuch'", "", "a block is submitted", "the partition or queue does not exist"),
        ("partition='short', walltime='10:00:00'", "", "its job runs", "ask for less with walltime="),
        ("mem_per_node=1", "mem_per_worker=30", "a manager connects", "the node is too small for one worker"),
        ("", "launch_cmd='/no/such/python3 -m trellis'", "a manager connects", "the node has no /no/such/python3"),
        ("", "address='203.0.113.1'", "a manager connects", "address="),
    ],
    ids=["partition", "walltime", "memory", "interpreter", "address"],
)
def test_a_broken_one_names_its_cause(tmp_path: Path, provider: str, executor: str, step: str, hint: str) -> None:
    code, output = examine(tmp_path, provider, executor)
    assert code == 1, output
    failed = [line for line in output.splitlines() if " failed " in line]
    assert [step in line or "its job runs" in line for line in failed] == [True], output
    assert hint in " ".join(output.split("hint:")[1].split()), output
