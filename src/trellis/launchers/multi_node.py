"""Launchers that start the command on all nodes of a block, each by another program. They write text and nothing else.

What the copies see in their environment: ``CORES`` (processors of a node), ``NODES``, ``WORKERCOUNT`` (number of
copies). The command is handed over as an argument of bash, so no file has to be shared between the nodes.
"""

from __future__ import annotations

import re
import shlex

from trellis.core.kinds import Path, Text
from trellis.core.validation import check, knows_former_names
from trellis.launchers.base import Launcher

# Options with which users place the copies themselves.
_PLACING = re.compile(r"(^|\s)(--?ppn|--?map-by|--?npernode|-N)\b")


class _SpreadLauncher(Launcher):
    """What the launchers below have in common.

    Args:
        debug: Trace on standard error what is started.
        overrides: Further options for the starting program; they come last, so they win.
    """

    cores = "$(getconf _NPROCESSORS_ONLN)"

    @knows_former_names()
    def __init__(self, debug: bool = True, overrides: str = "") -> None:
        super().__init__(debug=debug)
        self.overrides: str = check(type(self).__name__, "overrides", overrides, Text())

    def _script(self, start: str, tasks_per_node: int, nodes_per_block: int) -> str:
        return (
            f"export CORES={self.cores}\n"
            f"export NODES={nodes_per_block}\n"
            f"export WORKERCOUNT={tasks_per_node * nodes_per_block}\n"
            f"{'set -x' + chr(10) if self.debug else ''}"
            f"{start}"
        )


class GnuParallelLauncher(Launcher):
    """Starts the copies with GNU Parallel, through ssh, on the nodes that the file ``$PBS_NODEFILE`` names.

    Without such a file they run where the script runs.

    Args:
        debug: Trace on standard error what is started.
    """

    def __call__(self, command: str, tasks_per_node: int, nodes_per_block: int, script_dir: str = "") -> str:
        return _PARALLEL_SCRIPT.format(
            copies=tasks_per_node * nodes_per_block,
            nodes=nodes_per_block,
            jobs=tasks_per_node,
            # Quoted twice: parallel hands it to a shell of each node.
            command=shlex.quote(_bash(command)),
            hosts=_hosts_of("--sshloginfile", script_dir),
            trace="set -x\n" if self.debug else "",
        )


class MpiExecLauncher(_SpreadLauncher):
    """Starts the copies with ``mpiexec``, on the nodes that the file ``$PBS_NODEFILE`` names if there is one.

    Args:
        debug: Trace on standard error what is started.
        bind_cmd: The option of this mpiexec that says where processes are bound; its value is ``none`` here.
        overrides: Further options for mpiexec. With several nodes, ``tasks_per_node`` copies are placed on each
            unless these options place them.
    """

    @knows_former_names()
    def __init__(self, debug: bool = True, bind_cmd: str = "--bind-to", overrides: str = "") -> None:
        super().__init__(debug=debug, overrides=overrides)
        self.bind_cmd: str = check(type(self).__name__, "bind_cmd", bind_cmd, Text())

    def __call__(self, command: str, tasks_per_node: int, nodes_per_block: int, script_dir: str = "") -> str:
        prepare, placing = _mpi_placing("mpiexec", tasks_per_node, nodes_per_block, self.overrides)
        options = _join(self.bind_cmd, "none -n $WORKERCOUNT", '"${trellis_hosts[@]}"', placing, self.overrides)
        hosts = _hosts_of("--hostfile", script_dir)
        return self._script(
            f"trellis_hosts=()\n{hosts}{prepare}mpiexec {options} {_bash(command)}", tasks_per_node, nodes_per_block
        )


class MpiRunLauncher(_SpreadLauncher):
    """Starts the copies with ``mpirun``, which finds the nodes by itself.

    Args:
        debug: Trace on standard error what is started.
        bash_location: Path of bash on the nodes.
        overrides: Further options for mpirun. With several nodes, ``tasks_per_node`` copies are placed on each unless
            these options place them.
    """

    @knows_former_names()
    def __init__(self, debug: bool = True, bash_location: str = "/bin/bash", overrides: str = "") -> None:
        super().__init__(debug=debug, overrides=overrides)
        self.bash_location: str = check(type(self).__name__, "bash_location", bash_location, Path())

    def __call__(self, command: str, tasks_per_node: int, nodes_per_block: int, script_dir: str = "") -> str:
        prepare, placing = _mpi_placing("mpirun", tasks_per_node, nodes_per_block, self.overrides)
        options = _join("-np $WORKERCOUNT", placing, self.overrides)
        start = f"{prepare}mpirun {options} {_bash(command, self.bash_location)}"
        return self._script(start, tasks_per_node, nodes_per_block)


class SrunLauncher(_SpreadLauncher):
    """Starts the copies with Slurm's ``srun``, unbound: each may use all that the job has got on its node."""

    cores = "${SLURM_CPUS_ON_NODE:-$(getconf _NPROCESSORS_ONLN)}"

    def __call__(self, command: str, tasks_per_node: int, nodes_per_block: int, script_dir: str = "") -> str:
        # A copy that fails is no reason to end the others, whatever the site's default is.
        options = _join("--ntasks=$WORKERCOUNT --kill-on-bad-exit=0 --cpu-bind=none --label", self.overrides)
        return self._script(f"srun {options} {_bash(command)}", tasks_per_node, nodes_per_block)


class SrunMPILauncher(_SpreadLauncher):
    """Starts each copy by an ``srun`` of its own, for commands that are MPI programs themselves.

    Up to as many copies as nodes get whole nodes, the same number each, and run once on each of theirs. More copies
    than nodes share the cores, and run as many ranks as each has cores.
    """

    cores = SrunLauncher.cores

    def __call__(self, command: str, tasks_per_node: int, nodes_per_block: int, script_dir: str = "") -> str:
        start = _SRUN_MPI_SCRIPT.format(options=_join("--label", self.overrides), command=_bash(command))
        return self._script(start, tasks_per_node, nodes_per_block)


class AprunLauncher(_SpreadLauncher):
    """Starts the copies with ``aprun``, of Cray's ALPS."""

    def __call__(self, command: str, tasks_per_node: int, nodes_per_block: int, script_dir: str = "") -> str:
        options = _join(f"-n $WORKERCOUNT -N {tasks_per_node}", self.overrides)
        return self._script(f"aprun {options} {_bash(command)}", tasks_per_node, nodes_per_block)


class JsrunLauncher(_SpreadLauncher):
    """Starts the copies with ``jsrun``, of IBM's Spectrum MPI."""

    def __call__(self, command: str, tasks_per_node: int, nodes_per_block: int, script_dir: str = "") -> str:
        options = _join(f"-n $WORKERCOUNT -r {tasks_per_node}", self.overrides)
        return self._script(f"jsrun {options} {_bash(command)}", tasks_per_node, nodes_per_block)


def _bash(command: str, bash: str = "/bin/bash") -> str:
    return f"{bash} -c {shlex.quote(command)}"


def _join(*options: str) -> str:
    return " ".join(option for option in options if option)


def _hosts_of(option: str, script_dir: str) -> str:
    """Give the lines that set ``trellis_hosts`` when there is a node file, which names a node once for each core."""
    directory = shlex.quote(script_dir) if script_dir else '"${TMPDIR:-/tmp}"'
    return (
        'if [ -n "${PBS_NODEFILE:-}" ]; then\n'
        f'    trellis_nodes={directory}/"${{JOBNAME:-parsl.$$}}.nodes"\n'
        '    sort -u "$PBS_NODEFILE" >"$trellis_nodes"\n'
        f'    trellis_hosts=({option} "$trellis_nodes")\n'
        "fi\n"
    )


def _mpi_placing(program: str, tasks_per_node: int, nodes: int, overrides: str) -> tuple[str, str]:
    """Give the lines that find out how this MPI spreads processes evenly, and the option that they set.

    Left to itself, Open MPI fills the first node before it takes the next.
    """
    if nodes == 1 or _PLACING.search(overrides):
        return "", ""
    prepare = (
        f'case "$({program} --version 2>&1)" in\n'
        f"    *'Open MPI'*|*OpenRTE*) trellis_placing='--map-by ppr:{tasks_per_node}:node' ;;\n"
        f"    *) trellis_placing='-ppn {tasks_per_node}' ;;\n"
        f"esac\n"
    )
    return prepare, "$trellis_placing"


# GNU Parallel takes a first SIGTERM as a wish to start nothing more; at the second it ends what runs.
_PARALLEL_SCRIPT = """\
export CORES=$(getconf _NPROCESSORS_ONLN)
export NODES={nodes}
export WORKERCOUNT={copies}
trellis_env=()
for trellis_name in PATH LD_LIBRARY_PATH PYTHONPATH JOBNAME CORES NODES WORKERCOUNT PARSL_CORES PARSL_MEMORY_GB; do
    [ -z "${{!trellis_name:-}}" ] || trellis_env+=(--env "$trellis_name")
done
trellis_hosts=(--sshlogin :)
{hosts}{trace}parallel -N0 --jobs {jobs} --ungroup --termseq TERM,10000,KILL,25 \\
    "${{trellis_hosts[@]}}" "${{trellis_env[@]}}" {command} < <(seq "$WORKERCOUNT") &
trellis_parallel=$!
trellis_stop_parallel() {{
    trap '' TERM
    kill -TERM $trellis_parallel
    kill -TERM $trellis_parallel
    wait $trellis_parallel
    exit 143
}}
trap trellis_stop_parallel TERM
wait $trellis_parallel
exit $?
"""

_SRUN_MPI_SCRIPT = """\
NODES=${{SLURM_JOB_NUM_NODES:-$NODES}}
if ((WORKERCOUNT > NODES)); then
    trellis_share="--ntasks=$((NODES * CORES / WORKERCOUNT))"
else
    trellis_share="--exclusive --nodes=$((NODES / WORKERCOUNT))"
fi
trellis_pids=()
for ((trellis_copy = 0; trellis_copy < WORKERCOUNT; trellis_copy++)); do
    srun $trellis_share {options} {command} &
    trellis_pids+=($!)
done
trellis_failed=0
for trellis_pid in "${{trellis_pids[@]}}"; do
    wait "$trellis_pid" || {{ trellis_code=$?; trellis_failed=$((trellis_failed + 1)); }}
done
# As long as one copy works, the block does.
((trellis_failed < WORKERCOUNT)) || exit "$trellis_code"
"""
