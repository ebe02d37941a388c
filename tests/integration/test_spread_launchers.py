"""What launchers for several nodes do: for real where their program is installed, others with stand-ins on PATH."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from trellis.launchers import (
    AprunLauncher,
    GnuParallelLauncher,
    JsrunLauncher,
    Launcher,
    MpiExecLauncher,
    MpiRunLauncher,
    SrunLauncher,
    SrunMPILauncher,
)

# Of several lines and with quotes of all kinds, so that none is lost on the way.
COMMAND = """word='two  words'
echo "$WORKERCOUNT $NODES $((CORES > 0)) $word" '"quoted"' # comment"""
SAID = '2 1 1 two  words "quoted"\n'

# Prints its options, and runs the command once.
STAND_IN = """#!/bin/bash
[ "$1" != --version ] || { echo "$VERSION"; exit; }
options=()
while [ "$1" != /bin/bash ]; do options+=("$1"); shift; done
echo "options: ${options[*]}"
exec "$@"
"""


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def run(script: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/bash", "-c", script],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "JOBNAME": "job", **environ},
    )


def run_mpi(script: str, cwd: Path, mpi: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """As ``run``. MPICH's own mpiexec dies of a closed pipe now and then, before it has begun: then once more."""
    for _ in range(5):
        done = run(script, cwd, **mpi)
        if done.returncode != -signal.SIGPIPE:
            break
    return done


@pytest.fixture(params=["openmpi", "mpich"])
def mpi(request: pytest.FixtureRequest, tmp_path: Path) -> Mapping[str, str]:
    """An environment in which ``mpiexec`` and ``mpirun`` are those of one implementation."""
    for program in ("mpiexec", "mpirun"):
        path = shutil.which(f"{program}.{request.param}")
        if path is None:
            pytest.skip(f"{program}.{request.param} is not installed")
        (tmp_path / "mpi").mkdir(exist_ok=True)
        # Not a link: Hydra looks for its parts where it is called.
        (tmp_path / "mpi" / program).write_text(f'#!/bin/sh\nexec {path} "$@"\n')
        (tmp_path / "mpi" / program).chmod(0o755)
    return {
        "PATH": f"{tmp_path / 'mpi'}{os.pathsep}{os.environ['PATH']}",
        # What Open MPI wants of root, and on few cores.
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
    }


# -- for real --------------------------------------------------------------------------------------------------


@needs("parallel")
@pytest.mark.parametrize("node_file", [False, True])
def test_gnu_parallel_runs_all_copies(tmp_path: Path, node_file: bool) -> None:
    environ = {}
    if node_file:  # PBS names a node once for each core; ":" is this host, without ssh
        (tmp_path / "nodes").write_text(":\n:\n")
        environ["PBS_NODEFILE"] = str(tmp_path / "nodes")
    done = run(GnuParallelLauncher(debug=False)(COMMAND, 2, 1, str(tmp_path)), tmp_path, **environ)
    assert (done.returncode, done.stdout, done.stderr) == (0, 2 * SAID, "")


@needs("parallel")
def test_gnu_parallel_tells_of_failures(tmp_path: Path) -> None:
    assert run(GnuParallelLauncher()("exit 3", 2, 1), tmp_path).returncode == 2  # how many have failed


@needs("parallel")
def test_gnu_parallel_ends_its_copies_at_sigterm(tmp_path: Path) -> None:
    copy = "trap 'echo stopped; exit 0' TERM; echo up; while :; do read -t 0.1 <> <(:); done"
    script = tmp_path / "script.sh"
    script.write_text(GnuParallelLauncher(debug=False)(copy, 2, 1))
    with subprocess.Popen(["/bin/bash", str(script)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["up\n", "up\n"]
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "stopped\nstopped\n"
    assert process.returncode == 143


@pytest.mark.parametrize("node_file", [False, True])
def test_mpiexec_runs_all_copies(tmp_path: Path, node_file: bool, mpi: Mapping[str, str]) -> None:
    environ = dict(mpi)
    if node_file:
        (tmp_path / "nodes").write_text("localhost\nlocalhost\n")
        environ["PBS_NODEFILE"] = str(tmp_path / "nodes")
    done = run_mpi(MpiExecLauncher(debug=False)(COMMAND, 2, 1, str(tmp_path)), tmp_path, environ)
    assert (done.returncode, done.stdout, done.stderr) == (0, 2 * SAID, "")
    assert (tmp_path / "job.nodes").exists() is node_file


def test_mpirun_runs_all_copies(tmp_path: Path, mpi: Mapping[str, str]) -> None:
    done = run_mpi(MpiRunLauncher(debug=False)(COMMAND, 2, 1), tmp_path, mpi)
    assert (done.returncode, done.stdout, done.stderr) == (0, 2 * SAID, "")


@pytest.mark.parametrize("launcher", [MpiExecLauncher, MpiRunLauncher])
def test_mpi_tells_of_failures(tmp_path: Path, launcher: type[Launcher], mpi: Mapping[str, str]) -> None:
    assert run_mpi(launcher()("exit 3", 2, 1), tmp_path, mpi).returncode == 3


# -- with stand-ins --------------------------------------------------------------------------------------------


@pytest.fixture
def stand_in(tmp_path: Path) -> Callable[[str], str]:
    """Makes a stand-in of a program, and gives the PATH with it."""

    def make(program: str) -> str:
        path = tmp_path / "bin" / program
        path.parent.mkdir(exist_ok=True)
        path.write_text(STAND_IN)
        path.chmod(0o755)
        return f"{path.parent}{os.pathsep}{os.environ['PATH']}"

    return make


@pytest.mark.parametrize(
    ("launcher", "program", "options"),
    [
        (
            SrunLauncher(debug=False, overrides="--mem=0"),
            "srun",
            "--ntasks=2 --kill-on-bad-exit=0 --cpu-bind=none --label --mem=0",
        ),
        (AprunLauncher(debug=False, overrides="-cc none"), "aprun", "-n 2 -N 2 -cc none"),
        (JsrunLauncher(debug=False, overrides="-g 1"), "jsrun", "-n 2 -r 2 -g 1"),
    ],
)
def test_the_command_reaches_the_starting_program(
    tmp_path: Path, stand_in: Callable[[str], str], launcher: Launcher, program: str, options: str
) -> None:
    done = run(launcher(COMMAND, 2, 1), tmp_path, PATH=stand_in(program))
    assert (done.returncode, done.stdout) == (0, f"options: {options}\n{SAID}")


@pytest.mark.parametrize("launcher", [SrunLauncher, AprunLauncher, JsrunLauncher])
def test_the_exit_code_is_that_of_the_starting_program(
    tmp_path: Path, stand_in: Callable[[str], str], launcher: type[Launcher]
) -> None:
    program = launcher.__name__.removesuffix("Launcher").lower()
    assert run(launcher()("exit 5", 2, 1), tmp_path, PATH=stand_in(program)).returncode == 5


def test_srun_counts_what_slurm_gave(tmp_path: Path, stand_in: Callable[[str], str]) -> None:
    done = run(SrunLauncher(debug=False)("echo $CORES", 1, 1), tmp_path, PATH=stand_in("srun"), SLURM_CPUS_ON_NODE="48")
    assert done.stdout.endswith("\n48\n")


@pytest.mark.parametrize(
    ("tasks_per_node", "nodes", "share"),
    [(1, 2, "--exclusive --nodes=1 --label"), (1, 1, "--exclusive --nodes=1 --label"), (4, 1, "--ntasks=2 --label")],
)
def test_srun_mpi_gives_each_copy_its_share(
    tmp_path: Path, stand_in: Callable[[str], str], tasks_per_node: int, nodes: int, share: str
) -> None:
    script = SrunMPILauncher(debug=False)("echo copy", tasks_per_node, nodes)
    done = run(script, tmp_path, PATH=stand_in("srun"), SLURM_CPUS_ON_NODE="8", SLURM_JOB_NUM_NODES=str(nodes))
    assert done.returncode == 0
    copies = tasks_per_node * nodes
    assert sorted(done.stdout.splitlines()) == copies * ["copy"] + copies * [f"options: {share}"]


@pytest.mark.parametrize(("command", "code"), [("exit 4", 4), ("mkdir first 2>/dev/null || exit 4", 0)])
def test_srun_mpi_fails_when_all_copies_do(
    tmp_path: Path, stand_in: Callable[[str], str], command: str, code: int
) -> None:
    done = run(SrunMPILauncher(debug=False)(command, 2, 1), tmp_path, PATH=stand_in("srun"), SLURM_CPUS_ON_NODE="2")
    assert done.returncode == code


@pytest.mark.parametrize("launcher", [MpiExecLauncher, MpiRunLauncher])
@pytest.mark.parametrize(
    ("version", "placing"),
    [("mpirun (Open MPI) 4.1.4", "--map-by ppr:2:node"), ("HYDRA build details:", "-ppn 2"), ("", "-ppn 2")],
)
def test_mpi_places_copies_on_all_nodes(
    tmp_path: Path, stand_in: Callable[[str], str], launcher: type[Launcher], version: str, placing: str
) -> None:
    program = launcher.__name__.removesuffix("Launcher").lower()
    done = run(launcher(debug=False)("true", 2, 3), tmp_path, PATH=stand_in(program), VERSION=version)
    assert done.stdout.splitlines()[0].endswith(f"6 {placing}")
