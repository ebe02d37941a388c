"""`trellis status`, `tasks`, `explain`, `cancel`, `blocks` and `runs`: finds the run, asks it, prints the answer."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from trellis.cli.display import StandardOutput, complain
from trellis.cli.record_ends import complete_record
from trellis.cli.runs_view import (
    blocks_view,
    cancellation_view,
    end_view,
    explanation_view,
    runs_view,
    status_line,
    status_view,
    tasks_view,
)
from trellis.errors import TrellisError
from trellis.monitoring.recovery import is_complete
from trellis.watching import find_runs, run_file
from trellis.watching.ask import NoAnswer, QuestionRefused, ask
from trellis.watching.find_runs import FoundRun, NoSuchRun, find, judge, runs_below, runs_of_processes
from trellis.watching.questions import AskCancel, AskExplain, AskStatus, AskTasks, Question
from trellis.watching.snapshot import as_json

FORMAT = 1

# Exit codes.
OK, UNANSWERED, WRONG = 0, 1, 2

# Live runs whose numbers of tasks are asked for in a list.
_ASKED = 20
_LIST_HELLO_S = 0.5


def run(name: str, options: argparse.Namespace) -> int:
    """Run one of the commands; gives the exit code."""
    try:
        return _COMMANDS[name](options)
    except NoAnswer as error:
        return _tell_no_answer(name, error, as_object=options.json)
    except NoSuchRun as error:
        return _complain(name, error, WRONG)
    except (TrellisError, OSError) as error:
        if isinstance(error, BrokenPipeError):  # `| head` has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return OK
        return _complain(name, error, UNANSWERED)


def _complain(name: str, error: Exception, code: int) -> int:
    complain(f"trellis {name}: {error}")
    return code


def _print_object(value: Any, indent: int | None = 1) -> None:
    print(json.dumps({"format": FORMAT, **value}, indent=indent, ensure_ascii=False), flush=True)


def _unanswered(error: NoAnswer) -> dict[str, Any]:
    """What there is to say of a run that does not answer."""
    file = error.run.file
    end = file.end
    return {
        "run": {**as_json(file.facts), "run_dir": os.path.abspath(file.directory)},
        "state": error.state,
        "text": str(error),
        "at": time.time(),
        "ended_at": end.at if end is not None else None,
        "total": end.total if end is not None and end.how == "cleanup" else None,
        "states": dict(end.states) if end is not None else {},
        "apps": as_json(end.apps) if end is not None else [],
        "abandoned": end.abandoned if end is not None else 0,
    }


def _tell_no_answer(name: str, error: NoAnswer, *, as_object: bool) -> int:
    if as_object:
        _print_object(_unanswered(error))
    else:
        complain(f"trellis {name}: {error.run.directory}: {error}")
        if error.state in ("ended", "killed"):
            complain("`trellis status` and `trellis runs` say how it was at its end")
    return UNANSWERED


# -- status ----------------------------------------------------------------------------------------------------


def _status(options: argparse.Namespace) -> int:
    found = find(options.run_named)
    if options.watch is not None:
        return _watch(found, options.watch, as_object=options.json)
    code, status = _status_of(found)
    if options.json:
        _print_object(status)
    else:
        StandardOutput().print(_view(status))
    return code


def _status_of(found: FoundRun) -> tuple[int, dict[str, Any]]:
    try:
        return OK, ask(found, AskStatus())
    except NoAnswer as error:
        return OK if error.state == "ended" else UNANSWERED, _unanswered(error)


def _view(status: dict[str, Any]) -> Any:
    return status_view(status) if "executors" in status else end_view(status)


def _watch(found: FoundRun, every_s: float, *, as_object: bool) -> int:
    display = StandardOutput()
    with display.live() if not as_object and display.is_terminal else _no_screen() as show:
        while True:
            begin = time.monotonic()
            code, status = _status_of(found)
            if as_object:
                _print_object(status, indent=None)
            elif show is not None:
                show(_view(status))
            else:
                print(status_line(status), flush=True)
            if status["state"] in ("ended", "killed", "elsewhere", "private"):
                return code
            _pause(max(0.05, begin + every_s - time.monotonic()))
            found = judge(run_file.read(found.directory))


_pause = time.sleep


class _no_screen:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc: object) -> None:
        return None


# -- the others ------------------------------------------------------------------------------------------------


def _put(options: argparse.Namespace, question: Question, view: Callable[[Any], Any]) -> Any:
    answer = ask(find(options.run_named), question)
    if options.json:
        _print_object(answer)
    else:
        StandardOutput().print(view(answer))
    return answer


def _tasks(options: argparse.Namespace) -> int:
    question = AskTasks(options.state, options.app, options.failed, options.limit or None)
    _put(options, question, tasks_view)
    return OK


def _explain(options: argparse.Namespace) -> int:
    _put(options, AskExplain(options.task), explanation_view)
    return OK


def _cancel(options: argparse.Namespace) -> int:
    if not options.tasks and not options.app:
        complain("trellis cancel: say which: numbers of tasks, or --app APP (see --help)")
        return WRONG
    done = _put(options, AskCancel(options.tasks, options.app or []), cancellation_view)
    return UNANSWERED if done["running"] or done["unknown"] else OK


def _blocks(options: argparse.Namespace) -> int:
    answer = ask(find(options.run_named), AskStatus())
    if options.json:
        _print_object({name: answer[name] for name in ("run", "state", "at", "executors")})
    else:
        StandardOutput().print(blocks_view(answer))
    return OK


def _runs(options: argparse.Namespace) -> int:
    directory = options.directory if options.directory is not None else find_runs.RUN_DIR
    if options.directory is not None and not os.path.isdir(directory):
        raise NoSuchRun(f"there is no directory {directory}")
    damaged: list[str] = []
    runs = runs_below(directory, damaged) if os.path.isdir(directory) else []
    if options.directory is None:
        known = {os.path.realpath(one.directory) for one in runs}
        runs += [one for one in runs_of_processes() if os.path.realpath(one.directory) not in known]
    listed = _statuses(runs)
    if options.json:
        _print_object({"runs": listed})
    elif not listed:
        where = (
            f"below {directory}" if options.directory is not None else f"in ./{directory}, and none goes on elsewhere"
        )
        complain(f"trellis runs: there are no runs {where} (here: {os.getcwd()})")
    else:
        StandardOutput().print(runs_view(listed))
    for words in damaged:
        complain(f"trellis runs: {words}")
    _finish_records(runs)
    return OK


def _finish_records(runs: list[FoundRun]) -> None:
    """Have the rest of killed runs recorded, when what records them was killed as well."""
    for one in runs:
        if one.state == "killed" and not is_complete(one.directory):
            complete_record("trellis runs", one.directory)


def _statuses(runs: list[FoundRun]) -> list[dict[str, Any]]:
    """How each run is; the newest live ones are asked."""
    live = [one for one in runs if one.state == "live"]
    asked = {id(one) for one in live[-_ASKED:]}
    listed = []
    for one in runs:
        try:
            if id(one) not in asked:
                raise NoAnswer(one, one.state, one.text)
            status = ask(one, AskStatus(0.1), hello_s=_LIST_HELLO_S)
            status = {**_unanswered(NoAnswer(one, status["state"], "")), **status}
        except NoAnswer as error:
            status = _unanswered(error)
        except QuestionRefused as error:
            status = _unanswered(NoAnswer(one, "silent", str(error)))
        listed.append({**{name: status[name] for name in _OF_A_RUN}, "directory": one.directory})
    return listed


_OF_A_RUN = ("run", "state", "text", "at", "ended_at", "total", "states")

_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "status": _status,
    "tasks": _tasks,
    "explain": _explain,
    "cancel": _cancel,
    "blocks": _blocks,
    "runs": _runs,
}
