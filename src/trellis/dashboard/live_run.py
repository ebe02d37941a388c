"""What the program of a run says when it is asked by its socket: whether it lives, and why a task does not run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trellis.errors import TrellisError

# Of pages that come anew every few seconds.
_HELLO_S = 0.5
_ANSWER_S = 5.0


def is_alive(rundir: str, run_id: str) -> bool | None:
    """Whether the program of a run is there; None: it cannot be said, as for runs of Parsl."""
    from trellis.watching.find_runs import judge
    from trellis.watching.run_file import read

    try:
        file = read(rundir)
        if file.facts.run_id != run_id:
            return None
        state = judge(file).state
    except (TrellisError, OSError, ValueError):
        return None
    return None if state == "elsewhere" else state not in ("ended", "killed")


def status(rundir: str, run_id: str) -> Mapping[str, Any] | None:
    """What the program says of itself, as ``trellis status --json`` has it; None: it does not answer."""
    from trellis.watching.questions import AskStatus

    return _ask(rundir, run_id, AskStatus(timeout_s=0.5))


def explain(rundir: str, run_id: str, task_id: int) -> Mapping[str, Any] | None:
    """Why a task is where it is, as ``trellis explain --json`` has it; None: it does not answer."""
    from trellis.watching.questions import AskExplain

    return _ask(rundir, run_id, AskExplain(task=task_id, timeout_s=1.0))


def _ask(rundir: str, run_id: str, question: Any) -> Mapping[str, Any] | None:
    from trellis.watching.ask import ask
    from trellis.watching.find_runs import judge
    from trellis.watching.run_file import read

    try:
        file = read(rundir)
        if file.facts.run_id != run_id:
            return None
        answer = ask(judge(file), question, _HELLO_S, _ANSWER_S)
    except (TrellisError, OSError, ValueError):
        return None
    return answer if isinstance(answer, Mapping) else None
