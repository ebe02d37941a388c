"""Places where MPI programs run: two MPIs, nodes that this machine pretends to have, and those of the bed's Slurm."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

import trellis
from tests.real.programs import wait_for
from tests.real.slurm import cluster
from trellis import Config
from trellis.core.jobs import JobState
from trellis.executors import MPIExecutor
from trellis.launchers import SimpleLauncher
from trellis.providers import LocalProvider, SlurmProvider

# Names of nodes lead nowhere here, and root is no usual user.
_MPIEXEC = {
    "mpich": 'exec mpirun.mpich -iface lo "$@"',
    "openmpi": 'exec mpirun.openmpi --allow-run-as-root "$@"',
}
# Instead of ssh: what is meant for a node is run here, and told the name of the node as Slurm would. Nodes do not share
# a directory for temporary files.
_SHELL = """\
while [[ $1 == -* ]]; do shift; done
export SLURMD_NODENAME=$1 TMPDIR=$PWD/$1; shift
mkdir -p $TMPDIR
exec bash -c "$*"
"""
# Nodes on the same machine do not share memory, as real ones would not.
_ENVIRONMENT = "export OMPI_MCA_btl=self,tcp\n"
_ENVIRONMENT_HERE = """\
export HYDRA_LAUNCHER=ssh HYDRA_LAUNCHER_EXEC={shell} OMPI_MCA_plm_rsh_agent={shell}
printf '%s\\n' n1 n2 n3 n4 > nodes.txt; export PBS_NODEFILE=$PWD/nodes.txt
"""


@dataclass(frozen=True)
class Place:
    """Where programs run, and how they are started."""

    executor: MPIExecutor
    mpi: str  # whose library programs have to use
    nodes: int
    launcher_options: str


def _worker_processes() -> int:
    """How many processes that descend from this one are workers."""
    children = psutil.Process().children(recursive=True)
    return len([child for child in children if "trellis: worker" in " ".join(child.cmdline())])


@pytest.fixture(
    scope="module",
    params=[
        ("here", "mpich", "mpiexec"),
        ("here", "openmpi", "mpiexec"),
        ("slurm", "mpich", "mpiexec"),
        ("slurm", "openmpi", "mpiexec"),
        ("slurm", "mpich", "srun"),
    ],
    ids="-".join,
)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    where, mpi, launcher = request.param
    directory: Path = tmp_path_factory.mktemp("mpi")
    mpiexec, shell = _command(directory / "mpiexec", _MPIEXEC[mpi]), _command(directory / "shell", _SHELL)
    worker_init = f"cd {directory}; export PATH={mpiexec.parent}:$PATH\n{_ENVIRONMENT}"
    provider: LocalProvider | SlurmProvider
    if where == "here":
        provider = LocalProvider(
            launcher=SimpleLauncher(), worker_init=worker_init + _ENVIRONMENT_HERE.format(shell=shell)
        )
    else:
        provider = SlurmProvider(nodes_per_block=2, launcher=SimpleLauncher(), worker_init=worker_init)
    executor = MPIExecutor(provider=provider, max_workers_per_block=4, mpi_launcher=launcher)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trellis.providers.batch.POLL_S", 2.0)
        with trellis.load(Config(executors=[executor], run_dir=str(directory / "runinfo"), strategy_period=0.5)):
            wait_for("all workers are there", lambda: executor.connected_workers == 4)
            if where == "here":  # a manager counts its workers before they are there, and what comes later is a leak
                wait_for("their processes are there", lambda: _worker_processes() == 4)
            wait_for("its job is known to run", lambda: executor.status()["0"].state == JobState.RUNNING)
            # MPICH's programs find each other through Slurm in this way.
            yield Place(executor, mpi, 4 if where == "here" else 2, "--mpi=pmi2" if launcher == "srun" else "")
    if where == "slurm":
        wait_for("no job is left", lambda: not cluster.jobs(), 30)


def _command(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture(scope="session")
def ranks() -> str:
    """The command of a program's rank."""
    return f"{sys.executable} {Path(__file__).with_name('ranks.py')}"
