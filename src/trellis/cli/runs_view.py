"""Pictures for the terminal of what runs say of themselves. Takes the answers as they are sent; asks nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from trellis.cli.display import Columns, hanging, indented, lines, plain, styled
from trellis.dataflow.states import FINAL_STATES
from trellis.watching.amounts import ago, count, duration, rate

Answer = Mapping[str, Any]

_FINAL = [state.name for state in FINAL_STATES]
_BAD = ("failed", "dep_fail")
# Managers that a status lists one by one; `trellis blocks` lists all.
_MANAGERS = 8
_ERROR_IN_A_LIST = 200  # characters
_TASKS_IN_A_LIST = 12


def _where(path: str) -> str:
    """A path from here, if that is shorter."""
    try:
        relative = os.path.relpath(path)
    except OSError:
        return path
    return relative if len(relative) < len(path) and not relative.startswith("../..") else path


def _clock(at: float) -> str:
    then = time.localtime(at)
    return time.strftime("%H:%M:%S" if abs(time.time() - at) < 12 * 3600 else "%Y-%m-%d %H:%M", then)


# -- status ----------------------------------------------------------------------------------------------------


def status_view(status: Answer) -> Group:
    """How a run is that has answered."""
    return lines(
        _head(status),
        _progress(status) if status["total"] else Text("no task was submitted yet"),
        _speed(status),
        *_notes(status["notes"]),
        Text(),
        _apps(status["apps"]) if status["apps"] else None,
        Text() if status["apps"] else None,
        *[view for executor in status["executors"] for view in _executor(executor)],
        *_failures(status),
    )


def end_view(status: Answer) -> Group:
    """How a run is that does not answer, or has ended."""
    text = status["text"]
    return lines(
        _head(status),
        _progress(status) if status["total"] else None,
        _abandoned(status["abandoned"]) if status["abandoned"] else None,
        Text(plain(text), "yellow") if text and status["state"] != "ended" else None,
        Text() if status["apps"] else None,
        _apps(status["apps"]) if status["apps"] else None,
    )


def _abandoned(number: int) -> Text:
    return Text(f"{number:,} of the failed ones had not ended when the run did (abandoned)", "yellow")


def status_line(status: Answer) -> str:
    """How a run is, in one line, for logs."""
    words = [time.strftime("%H:%M:%S"), status["state"]]
    if status["total"]:
        done = sum(status["states"].get(state, 0) for state in _FINAL)
        words.append(f"{done:,} of {status['total']:,} tasks")
        words += [f"{status['states'][state]:,} {state}" for state in _BAD if status["states"].get(state)]
    if status.get("rate_per_s") is not None:
        words.append(rate(status["rate_per_s"]))
    if status.get("eta_s") is not None:
        words.append(f"done in about {duration(status['eta_s'])}")
    if status.get("text") and status["state"] != "ended":
        words.append(plain(status["text"]))
    return "  ".join(words)


def _head(status: Answer) -> Text:
    run, state = status["run"], status["state"]
    project = f" ({plain(run['project'])})" if run["project"] else ""
    text = Text.assemble(("run ", "dim"), (_where(run["run_dir"]), "bold"), f"  {plain(run['program'])}{project}")
    text.append(f"  pid {run['pid']} on {run['host']}", "dim")
    text.append("  ").append_text(styled(state))
    if status["ended_at"] is None:
        text.append(f" for {ago(run['started_at'], status['at'])}" if state in ("live", "ending") else "")
    elif state == "killed":
        text.append(f", last sign of life {_clock(status['ended_at'])}")
    else:
        text.append(f" {_clock(status['ended_at'])}, after {ago(run['started_at'], status['ended_at'])}")
    return text


def _progress(status: Answer) -> Table:
    states, total = status["states"], status["total"]
    final = sum(states.get(state, 0) for state in _FINAL)
    grid = Table.grid(padding=(0, 2, 0, 0))
    words = Text(f"{final:,} of {total:,} tasks")
    for state, number in states.items():
        words.append(", ").append_text(Text(f"{number:,} ").append_text(styled(state)))
    grid.add_row(_Bar(final, total, any(states.get(state) for state in _BAD)), words)
    return grid


class _Bar:
    """A bar on a terminal, nothing elsewhere."""

    def __init__(self, done: int, total: int, failed: bool) -> None:
        self._bar = ProgressBar(total=total, completed=done, width=24, finished_style="red" if failed else "green")

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        if console.is_terminal:
            yield from console.render(self._bar, options)
        else:
            yield Text("tasks")

    def __rich_measure__(self, console: Any, options: Any) -> Any:
        from rich.measure import Measurement

        return Measurement(24, 24) if console.is_terminal else Measurement(5, 5)


def _speed(status: Answer) -> Text | None:
    words = []
    if status["rate_per_s"] is not None and status["remaining"]:
        words.append(f"{rate(status['rate_per_s'])} now")
    if status["mean_rate_per_s"]:
        words.append(f"{rate(status['mean_rate_per_s'])} in the mean")
    if status["eta_s"] is not None:
        words.append(f"these tasks are done in about {duration(status['eta_s'])}")
    elif status["remaining"] and status["rate_per_s"] == 0:
        words.append("nothing has ended in the last seconds")
    return Text(", ".join(words), "dim") if words else None


def _apps(apps: Sequence[Answer]) -> Columns:
    used = [state for state in _ALL if any(app["states"].get(state) for app in apps)]
    rows = [
        [
            app["app"],
            f"{app['total']:,}",
            *(
                Text(f"{app['states'][state]:,}", styled(state).style) if app["states"].get(state) else ""
                for state in used
            ),
        ]
        for app in apps
    ]
    return Columns(["app", ">total", *[f">{state}" for state in used]], rows)


_ALL = ["pending", "launched", "running", "joining", "fail_retryable", *_FINAL]


def _executor(executor: Answer) -> Iterator[Any]:
    text = Text.assemble((plain(executor["label"]), "bold"), (f" {plain(executor['kind'])}  ", "dim"))
    managers, blocks = executor["managers"], executor["blocks"]
    busy = sum(manager["busy"] for manager in managers) if managers else executor["running"]
    workers = executor["workers"]
    parts = [count(workers, "worker") if busy is None else f"{busy:,} of {count(workers, 'worker')} busy"]
    tells_more = workers or blocks or executor["error"]
    if not tells_more and (executor["queued"], executor["assigned"], executor["running"]) == (None, None, None):
        parts = ["tells nothing of its workers"]
    parts += [f"{executor[name]:,} {words}" for name, words in _PLACES if executor[name]]
    if managers:
        hosts = len({manager["hostname"] for manager in managers})
        parts.append(f"{count(len(managers), 'manager')} on {count(hosts, 'host')}")
    text.append(", ".join(parts))
    yield text
    if executor["error"]:
        yield hanging("  ", Text(f"cannot work any more: {plain(executor['error'])}", "bold red"))
    if blocks:
        yield _block_counts(blocks, executor["max_blocks"])
    worth_telling = [one for one in blocks if one["reason"] and one["state"] != "RUNNING" and not executor["error"]]
    for block in worth_telling[-_SHOWN_BLOCKS:]:
        job = f" (job {block['job_id']})" if block["job_id"] else ""
        line = Text(f"block {plain(block['block_id'])}{job} ").append_text(styled(block["state"]))
        yield hanging("  ", line.append(f": {plain(block['reason'])}"))
    for manager in [one for one in managers if one["state"] != "active"][:_MANAGERS]:
        yield Text(f"  manager {plain(manager['name'])} on {plain(manager['hostname'])} is ").append_text(
            styled(manager["state"])
        )
    yield from _notes(executor["notes"])


_PLACES = (("queued", "queued"), ("assigned", "at managers"))
_SHOWN_BLOCKS = 3


def _block_counts(blocks: Sequence[Answer], max_blocks: int | None) -> Text:
    counts: dict[str, int] = {}
    for block in blocks:
        counts[block["state"]] = counts.get(block["state"], 0) + 1
    text = Text("  blocks: ")
    for place, (state, number) in enumerate(counts.items()):
        text.append(", " if place else "").append(f"{number} ").append_text(styled(state))
    if max_blocks is not None:
        text.append(f"; at most {max_blocks} at a time", "dim")
    return text


def _notes(notes: Sequence[str]) -> Iterator[Table]:
    for note in notes:
        yield hanging("  ! ", Text(plain(note), "yellow"))


def _failures(status: Answer) -> Iterator[Any]:
    if not status["failures"]:
        return
    yield Text()
    failed = sum(status["states"].get(state, 0) for state in _BAD)
    yield Text("failed", "bold red").append(f"  {count(failed, 'task')}; the last ones:", "dim")
    for task in status["failures"]:
        on = f" on {plain(task['hostname'])}" if task["hostname"] else ""
        yield hanging("  ", Text(f"task {task['task_id']} (app {plain(task['app'])}){on}: {_brief(task['error'])}"))
    yield Text("  more: trellis tasks --failed, trellis explain TASK", "dim")


# -- tasks -----------------------------------------------------------------------------------------------------


def tasks_view(answer: Answer) -> Group:
    tasks = answer["tasks"]
    rows = [
        [
            str(task["task_id"]),
            task["app"],
            styled(task["state"]),
            task["executor"],
            f"{_place(task)}",
            _time(task),
            _about(task),
        ]
        for task in tasks
    ]
    listed = Columns([">task", "app", "state", "executor", "where", ">time", "about"], rows)
    more = answer["total"] - len(tasks)
    hint = f"{count(more, 'more task')} of these: --limit {answer['total']} lists all" if more else None
    return lines(
        listed if tasks else Text("there is no such task now"),
        Text(hint, "dim") if hint else None,
        *_notes(answer["notes"]),
    )


def _place(task: Answer) -> str:
    worker = f" worker {task['worker']}" if task["worker"] is not None and task["hostname"] else ""
    return f"{task['hostname']}{worker}"


def _time(task: Answer) -> str:
    if task["duration_s"] is not None:
        return duration(task["duration_s"])
    if task["ended_at"] is not None:
        return ""
    return ago(task["running_since"] or task["launched_at"] or task["submitted_at"])


def _about(task: Answer) -> str:
    waits = task["waits_for"]
    if waits:
        shown = ", ".join(map(str, waits[:_TASKS_IN_A_LIST]))
        return f"waits for {shown}" + (f" and {len(waits) - _TASKS_IN_A_LIST} more" if waits[_TASKS_IN_A_LIST:] else "")
    if task["error"]:
        attempts = f"attempt {task['attempt']}; before: " if task["state"] in ("launched", "running") else ""
        return f"{attempts}{_brief(task['error'])}"
    return ""


def _brief(error: str) -> str:
    """What a list tells of an error; ``trellis explain`` tells all."""
    text = plain(error)
    return text if len(text) <= _ERROR_IN_A_LIST else f"{text[:_ERROR_IN_A_LIST]}…"


def explanation_view(answer: Answer) -> Group:
    task = answer["task"]
    text = Text.assemble((f"task {task['task_id']}", "bold"), f" (app {plain(task['app'])})  ")
    text.append_text(styled(task["state"]))
    said = plain(answer["text"])
    views: list[Any] = [text, Text(f"{said[:1].upper()}{said[1:]}")]
    told: list[Any] = []
    for wait in answer["waits"]:
        views.append(hanging(f"{'  ' * wait['depth']}- ", Text(plain(wait["text"]))))
        views += _hindrances(wait["standing"], "  " * (wait["depth"] + 1), told)
    if answer["more_waits"]:
        views.append(Text(f"  - and {answer['more_waits']:,} more"))
    views += _hindrances(answer["standing"], "  ", told)
    views += [hanging("  " if note.startswith(" ") else "", Text(plain(note), "dim")) for note in answer["notes"]]
    views += [Text(f"{name}: {task[name]}", "dim") for name in ("stdout", "stderr") if task[name]]
    return lines(*views)


def _hindrances(standing: Answer | None, indent: str, told: list[Any]) -> Iterator[Table]:
    """Each once: tasks of one executor often wait for the same."""
    for one in standing["hindrances"] if standing is not None else ():
        if one not in told:
            told.append(one)
            line = Text.assemble((plain(one["place"]), "bold"), f": {plain(one['reason'])}")
            yield hanging(f"{indent}* ", line.append(f" ({plain(one['until'])})" if one["until"] else "", "dim"))


def cancellation_view(answer: Answer) -> Group:
    def of(name: str, words: str) -> Text | None:
        tasks = answer[name]
        if not tasks:
            return None
        shown = ", ".join(map(str, tasks[:_TASKS_IN_A_LIST])) + (", …" if tasks[_TASKS_IN_A_LIST:] else "")
        return Text(f"{count(len(tasks), 'task')} {words}: {shown}")

    views = [
        of("cancelled", "cancelled"),
        of("running", "cannot be stopped while running"),
        of("final", "had ended before"),
        of("unknown", "not known to this run"),
    ]
    return lines(*views) if any(views) else lines(Text("nothing to cancel: these apps have no task that is not final"))


# -- blocks and runs -------------------------------------------------------------------------------------------


def blocks_view(status: Answer) -> Group:
    views: list[Any] = [_head(status)]
    for executor in status["executors"]:
        views += [Text(), *_executor({**executor, "blocks": [], "managers": executor["managers"]})]
        if executor["blocks"]:
            views.append(indented(_blocks(executor)))
        elif executor["max_blocks"] is None:
            views.append(Text("  has no blocks", "dim"))
        else:
            views.append(Text(f"  has no block now; at most {executor['max_blocks']} at a time", "dim"))
        if executor["managers"]:
            views.append(indented(_managers(executor["managers"])))
    return lines(*views) if status["executors"] else lines(*views, Text("the run has no executor"))


def _blocks(executor: Answer) -> Columns:
    rows = [
        [
            block["block_id"],
            styled(block["state"]),
            str(block["job_id"] or ""),
            f"{block['managers']}",
            ago(block["started_at"]) if block["started_at"] else "",
            block["reason"],
        ]
        for block in executor["blocks"]
    ]
    return Columns(["block", "state", "job", ">managers", ">since", "reason"], rows)


def _managers(managers: Sequence[Answer]) -> Columns:
    rows = [
        [
            one["name"],
            one["hostname"],
            str(one["block_id"]),
            f"{one['busy']}/{one['workers']}",
            str(one["tasks"]),
            styled(one["state"]),
            f"{duration(one['last_heard_s'])} ago" if one["last_heard_s"] is not None else "",
        ]
        for one in managers
    ]
    return Columns(["manager", "host", "block", ">busy", ">tasks", "state", "heard"], rows)


def runs_view(runs: Sequence[Answer]) -> Group:
    rows = []
    for one in runs:
        run, states = one["run"], one["states"]
        bad = sum(states.get(state, 0) for state in _BAD)
        end = one["ended_at"] if one["ended_at"] is not None else one["at"]
        went_on = one["state"] not in ("elsewhere", "private")
        rows.append(
            [
                Text(_where(one["directory"]), "bold"),
                styled(one["state"]),
                run["program"],
                str(run["pid"]),
                run["host"],
                _clock(run["started_at"]),
                duration(end - run["started_at"]) if went_on else "",
                f"{one['total']:,}" if one["total"] is not None else "",
                Text(f"{bad:,}" if bad else "", "bold red"),
            ]
        )
    said = [
        Text(f"  {_where(one['directory'])}: {plain(one['text'])}", "yellow")
        for one in runs
        if one["text"] and one["state"] not in ("ended", "killed")
    ]
    names = ["run", "state", "program", ">pid", "host", "started", ">lasted", ">tasks", ">failed"]
    return lines(Columns(names, rows), *said)
