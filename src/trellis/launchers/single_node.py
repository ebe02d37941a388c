"""Launchers that start the command on one node. They write text and nothing else: no process is started here."""

from __future__ import annotations

import logging

from trellis.core.kinds import Flag, Text
from trellis.core.validation import check, knows_former_names
from trellis.launchers.base import Launcher

logger = logging.getLogger(__name__)


class SimpleLauncher(Launcher):
    """Runs the command once, as it is, where the script runs.

    Right for one node, and for commands that spread over the nodes by themselves (``MPIExecutor``).
    """

    same_host = True
    traced = True

    def __call__(self, command: str, tasks_per_node: int, nodes_per_block: int, script_dir: str = "") -> str:
        return command


class WrappedLauncher(Launcher):
    """Runs the command once, behind another one: ``WrappedLauncher("nice -n 10")``.

    Args:
        prepend: Put in front of the command, for example a container run-time.
        debug: Trace the commands on standard error.
    """

    traced = True

    @knows_former_names()
    def __init__(self, prepend: str, debug: bool = True) -> None:
        super().__init__(debug=debug)
        self.prepend: str = check(type(self).__name__, "prepend", prepend, Text())

    def __call__(self, command: str, tasks_per_node: int, nodes_per_block: int, script_dir: str = "") -> str:
        if nodes_per_block > 1 or tasks_per_node > 1:
            logger.warning(
                "WrappedLauncher runs the command once, though there are %d tasks per node and %d nodes per block",
                tasks_per_node,
                nodes_per_block,
            )
        return f"{self.prepend} {command}"


class SingleNodeLauncher(Launcher):
    """Runs all copies of the command side by side where the script runs, and waits for them.

    The copies see ``CORES`` (processors of the host) and ``WORKERCOUNT`` (number of copies) in their environment.
    A SIGTERM or SIGINT of the script goes on to the copies as SIGTERM, and the script ends after them.

    Args:
        debug: Tell on standard error what is started, and which copies failed.
        fail_on_any: The script fails when any copy fails; otherwise only when all of them do.
    """

    same_host = True

    @knows_former_names()
    def __init__(self, debug: bool = True, fail_on_any: bool = False) -> None:
        super().__init__(debug=debug)
        self.fail_on_any: bool = check(type(self).__name__, "fail_on_any", fail_on_any, Flag())

    def __call__(self, command: str, tasks_per_node: int, nodes_per_block: int, script_dir: str = "") -> str:
        copies = tasks_per_node * nodes_per_block
        return _SINGLE_NODE_SCRIPT.format(
            command=command,
            copies=copies,
            fatal=1 if self.fail_on_any else copies,
            say=_SAY if self.debug else "trellis_say() { :; }",
        )


_SAY = 'trellis_say() { echo "SingleNodeLauncher: $*" >&2; }'

# Group $$ exists only when this shell leads it, as it does under batch systems and the LocalProvider. Then what the
# copies have started is signalled too; otherwise the group belongs to somebody else, and only the copies are.
_SINGLE_NODE_SCRIPT = """\
{say}
export CORES=$(getconf _NPROCESSORS_ONLN)
export WORKERCOUNT={copies}
trellis_stop() {{
    trap '' TERM INT
    kill -TERM -- -$$ 2>/dev/null || kill -TERM $(jobs -p) 2>/dev/null
    wait
    exit "$1"
}}
trellis_pids=()
trap 'trellis_stop 143' TERM
trap 'trellis_stop 130' INT
trellis_say "starting $WORKERCOUNT copies on $(uname -n), which has $CORES cores"
for ((trellis_copy = 0; trellis_copy < WORKERCOUNT; trellis_copy++)); do
(
{command}
) &
trellis_pids+=($!)
done
trellis_failed=0
for trellis_pid in "${{trellis_pids[@]}}"; do
    wait "$trellis_pid"
    trellis_code=$?
    if ((trellis_code != 0)); then
        trellis_failed=$((trellis_failed + 1))
        trellis_last_code=$trellis_code
        trellis_say "process $trellis_pid ended with exit code $trellis_code"
    fi
done
if ((trellis_failed >= {fatal})); then
    trellis_say "$trellis_failed of $WORKERCOUNT copies failed"
    exit "$trellis_last_code"
fi
exit 0
"""
