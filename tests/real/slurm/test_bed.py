"""The bed itself: jobs run on both nodes, and so does MPI. When this fails, nothing else here means much."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest


def output_of(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_srun_reaches_both_nodes() -> None:
    output = output_of("srun", "--nodes=2", "--ntasks=2", "--mpi=none", "printenv", "SLURMD_NODENAME")
    assert sorted(output.split()) == ["n1", "n2"]


def run_on_both_nodes(directory: Path, script: str) -> list[str]:
    """Run a script on the first of two nodes; give the lines that it prints, sorted."""
    job, output = directory / "job", directory / "output"
    job.write_text(f"#!/bin/bash\n{script}\n")
    output_of(
        "sbatch", "--wait", "--nodes=2", "--ntasks-per-node=2", f"--output={output}", "--error=/dev/null", str(job)
    )
    return sorted(output.read_text().splitlines())


def test_sbatch_runs_a_script(tmp_path: Path) -> None:
    lines = run_on_both_nodes(
        tmp_path, "echo $SLURM_CPUS_ON_NODE cores; srun -n2 --ntasks-per-node=1 printenv SLURMD_NODENAME"
    )
    assert lines == ["2 cores", "n1", "n2"]


@pytest.mark.parametrize(
    "command",
    [
        "mpirun.openmpi --allow-run-as-root -n 4 bash -c 'echo {node} $OMPI_COMM_WORLD_RANK'",
        "mpirun.mpich -iface lo -n 4 bash -c 'echo {node} $PMI_RANK'",
        "srun --mpi=pmi2 -n 4 bash -c 'echo {node} $PMI_RANK'",
    ],
    ids=["openmpi", "mpich", "pmi2"],
)
def test_mpi_starts_ranks_on_both_nodes(command: str, tmp_path: Path) -> None:
    # MPICH gives its ranks the environment of mpirun, so the node's name is taken from their parent's.
    node = "$(tr '\\0' '\\n' < /proc/$PPID/environ | sed -n s/^SLURMD_NODENAME=//p)"
    if command.startswith("srun"):
        node = "$SLURMD_NODENAME"
    lines = run_on_both_nodes(tmp_path, command.format(node=node.replace("'", '"')))
    assert lines == ["n1 0", "n1 1", "n2 2", "n2 3"]
