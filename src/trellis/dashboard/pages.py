"""What is on each page: queries of the record, and what a live run says, as values for templates. Writes nothing."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from trellis.dashboard import figures, live_run
from trellis.dashboard.graph import Box, Drawing, draw
from trellis.dashboard.kept import Kept
from trellis.dashboard.words import count, state_words
from trellis.monitoring.queries import (
    pages_apps,
    pages_failures,
    pages_overview,
    pages_places,
    pages_runs,
    pages_stream,
    pages_tasks,
)
from trellis.monitoring.queries.pages_overview import Bins
from trellis.monitoring.queries.pages_runs import RecordedRun
from trellis.monitoring.queries.pages_source import RecordSource
from trellis.monitoring.queries.pages_tasks import TaskDetails, TaskFilter

T = TypeVar("T")

_BINS = 160
# Of a task's output, from its end.
_OUTPUT_BYTES = 6000


class Pages:
    """The pages of one database.

    Args:
        source: The database.
        ask_live: Whether programs of live runs are asked by their sockets; a report does not.
    """

    def __init__(self, source: RecordSource, ask_live: bool = True) -> None:
        self.source = source
        self._ask_live = ask_live
        self._kept = Kept()

    def _get(self, run: RecordedRun, what: str, ask: Callable[[], T], *more: Hashable) -> T:
        return self._kept.get((what, run.run_id, *more), ask, ended=run.completed is not None)

    # -- runs ------------------------------------------------------------------------------------------------

    def runs(self) -> dict[str, Any]:
        found = [self.run(run.run_id) or run for run in self._kept.get("runs", lambda: pages_runs.runs(self.source))]
        return {"runs": found, "counts": self._kept.get("counts", lambda: pages_runs.counts_of_runs(self.source))}

    def run(self, run_id: str) -> RecordedRun | None:
        """A run, and whether its program is there."""

        def look() -> RecordedRun | None:
            found = pages_runs.run(self.source, run_id, alive=False)
            if found is None or found.completed is not None:
                return found
            alive = live_run.is_alive(found.rundir, run_id) if self._ask_live else None
            return pages_runs.run(self.source, run_id, alive)

        return self._kept.get(("run", run_id), look)

    # -- one run ---------------------------------------------------------------------------------------------

    def overview(self, run: RecordedRun) -> dict[str, Any]:
        states = self._get(run, "states", lambda: pages_runs.states_of_tasks(self.source, run.run_id))
        failed = sum(states.get(state, 0) for state in pages_runs.FAILED)
        said = live_run.status(run.rundir, run.run_id) if run.live and self._ask_live else None
        return {
            "states": states,
            "total": sum(states.values()),
            "failed": failed,
            "ended": sum(states.get(state, 0) for state in pages_runs.FINAL),
            "groups": self._failures(run)[:3] if failed else [],
            "nodes": [node for node in self._nodes(run) if node.gone is None] if run.live else self._nodes(run),
            "blocks": self._last_states(run),
            "said": said,
            "sampled": self._get(run, "interval", lambda: pages_overview.sample_interval_s(self.source, run)),
        }

    def apps(self, run: RecordedRun) -> dict[str, Any]:
        return {"apps": self._apps(run)}

    def tasks(self, run: RecordedRun, chosen: TaskFilter) -> dict[str, Any]:
        key = ("tasks", run.run_id, chosen)
        total = self._kept.get((*key, "count"), lambda: pages_tasks.count_tasks(self.source, run, chosen))
        return {
            "chosen": chosen,
            "total": total,
            "pages": max(1, -(-total // chosen.size)),
            "tasks": self._kept.get(key, lambda: pages_tasks.tasks(self.source, run, chosen)),
            "apps": self._app_names(run),
            "states": pages_runs.STATES,
        }

    def task(self, run: RecordedRun, task_id: int) -> dict[str, Any] | None:
        details = pages_tasks.task(self.source, run, task_id)
        if details is None:
            return None
        explained = None
        if run.live and self._ask_live and details.state not in pages_runs.FINAL:
            explained = live_run.explain(run.rundir, run.run_id, task_id)
        return {
            "task": details,
            "explained": explained,
            "outputs": self._outputs(details),
            "drawing_": self._neighbourhood(run, details),
        }

    def failures(self, run: RecordedRun) -> dict[str, Any]:
        return {"groups": self._failures(run)}

    def places(self, run: RecordedRun) -> dict[str, Any]:
        work = self._get(run, "work", lambda: pages_places.host_work(self.source, run))
        return {
            "nodes": self._nodes(run),
            "work": work,
            "blocks": self._last_states(run),
            "reasons": pages_places.block_reasons(self.source, run),
        }

    def graph(self, run: RecordedRun) -> dict[str, Any]:
        edges = self._get(run, "graph", lambda: pages_apps.app_graph(self.source, run))
        apps = {app.app: app for app in self._apps(run)}
        colours = figures.app_colours(list(apps))
        itself = {edge.before: edge.number for edge in edges if edge.before == edge.after}
        nodes = [
            Box(
                name,
                name,
                f"{count(app.tasks)} tasks" + (f", {count(app.failed)} failed" if app.failed else ""),
                f"tasks?app={quote(name, safe='')}",
                colours[name].lstrip("@"),
                bool(app.failed),
            )
            for name, app in apps.items()
        ]
        drawing = draw(nodes, {(edge.before, edge.after): edge.number for edge in edges})
        return {"edges": edges, "drawing_": drawing, "itself": itself}

    def files(self, run: RecordedRun) -> dict[str, Any]:
        return {
            "files": self._get(run, "files", lambda: pages_places.files(self.source, run)),
            "workers": self._get(run, "worker files", lambda: pages_places.worker_files(self.source, run)),
        }

    # -- charts ----------------------------------------------------------------------------------------------

    def figure(self, run: RecordedRun, name: str, query: Mapping[str, str]) -> figures.Figure | None:
        """A chart by its name; None: there is none of that name."""
        makers: dict[str, Callable[[], figures.Figure]] = {
            "states": lambda: self._states(run),
            "rate": lambda: self._rate(run),
            "busy": lambda: self._busy(run),
            "cores": lambda: self._usage(run, 0),
            "memory": lambda: self._usage(run, 1),
            "blocks": lambda: figures.blocks(self._block_states(run), run),
            "durations": lambda: figures.durations(self._apps(run)),
        }
        if name in makers:
            return self._get(run, f"figure {name}", makers[name])
        if name == "stream":
            start, stop = _number(query.get("from")), _number(query.get("to"))
            return self._get(run, "stream", lambda: self._stream(run, start, stop), start, stop)
        if name == "samples" and (task_id := query.get("task", "")).isdigit():
            details = pages_tasks.task(self.source, run, int(task_id))
            return figures.samples(details.samples) if details is not None else None
        return None

    def _states(self, run: RecordedRun) -> figures.Figure:
        bins = Bins.of(run, _BINS)
        return figures.states(bins, pages_overview.states_over_time(self.source, run, bins), run)

    def _rate(self, run: RecordedRun) -> figures.Figure:
        bins = Bins.of(run, _BINS // 2)
        return figures.rate(bins, pages_overview.ended_per_bin(self.source, run, bins))

    def _busy(self, run: RecordedRun) -> figures.Figure:
        bins = Bins.of(run, _BINS)
        by_app = {key[0]: values for key, values in pages_overview.busy(self.source, run, bins).items()}
        workers = pages_overview.workers_over_time(self._nodes(run), run, bins)
        return figures.workers_busy(bins, by_app, workers, self._app_names(run, by_app))

    def _usage(self, run: RecordedRun, which: int) -> figures.Figure:
        interval = pages_overview.sample_interval_s(self.source, run) or 0.0
        bins = Bins.of(run, _BINS, least_s=interval)
        used = self._get(run, "usage", lambda: pages_overview.usage_over_time(self.source, run, bins), bins)[which]
        nodes = self._nodes(run)
        if which == 0:
            return figures.against(bins, used, pages_overview.cores_over_time(nodes, run, bins), "cores", False)
        return figures.against(bins, used, pages_overview.memory_over_time(nodes, run, bins), "bytes", True)

    def _stream(self, run: RecordedRun, start: float | None, stop: float | None) -> figures.Figure:
        found = pages_stream.stream(self.source, run, start, stop)
        names = {app for app, _ in found.cells} | {bar.app for bar in found.bars}
        return figures.stream(found, self._app_names(run, names), run)

    # -- shared by pages -------------------------------------------------------------------------------------

    def _app_names(self, run: RecordedRun, more: Any = ()) -> list[str]:
        """Names of apps, in an order that does not change while a run goes on: that of their first tasks."""
        found = self._get(run, "app names", lambda: pages_apps.app_names(self.source, run))
        return [*found, *sorted(set(more) - set(found))]

    def _apps(self, run: RecordedRun) -> list[pages_apps.AppSummary]:
        found = self._get(run, "apps", lambda: pages_apps.apps(self.source, run))
        order = self._app_names(run)
        return sorted(found, key=lambda app: (order.index(app.app) if app.app in order else len(order), app.app))

    def _failures(self, run: RecordedRun) -> list[pages_failures.RecordedFailures]:
        return self._get(run, "failures", lambda: pages_failures.failures(self.source, run))

    def _nodes(self, run: RecordedRun) -> list[pages_overview.NodeLife]:
        return self._get(run, "nodes", lambda: pages_overview.nodes(self.source, run))

    def _block_states(self, run: RecordedRun) -> list[pages_overview.BlockState]:
        return self._get(run, "blocks", lambda: pages_overview.block_states(self.source, run))

    def _last_states(self, run: RecordedRun) -> list[pages_overview.BlockState]:
        last = {(change.executor, change.block_id): change for change in self._block_states(run)}
        return list(last.values())

    def _outputs(self, details: TaskDetails) -> list[tuple[str, str, str]]:
        """Files of output that are named, for each: what it is, its path, and its end."""
        found = []
        for name in ("task_stdout", "task_stderr"):
            path = str(details.columns[name] or "")
            if path and path != "None":
                found.append((name.removeprefix("task_"), path, tail(Path(path)) if self._ask_live else ""))
        return found

    def _neighbourhood(self, run: RecordedRun, details: TaskDetails) -> Drawing | None:
        """A task with what it needs, and what needs it."""
        if not details.needs and not details.needed_by:
            return None
        key = str(details.task_id)
        before, after = details.needs[:12], details.needed_by[:12]
        nodes = [
            Box(
                key,
                f"{details.app} {key}",
                state_words(details.state),
                "",
                details.state,
                details.state in pages_runs.FAILED,
            )
        ]
        nodes += [
            Box(str(one.task_id), f"{one.app} {one.task_id}", state_words(one.state), f"{one.task_id}", one.state)
            for one in [*before, *after]
        ]
        edges = {(str(one.task_id), key): 1 for one in before} | {(key, str(one.task_id)): 1 for one in after}
        return draw(nodes, edges)


def _number(text: str | None) -> float | None:
    """Milliseconds since 1970, as the script of the page has them, in seconds."""
    try:
        value = float(text) / 1000 if text else None
    except ValueError:
        return None
    return value if value is not None and abs(value) < 1e11 else None


def tail(path: Path, most: int = _OUTPUT_BYTES) -> str:
    """The end of a text file; why not, if it cannot be read. Only plain files are read, and none is waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        with open(descriptor, "rb") as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                return "(this is no plain file)"
            file.seek(max(facts.st_size - most, 0))
            text = file.read(most).decode(errors="replace")
    except (OSError, ValueError) as error:
        return f"(cannot be read here: {getattr(error, 'strerror', None) or error})"
    if facts.st_size > most:
        text = f"… {text.partition(chr(10))[2] or text}"
    return text if text else "(empty)"
