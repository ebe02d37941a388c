"""The program runs in a job of its own: nothing that this job was given, or told, reaches the jobs of its blocks."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.real.programs import wait_for

# Its block is two cores of a node; it says what that got, and what Slurm knows of the job.
PROGRAM = """
import json
import os
import subprocess
import time
import trellis
from trellis import Config, HighThroughputExecutor
from trellis.launchers import SrunLauncher
from trellis.providers import {provider_class}

@trellis.python_app
def surroundings():
    import os
    return dict(os.environ)

provider = {provider_class}({provider}, launcher=SrunLauncher())
htex = HighThroughputExecutor(label="htex", provider=provider, mem_per_worker=0.5)
with trellis.load(Config(executors=[htex], run_dir={run_dir!r})):
    task = surroundings().result(timeout=60)
    job = task["SLURM_JOB_ID"]
    said = subprocess.run(["scontrol", "--oneliner", "show", "job", job], capture_output=True, text=True).stdout
    fields = dict(word.split("=", 1) for word in said.split() if "=" in word)
    while len(htex.connected_managers()) < provider.nodes_per_block:
        time.sleep(0.1)
    workers = [manager["worker_count"] for manager in htex.connected_managers()]
    with open({output!r} + ".new", "w") as file:
        json.dump({{"task": task, "job": fields, "workers": workers}}, file)
os.rename({output!r} + ".new", {output!r})
"""


def write(directory: Path, provider: str, provider_class: str = "SlurmProvider") -> tuple[Path, Path]:
    """Write the program; give it, and where its answer will be."""
    program, output = directory / "driver.py", directory / "answer.json"
    program.write_text(
        PROGRAM.format(
            provider_class=provider_class, provider=provider, run_dir=str(directory / "runinfo"), output=str(output)
        )
    )
    return program, output


def run(argv: list[str], directory: Path, output: Path, **environment: str) -> dict[str, Any]:
    """Run the command that starts the program, and give its answer."""
    done = subprocess.run(
        argv,
        cwd=directory,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    wait_for(f"the program has answered; its words are in {directory}/driver.err", output.exists)
    answer: dict[str, Any] = json.loads(output.read_text())
    return answer


def submit(directory: Path, program: Path, *options: str, before: str = "") -> list[str]:
    """The command that submits the program as a job."""
    script = directory / "driver.sh"
    script.write_text(f"#!/bin/bash\n{before}\nexec {shlex.quote(sys.executable)} {shlex.quote(str(program))}\n")
    logs = [f"--output={directory}/driver.out", f"--error={directory}/driver.err"]
    return ["sbatch", *logs, *options, str(script)]


@pytest.mark.parametrize(
    ("options", "before", "provider", "workers"),
    [
        # A block of one core, which srun would not start with two processors for each task.
        (["--mem=100"], "export SRUN_CPUS_PER_TASK=2", "exclusive=False, cores_per_node=1", 1),
        (["--mem-per-cpu=200", "--cpus-per-task=2"], "", "exclusive=True", 2),
        # srun does not take memory by the node from here, and by the processor from there.
        (
            ["--mem-per-cpu=200", "--ntasks=1", "--export=NONE"],
            "",
            "exclusive=False, cores_per_node=2, mem_per_node=1",
            2,
        ),
    ],
    ids=["mem", "mem-per-cpu", "both"],
)
def test_a_driver_in_a_job_hands_nothing_of_it_on(
    options: list[str], before: str, provider: str, workers: int, tmp_path: Path
) -> None:
    program, output = write(tmp_path, f"{provider}, partition='debug', walltime='00:07:00'")
    # Settings of the user's for sbatch do not win over the provider's parameters.
    settings = {"SBATCH_PARTITION": "short", "SBATCH_TIMELIMIT": "00:00:30", "SBATCH_MEM_PER_CPU": "50"}
    answer = run(
        submit(tmp_path, program, *options, "--partition=debug", "--time=5", before=before),
        tmp_path,
        output,
        **settings,
    )
    assert answer["workers"] == [workers]
    assert answer["job"]["Partition"] == "debug"
    assert answer["job"]["TimeLimit"] == "00:07:00"
    assert not {name for name in answer["task"] if name.startswith("SBATCH_")}


def test_a_driver_in_an_allocation_has_blocks_of_its_own(tmp_path: Path) -> None:
    program, output = write(tmp_path, "exclusive=True, partition='debug'")
    answer = run(["salloc", "--mem=100", "--ntasks=1", sys.executable, str(program)], tmp_path, output)
    assert answer["workers"] == [2]
    assert answer["task"]["SLURM_JOB_NUM_NODES"] == "1"


def test_a_block_on_purpose_inside_of_the_allocation_has_its_nodes(tmp_path: Path) -> None:
    # What the LocalProvider starts belongs to the job: srun has to know it.
    program, output = write(tmp_path, "nodes_per_block=2", "LocalProvider")
    answer = run(["salloc", "--nodes=2", "--exclusive", sys.executable, str(program)], tmp_path, output)
    assert answer["workers"] == [2, 2]
    assert answer["task"]["SLURM_JOB_NUM_NODES"] == "2"
    assert answer["task"]["SLURMD_NODENAME"] in ("n1", "n2")
