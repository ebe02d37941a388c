"""A timeline of workers as one self-contained SVG picture. A pure function of the runs: no files, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from trellis.cli.runs import TaskRun, group_by_worker, name_workers

WIDTH = 1200  # all lengths are SVG user units, one CSS pixel at normal size
MARGIN = 24
TINY = 2.0  # narrower rectangles join their neighbours of the same colour
JOINED_MAX = 12.0  # a joined rectangle grows no wider: its tooltip should tell of a moment, not of the whole run
GAP_MAX = 0.5  # idle time that may vanish between joined neighbours; wider gaps stay visible
# Told apart by readers with the common kinds of colour blindness; red is kept for failures.
PALETTE = ("#4269d0", "#efb118", "#3ca951", "#a463f2", "#38b2c8", "#9c6b4e", "#8fa8e8", "#d48fd0", "#7a8a3c")
STYLE = """
  text { font: 12px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #3d4653 }
  .title { font-size: 20px; font-weight: 600; fill: #161b22 }
  .quiet { fill: #6b7582 }
  .end { text-anchor: end } .middle { text-anchor: middle }
  .paper { fill: #ffffff } .idle { fill: #eceff3 }
  .grid { stroke: #d3d9e0; stroke-width: 1 } .task { stroke: #ffffff; stroke-width: .6 }
  .failed { stroke: #d1242f; stroke-width: 2 }
  @media (prefers-color-scheme: dark) {
    text { fill: #c3ccd6 } .title { fill: #f0f3f6 } .quiet { fill: #8b96a3 }
    .paper { fill: #14181d } .idle { fill: #232a32 } .grid { stroke: #39434e } .task { stroke: #14181d }
  }
"""


@dataclass(slots=True)
class Bar:
    """A rectangle: one task, or several tiny ones side by side on one worker. ``left`` and ``right`` in user units."""

    left: float
    right: float
    runs: list[TaskRun]
    busy_s: float

    @property
    def app(self) -> str:
        return self.runs[0].app

    @property
    def failed(self) -> bool:
        return self.runs[0].failed


def render_timeline(
    runs: Sequence[TaskRun], *, title: str, subtitle: str = "", workers: int = 0, started_at: float | None = None
) -> str:
    """The picture as SVG text.

    ``runs`` are sorted by start. ``workers`` is how many workers there were: those that ran nothing get an empty row.
    Time zero is ``started_at``, seconds since the epoch, or else the first start.
    """
    zero = started_at if started_at is not None else min((run.started_at for run in runs), default=0.0)
    span_s = max((run.ended_at - zero for run in runs), default=0.0) or 1.0
    groups = group_by_worker(runs)
    names = name_workers(groups)
    rows = [(names[worker], worker_runs) for worker, worker_runs in groups.items()]
    rows += [("no task", [])] * (workers - len(rows))
    colours = {app: PALETTE[i % len(PALETTE)] for i, app in enumerate(dict.fromkeys(run.app for run in runs))}

    left = MARGIN + 12 + 7 * max((len(name) for name, _ in rows), default=0)
    right = WIDTH - MARGIN - 72
    legend, legend_height = _legend(runs, colours)
    top = 76 + legend_height
    pitch = min(44.0, max(16.0, 400 / max(1, len(rows))))  # few workers: tall rows; many: low ones
    bottom = top + pitch * len(rows)

    parts = [*_axis(left, right, top, bottom, span_s)]
    for i, (name, worker_runs) in enumerate(rows):
        y = top + i * pitch
        parts += _row(name, worker_runs, colours, left, right, y, pitch, zero, span_s)
    height = bottom + 58
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
            f'height="{height:.0f}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            '<rect class="paper" width="100%" height="100%"/>',
            f'<text class="title" x="{MARGIN}" y="36">{escape(title)}</text>',
            f'<text class="quiet" x="{MARGIN}" y="56">{escape(subtitle)}</text>',
            *legend,
            *parts,
            "</svg>\n",
        ]
    )


def join_tiny(runs: Iterable[TaskRun], zero: float, scale: float, left: float) -> list[Bar]:
    """Rectangles of one worker's runs, sorted by start; ``scale`` is user units per second.

    Tiny neighbours of one app and one fate become one rectangle when next to no idle time lies between them.
    """
    bars: list[Bar] = []
    for run in runs:
        x = left + (run.started_at - zero) * scale
        end = x + run.duration_s * scale
        last = bars[-1] if bars else None
        if (
            last
            and (last.app, last.failed) == (run.app, run.failed)
            and end - x < TINY
            and (len(last.runs) > 1 or last.right - last.left < TINY)
            and x - last.right < GAP_MAX
            and end - last.left < JOINED_MAX
        ):
            last.right = max(last.right, end)
            last.runs.append(run)
            last.busy_s += run.duration_s
        else:
            bars.append(Bar(x, end, [run], run.duration_s))
    return bars


def choose_ticks(span_s: float, wanted: int = 10) -> tuple[list[float], float, str]:
    """Round tick positions from 0 to ``span_s`` seconds, and the seconds and name of the unit to write them in."""
    units = ((3600.0, "h", 3 * 3600.0), (60.0, "min", 180.0), (1.0, "s", 0.5), (0.001, "ms", 0.0))
    unit_s, unit, _ = next(u for u in units if span_s >= u[2])
    rough = span_s / unit_s / wanted
    power = 10.0 ** _floor_log10(rough)
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)
    return [i * step * unit_s for i in range(int(span_s / unit_s / step + 1e-9) + 1)], unit_s, unit


def format_seconds(seconds: float) -> str:
    """A duration with about three digits and a unit."""
    if seconds >= 60:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest} s"
    if seconds >= 0.1:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    return f"{seconds * 1000:.1f} ms" if seconds >= 0.0001 else f"{seconds * 1e6:.0f} µs"


def _floor_log10(value: float) -> int:
    return int(f"{value:e}".partition("e")[2])


def _legend(runs: Sequence[TaskRun], colours: dict[str, str]) -> tuple[list[str], float]:
    """Colour, name, number and total time of each app, in as many lines as needed; and the height of the lines."""
    totals: dict[str, tuple[int, float]] = dict.fromkeys(colours, (0, 0.0))
    for run in runs:
        count, busy_s = totals[run.app]
        totals[run.app] = count + 1, busy_s + run.duration_s
    entries = [
        (f'<rect width="12" height="12" rx="2" fill="{colours[app]}"/>', app, f"{n:,} × · {format_seconds(busy_s)}")
        for app, (n, busy_s) in totals.items()
    ]
    if failed := sum(run.failed for run in runs):
        entries.append(('<rect class="failed" width="12" height="12" rx="2" fill="none"/>', "failed", f"{failed:,} ×"))
    entries.append(('<rect class="idle" width="12" height="12" rx="2"/>', "idle", ""))
    parts, x, y = [], float(MARGIN), 76.0
    for swatch, name, detail in entries:
        width = 20 + 7.0 * len(name) + 7.0 * len(detail) + 20
        if x + width > WIDTH - MARGIN and x > MARGIN:
            x, y = float(MARGIN), y + 22
        parts.append(
            f'<g transform="translate({x:.0f} {y:.0f})">{swatch}<text x="18" y="10.5">{escape(name)}'
            f'<tspan class="quiet" dx="6">{escape(detail)}</tspan></text></g>'
        )
        x += width
    return parts, y - 76 + 36


def _axis(left: float, right: float, top: float, bottom: float, span_s: float) -> Iterable[str]:
    ticks, unit_s, unit = choose_ticks(span_s)
    for seconds in ticks:
        x = left + seconds / span_s * (right - left)
        yield f'<path class="grid" d="M{x:.1f} {top - 4:.1f}V{bottom + 6:.1f}"/>'
        yield f'<text class="quiet middle" x="{x:.1f}" y="{bottom + 22:.1f}">{seconds / unit_s:g}</text>'
    centre = (left + right) / 2
    yield f'<text class="quiet middle" x="{centre:.1f}" y="{bottom + 44:.1f}">time since the start, {unit}</text>'
    yield f'<text class="quiet end" x="{right + 68:.1f}" y="{bottom + 22:.1f}">busy</text>'


def _row(
    name: str,
    runs: list[TaskRun],
    colours: dict[str, str],
    left: float,
    right: float,
    y: float,
    pitch: float,
    zero: float,
    span_s: float,
) -> Iterable[str]:
    gap = 2 if pitch < 24 else 6
    scale = (right - left) / span_s
    height, middle = pitch - gap, y + (pitch - gap) / 2 + 4
    yield f'<text class="end" x="{left - 10:.1f}" y="{middle:.1f}">{escape(name)}</text>'
    yield f'<rect class="idle" x="{left:.1f}" y="{y:.1f}" width="{right - left:.1f}" height="{height:.1f}"/>'
    for bar in join_tiny(runs, zero, scale, left):
        width = max(bar.right - bar.left, 0.4)  # the shortest task leaves a hair
        style = ' class="failed"' if bar.failed else ' class="task"' if width > 3 else ""
        # Joined tasks with gaps between them look as pale as the worker was idle.
        dense = bar.busy_s * scale / width if len(bar.runs) > 1 else 1.0
        pale = f' fill-opacity="{max(dense, 0.3):.2f}"' if dense < 0.95 else ""
        yield (
            f'<rect{style} x="{bar.left:.2f}" y="{y:.1f}" width="{width:.2f}" height="{height:.1f}" '
            f'fill="{colours[bar.app]}"{pale}><title>{escape(_tooltip(bar, zero))}</title></rect>'
        )
    busy = sum(run.duration_s for run in runs) / span_s
    yield f'<text class="end" x="{right + 68:.1f}" y="{middle:.1f}">{busy:.0%}</text>'


def _tooltip(bar: Bar, zero: float) -> str:
    first = bar.runs[0]
    begin, end = format_seconds(first.started_at - zero), format_seconds(bar.runs[-1].ended_at - zero)
    failed = ", failed" if bar.failed else ""
    if len(bar.runs) == 1:
        which = f" {first.detail}" if first.detail else f", task {first.task_id}"
        return f"{bar.app}{which}{failed}: {format_seconds(bar.busy_s)}, from {begin} to {end}"
    return f"{len(bar.runs)} × {bar.app}{failed}: {format_seconds(bar.busy_s)} of work, from {begin} to {end}"
