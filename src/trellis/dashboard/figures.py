"""The charts: plain values for plotly's script, each with a sentence and a table that say the same. Pure.

Colours are names, such as ``@running`` or ``@app3``, which the page's script looks up in the style sheet: so a chart
follows light and dark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trellis.dashboard.words import count, duration, moment, size, state_words
from trellis.monitoring.queries.pages_apps import AppSummary
from trellis.monitoring.queries.pages_overview import Bins, BlockState, Series
from trellis.monitoring.queries.pages_runs import RecordedRun
from trellis.monitoring.queries.pages_source import to_time
from trellis.monitoring.queries.pages_stream import TaskStream

Figure = dict[str, Any]

# Colours of apps in the style sheet; what comes after these shares the last one.
APP_COLOURS = 10
_STACK = ("exec_done", "memo_done", "cancelled", "failed", "dep_fail", "running", "joining", "launched", "pending")
# Rows of the tables under charts: a listener needs the course, not each bin.
_TABLE_ROWS = 24
_SHADES = 8


def stamp(seconds: float) -> str:
    return to_time(seconds).isoformat(sep=" ", timespec="milliseconds")


def app_colours(apps: Sequence[str]) -> dict[str, str]:
    """Colours by app, in the order of ``apps``."""
    return {app: f"@app{min(index, APP_COLOURS - 1)}" for index, app in enumerate(apps)}


def _figure(
    data: Sequence[Any], summary: str, head: Sequence[str] = (), rows: Sequence[Sequence[str]] = (), **layout: Any
) -> Figure:
    return {
        "data": list(data),
        "layout": layout,
        "summary": summary,
        "head": list(head),
        "rows": [list(r) for r in rows],
    }


def _table(bins: Bins, series: Mapping[str, Series], form: Any = count) -> list[list[str]]:
    step = max(1, -(-bins.number // _TABLE_ROWS))
    picked = list(range(step - 1, bins.number, step))
    if not picked or picked[-1] != bins.number - 1:
        picked.append(bins.number - 1)
    return [[moment(bins.ends[n]), *(form(values[n]) for values in series.values())] for n in picked]


def _rounded(values: Series, digits: int = 2) -> Series:
    return [round(value, digits) for value in values]


def states(bins: Bins, series: Mapping[str, Series], run: RecordedRun) -> Figure:
    """Tasks by state over time."""
    there = {state: series[state] for state in _STACK if any(series.get(state, ()))}
    times = [stamp(at) for at in [bins.start, *bins.ends]]
    data = [
        {
            "type": "scatter", "mode": "lines", "stackgroup": "one", "name": state_words(state), "x": times,
            "y": [0, *_rounded(values, 0)], "line": {"width": 0, "shape": "linear"}, "fillcolor": f"@{state}",
            "hovertemplate": "%{y:,} " + state_words(state) + "<extra></extra>",
        }
        for state, values in there.items()
    ]  # fmt: skip
    when = "Now" if run.live else "At the end"
    last = ", ".join(f"{count(values[-1])} {state_words(state)}" for state, values in there.items() if values[-1])
    return _figure(
        data, f"{when}: {last or 'no tasks'}.", ["until", *map(state_words, there)], _table(bins, there),
        yaxis={"title": {"text": "tasks"}, "rangemode": "tozero"}, hovermode="x unified",
    )  # fmt: skip


def rate(bins: Bins, ended: Series) -> Figure:
    """Tasks that became final per second."""
    per_s = [number / bins.width for number in ended]
    total = sum(ended)
    data = [
        {
            "type": "bar", "x": [stamp(at) for at in bins.middles], "y": _rounded(per_s, 4), "name": "per second",
            "marker": {"color": "@accent"}, "hovertemplate": "%{y:.3~s} tasks/s<extra></extra>",
            "width": [bins.width * 1000] * bins.number,
        }
    ]  # fmt: skip
    text = f"{count(total)} tasks ended in {duration(bins.width * bins.number)}"
    best = f"; at most {max(per_s):.3g} per second, over {duration(bins.width)}" if total else ""
    return _figure(
        data, f"{text}{best}.", ["until", "tasks per second"], _table(bins, {"": per_s}, lambda v: f"{v:.3g}"),
        yaxis={"title": {"text": "tasks/s"}, "rangemode": "tozero"}, bargap=0,
    )  # fmt: skip


def workers_busy(
    bins: Bins, by_app: Mapping[str, Series], workers: Series, apps: Sequence[str], run: RecordedRun | None = None
) -> Figure:
    """Attempts that ran, by app, against the workers that there were."""
    colours = app_colours(apps)
    times = [stamp(at) for at in bins.middles]
    data: list[dict[str, Any]] = [
        {
            "type": "scatter", "mode": "lines", "stackgroup": "one", "name": app,
            "x": times, "y": _rounded(by_app[app]),
            "line": {"width": 0, "shape": "hvh"}, "fillcolor": colours[app],
            "hovertemplate": "%{y:.3~g} %{fullData.name}<extra></extra>",
        }
        for app in sorted(by_app, key=list(colours).index)
    ]  # fmt: skip
    total = [sum(values[n] for values in by_app.values()) for n in range(bins.number)]
    sentence = f"{_mean(total):.3g} tasks ran at a time, on average"
    rows = {"busy": total}
    if any(workers):
        data.append(
            {
                "type": "scatter", "mode": "lines", "name": "workers there", "x": times, "y": _rounded(workers),
                "line": {"width": 1.5, "dash": "dot", "color": "@ink", "shape": "hvh"},
                "hovertemplate": "%{y:.3~g} workers there<extra></extra>",
            }
        )  # fmt: skip
        rows["workers there"] = workers
        sentence += f", of {max(workers):.3g} workers at most: {100 * sum(total) / max(sum(workers), 1e-9):.0f} % busy"
    return _figure(
        data, f"{sentence}.", ["until", *rows], _table(bins, rows, lambda value: f"{value:.3g}"),
        yaxis={"title": {"text": "workers"}, "rangemode": "tozero"}, hovermode="x unified",
    )  # fmt: skip


def against(bins: Bins, used: Series, there: Series, what: str, is_size: bool) -> Figure:
    """What tasks used of cores or memory, against what was allocated."""
    form = size if is_size else (lambda value: f"{value:.3g}")
    times = [stamp(at) for at in bins.middles]
    hover = "%{customdata}<extra></extra>"
    data: list[dict[str, Any]] = [
        {
            "type": "scatter", "mode": "lines", "fill": "tozeroy", "name": "used by tasks", "x": times,
            "y": _rounded(used), "line": {"width": 1.5, "color": "@accent"}, "fillcolor": "@accentsoft",
            "customdata": [f"{form(value)} used" for value in used], "hovertemplate": hover,
        }
    ]  # fmt: skip
    if any(there):
        data.append(
            {
                "type": "scatter", "mode": "lines", "name": "of the nodes", "x": times, "y": _rounded(there),
                "line": {"width": 1.5, "dash": "dot", "color": "@ink", "shape": "hvh"},
                "customdata": [f"{form(value)} there" for value in there], "hovertemplate": hover,
            }
        )  # fmt: skip
    peak = f"At most {form(max(used, default=0.0))} in use"
    peak += f", of {form(max(there))} on the nodes" if any(there) else ""
    axis: dict[str, Any] = {"title": {"text": what}, "rangemode": "tozero"}
    if is_size:
        axis["tickformat"] = ".2~s"
    return _figure(
        data, f"{peak}.", ["until", "used", "of the nodes"], _table(bins, {"u": used, "t": there}, form), yaxis=axis,
        hovermode="x unified",
    )  # fmt: skip


def blocks(changes: Sequence[BlockState], run: RecordedRun) -> Figure:
    """States of blocks over time."""
    spans: dict[str, list[tuple[str, float, float]]] = {}
    rows = []
    for change, following in zip(changes, [*changes[1:], None], strict=True):
        same = following is not None and (following.executor, following.block_id) == (change.executor, change.block_id)
        over = change.state in ("SCALED_IN", "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "MISSING")
        end = following.at if same and following is not None else (change.at if over else run.until)
        name = f"{change.executor} block {change.block_id}"
        rows.append([name, change.state, moment(change.at), change.job_id])
        if change.state in ("PENDING", "RUNNING", "HELD"):
            spans.setdefault(change.state, []).append((name, change.at, max(end, change.at)))
        elif change.state in ("FAILED", "TIMEOUT", "MISSING"):
            spans.setdefault(change.state, []).append((name, change.at, change.at + run.seconds / 100))
    colours = {"PENDING": "@launched", "RUNNING": "@running", "HELD": "@dep_fail"}
    data = [
        {
            "type": "bar", "orientation": "h", "name": state.lower(), "y": [name for name, _, _ in parts],
            "base": [stamp(start) for _, start, _ in parts], "x": [1000 * (end - start) for _, start, end in parts],
            "marker": {"color": colours.get(state, "@failed")},
            "customdata": [f"{state.lower()} for {duration(end - start)}" for _, start, end in parts],
            "hovertemplate": "%{y}: %{customdata}<extra></extra>",
        }
        for state, parts in spans.items()
    ]  # fmt: skip
    names = sorted({name for parts in spans.values() for name, _, _ in parts}, key=_natural)
    return _figure(
        data, f"{len(names)} block{'s' if len(names) != 1 else ''}.", ["block", "state", "since", "job"], rows[:200],
        barmode="overlay", xaxis={"type": "date"}, height=90 + 24 * min(max(len(names), 2), 40),
        yaxis={"type": "category", "categoryorder": "array", "categoryarray": names[::-1], "automargin": True},
    )  # fmt: skip


def durations(apps: Sequence[AppSummary]) -> Figure:
    """How long attempts of each app took: boxes from 25 to 75 %, lines from 5 to 95 %."""
    ran = [app for app in apps if app.attempts][:30]
    colours = app_colours([app.app for app in apps])
    data = [
        {
            "type": "box", "orientation": "h", "name": app.app, "y": [app.app],
            "q1": [max(app.quantile_s(0.25) or 0, 1e-4)], "median": [max(app.quantile_s(0.5) or 0, 1e-4)],
            "q3": [max(app.quantile_s(0.75) or 0, 1e-4)], "lowerfence": [max(app.quantile_s(0.05) or 0, 1e-4)],
            "upperfence": [max(app.quantile_s(0.95) or 0, 1e-4)], "fillcolor": colours[app.app],
            "line": {"color": "@ink", "width": 1}, "hoverinfo": "x", "showlegend": False,
        }
        for app in ran
    ]  # fmt: skip
    return _figure(
        data, "Half of the attempts lie in the boxes, nine of ten within the lines; times from a histogram.",
        height=110 + 34 * max(len(ran), 1), xaxis={"type": "log", "title": {"text": "seconds"}},
        yaxis={"automargin": True, "categoryorder": "array", "categoryarray": [app.app for app in ran][::-1]},
    )  # fmt: skip


def stream(found: TaskStream, apps: Sequence[str], run: RecordedRun) -> Figure:
    """Workers over time: bars of single attempts, or hosts with what ran most of each bin."""
    span = {"type": "date", "range": [stamp(found.start), stamp(found.stop)]}
    if found.bins is None:
        made = _bars(found, apps, span)
    else:
        made = _cells(found, found.bins, apps, span)
    return {**made, "whole": [stamp(run.began), stamp(run.until)]}


def _bars(found: TaskStream, apps: Sequence[str], span: Mapping[str, Any]) -> Figure:
    colours = app_colours(apps)
    lanes = sorted(set(found.lanes), key=_natural)
    data: list[dict[str, Any]] = []
    for app in [app for app in apps if any(bar.app == app for bar in found.bars)]:
        chosen = [(bar, lane) for bar, lane in zip(found.bars, found.lanes, strict=True) if bar.app == app]
        data.append(
            {
                "type": "bar", "orientation": "h", "name": app, "y": [lane for _, lane in chosen],
                "base": [stamp(bar.begun) for bar, _ in chosen],
                "x": [max(1000 * (bar.ended - bar.begun), 0.1) for bar, _ in chosen],
                "marker": {
                    "color": colours[app],
                    "line": {"width": [2 if bar.failed else 0 for bar, _ in chosen],
                             "color": ["@failed" if bar.failed else "@paper" for bar, _ in chosen]},
                    "pattern": {"shape": ["x" if bar.failed else "" for bar, _ in chosen], "fgcolor": "@failed",
                                "size": 6, "fillmode": "overlay"},
                },
                "customdata": [
                    [bar.task_id, f"task {bar.task_id}, attempt {bar.try_id + 1}: {duration(bar.ended - bar.begun)}"
                     + (" so far" if bar.running else "") + (", failed" if bar.failed else "")]
                    for bar, _ in chosen
                ],
                "hovertemplate": "%{fullData.name} %{customdata[1]}<br>%{y}<extra></extra>",
            }
        )  # fmt: skip
    longest = sorted(found.bars, key=lambda bar: bar.begun - bar.ended)[:_TABLE_ROWS]
    rows = [[str(b.task_id), b.app, b.host, moment(b.begun), duration(b.ended - b.begun), "failed" if b.failed else ""]
            for b in longest]  # fmt: skip
    return _figure(
        data, f"{count(found.attempts)} attempts on {len(lanes)} workers. Choose a bar to see its task.",
        ["task", "app", "host", "begun", "took", ""], rows,
        barmode="overlay", xaxis=span, height=120 + min(max(len(lanes) * 16, 80), 1600), bargap=0.12,
        yaxis={"type": "category", "categoryorder": "array", "categoryarray": lanes[::-1], "automargin": True},
    )  # fmt: skip


def _cells(found: TaskStream, bins: Bins, apps: Sequence[str], span: Mapping[str, Any]) -> Figure:
    """A heat map: the colour is that of the app that ran most, and the fuller, the nearer to the host's most."""
    hosts = sorted({host for _, host in found.cells}, key=_natural)
    shown = [app for app in apps if any(app == name for name, _ in found.cells)][:APP_COLOURS]
    index = {app: number for number, app in enumerate(shown)}
    values: list[list[float | None]] = []
    texts: list[list[str]] = []
    for host in hosts:
        mine = {app: series for (app, where), series in found.cells.items() if where == host}
        total = [sum(series[n] for series in mine.values()) for n in range(bins.number)]
        best = max(total) or 1.0
        line: list[float | None] = []
        words: list[str] = []
        for n in range(bins.number):
            top = max(mine, key=lambda app: mine[app][n])
            if total[n] < 1e-6:
                line.append(None)
                words.append("")
                continue
            shade = min(int(total[n] / best * _SHADES), _SHADES - 1)
            line.append(index.get(top, len(shown) - 1) * _SHADES + shade + 0.5)
            words.append(f"{total[n]:.3g} at a time, most of {top}")
        values.append(line)
        texts.append(words)
    levels = max(len(shown), 1) * _SHADES
    scale: list[list[Any]] = []
    for level in range(levels):
        colour = f"@app{level // _SHADES}/{(level % _SHADES + 1) / _SHADES:.2f}"
        scale += [[level / levels, colour], [(level + 1) / levels, colour]]
    data: list[dict[str, Any]] = [
        {
            "type": "heatmap", "x": [stamp(at) for at in bins.middles], "y": hosts, "z": values, "text": texts,
            "zmin": 0, "zmax": levels, "colorscale": scale, "showscale": False, "ygap": 2, "hoverongaps": False,
            "hovertemplate": "%{y}: %{text}<extra></extra>",
        }
    ]  # fmt: skip
    data += [
        {"type": "scatter", "mode": "markers", "x": [None], "y": [None], "name": app, "showlegend": True,
         "marker": {"symbol": "square", "size": 11, "color": f"@app{number}"}}
        for app, number in index.items()
    ]  # fmt: skip
    sums = {host: sum(sum(series) for (_, where), series in found.cells.items() if where == host) for host in hosts}
    rows = [[host, f"{sums[host] / bins.number:.3g}"] for host in hosts]
    return _figure(
        data,
        f"{count(found.attempts)} attempts on {len(hosts)} hosts, in steps of {duration(bins.width)}. Zoom in, by "
        "dragging or with the buttons, to see single tasks.",
        ["host", "tasks at a time, on average"], rows,
        xaxis=span, height=130 + min(max(len(hosts) * 22, 60), 1400),
        yaxis={"type": "category", "categoryorder": "array", "categoryarray": hosts[::-1], "automargin": True},
    )  # fmt: skip


def samples(found: Sequence[tuple[int, float, float, float]]) -> Figure:
    """Memory of one task's attempts over time, and the cores it used."""
    data: list[dict[str, Any]] = []
    for attempt in sorted({sample[0] for sample in found}):
        mine = [sample for sample in found if sample[0] == attempt]
        data.append(
            {
                "type": "scatter", "mode": "lines+markers", "name": f"memory, attempt {attempt + 1}",
                "x": [stamp(at) for _, at, _, _ in mine], "y": [memory for *_, memory in mine],
                "line": {"color": "@accent"}, "hovertemplate": "%{y:.3~s}B<extra></extra>",
            }
        )  # fmt: skip
    rows = [[str(attempt + 1), moment(at), f"{cpu:.3g}", size(memory)] for attempt, at, cpu, memory in found[:100]]
    peak = max((memory for *_, memory in found), default=0.0)
    return _figure(
        data, f"At most {size(peak)} of memory.", ["attempt", "at", "CPU seconds", "memory"], rows,
        yaxis={"title": {"text": "bytes"}, "rangemode": "tozero", "tickformat": ".2~s"}, height=240,
    )  # fmt: skip


def _mean(values: Series) -> float:
    return sum(values) / len(values) if values else 0.0


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sorts node 10 after node 9."""
    pieces, digits = [], ""
    for letter in f"{name}\0":
        if letter.isdigit() and letter.isascii():
            digits += letter
            continue
        if digits:
            pieces.append((0, int(digits), ""))
            digits = ""
        pieces.append((1, 0, letter))
    return pieces
