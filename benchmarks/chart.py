"""The figures as one self-contained SVG picture: bars of all systems, a panel for each figure. A pure function."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from benchmarks.figures import FIGURES
from benchmarks.report import TITLES, Report, Spread
from benchmarks.tables import number

# All lengths are SVG user units, one CSS pixel at normal size.
WIDTH = 1200
MARGIN = 32
TOP = 98.0  # of the first panels
GAP = 56  # between the two columns of panels
NAME_WIDTH = 158
VALUE_WIDTH = 74
PITCH = 25
BAR = 16
HEAD = 50  # of a panel: title and what it means
FOOT = 36  # the axis, and air
# Where the largest value is so many times the smallest, bars grow with the logarithm.
LOG_FROM = 12.0

_FOOTNOTE = "Two workers each. Bars: medians; thin lines: lowest to highest of all runs."

STYLE = """
  text { font: 13px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #3d4653 }
  .title { font-size: 24px; font-weight: 650; fill: #161b22 }
  .panel { font-size: 16px; font-weight: 600; fill: #161b22 }
  .quiet { fill: #6b7582 } .small { font-size: 11px } .end { text-anchor: end } .middle { text-anchor: middle }
  .own { font-weight: 600; fill: #161b22 }
  .paper { fill: #ffffff } .grid { stroke: #e4e8ed; stroke-width: 1 }
  .value { paint-order: stroke; stroke: #ffffff; stroke-width: 4 }
  .main { fill: #2f6fdb } .variant { fill: #9dbff2 } .peer { fill: #c3cad3 }
  .spread { stroke: #161b22; stroke-width: 1.2; opacity: .55 }
  @media (prefers-color-scheme: dark) {
    text { fill: #c3ccd6 } .title, .panel, .own { fill: #f0f3f6 } .quiet { fill: #8b96a3 }
    .paper { fill: #14181d } .grid { stroke: #2a323b }
    .value { stroke: #14181d }
    .main { fill: #5b96f5 } .variant { fill: #34548a } .peer { fill: #4a5563 } .spread { stroke: #f0f3f6 }
  }
"""


class Panel(NamedTuple):
    figure: str
    title: str
    note: str


# From top to bottom; the columns come out about equally long.
COLUMNS = (
    (
        Panel("noop_per_s", "Tasks that do nothing", "tasks per second, all submitted at once"),
        Panel("args_100kB_per_s", "Arguments of 100 kB", "tasks per second"),
        Panel("chain_per_s", "Chain", "tasks per second, each takes the result of the one before"),
        Panel("commands_per_s", "Bash apps", "commands `true` per second, beside two processes that do nothing else"),
    ),
    (
        Panel("latency_p50_ms", "Round trip", "milliseconds from submission to result, one task at a time, median"),
        Panel("args_1MB_mb_per_s", "Arguments of 1 MB", "megabytes per second"),
        Panel("first_result_s", "Start", "seconds from the first line of the program to the first result"),
    ),
)


def render(report: Report) -> str:
    """The picture as SVG text; panels without figures are left out."""
    width = (WIDTH - 2 * MARGIN - GAP) / 2
    parts: list[str] = []
    bottoms = [TOP]
    for column, panels in enumerate(COLUMNS):
        y = TOP
        for panel in panels:
            bars = _bars(panel.figure, report)
            if bars:
                parts += _panel(panel, bars, MARGIN + column * (width + GAP), y, width)
                y += HEAD + PITCH * len(bars) + FOOT
        bottoms.append(y)
    height = max(bottoms) + 18
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
            f'height="{height:.0f}" role="img">',
            "<title>Trellis beside its peers</title>",
            f"<style>{STYLE}</style>",
            '<rect class="paper" width="100%" height="100%"/>',
            f'<text class="title" x="{MARGIN}" y="46">Trellis beside its peers</text>',
            f'<text class="quiet" x="{MARGIN}" y="70">{escape(report.headline)}</text>',
            *parts,
            f'<text class="quiet small" x="{MARGIN}" y="{height - 14:.0f}">{_FOOTNOTE}</text>',
            "</svg>\n",
        ]
    )


def _bars(figure: str, report: Report) -> list[tuple[str, Spread]]:
    """The systems that have the figure, best first."""
    found = [(name, spreads[figure]) for name, spreads in report.summary.items() if figure in spreads]
    return sorted(found, key=lambda item: item[1].median, reverse=FIGURES[figure].more_is_better)


def _panel(panel: Panel, bars: Sequence[tuple[str, Spread]], left: float, top: float, width: float) -> list[str]:
    figure = FIGURES[panel.figure]
    scale = Scale.of([spread.median for _, spread in bars], left + NAME_WIDTH, left + width - VALUE_WIDTH)
    better = "more is better" if figure.more_is_better else "less is better"
    note = f"{panel.note}; {better}" + ("; logarithmic" if scale.logarithmic else "")
    bottom = top + HEAD + PITCH * len(bars)
    parts = [
        f'<text class="panel" x="{left:.1f}" y="{top + 14:.1f}">{escape(panel.title)}</text>',
        f'<text class="quiet small" x="{left:.1f}" y="{top + 32:.1f}">{escape(note)}</text>',
    ]
    for tick in scale.ticks():
        x = scale.x(tick)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top + HEAD - 5:.1f}" y2="{bottom:.1f}"/>')
        parts.append(f'<text class="quiet small middle" x="{x:.1f}" y="{bottom + 14:.1f}">{_tick(tick)}</text>')
    for i, (name, spread) in enumerate(bars):
        parts += _bar(name, spread, scale, left, top + HEAD + i * PITCH, figure.digits)
    return parts


def _bar(name: str, spread: Spread, scale: Scale, left: float, y: float, digits: int) -> list[str]:
    kind = "main" if name == "trellis" else "variant" if name.startswith("trellis") else "peer"
    own = " own" if kind == "main" else ""
    middle = y + BAR / 2
    end, low, high = (scale.x(value) for value in spread)
    parts = [
        f'<text class="end{own}" x="{left + NAME_WIDTH - 10:.1f}" y="{middle + 4.5:.1f}">{escape(TITLES[name])}</text>',
        f'<rect class="{kind}" x="{scale.left:.1f}" y="{y:.1f}" width="{max(1.5, end - scale.left):.1f}" '
        f'height="{BAR}" rx="2"/>',
    ]
    if high - low > 1:
        parts.append(f'<line class="spread" x1="{low:.1f}" x2="{high:.1f}" y1="{middle:.1f}" y2="{middle:.1f}"/>')
    parts.append(
        f'<text class="value{own}" x="{max(end, high) + 7:.1f}" y="{middle + 4.5:.1f}">'
        f"{_significant(spread.median, digits)}</text>"
    )
    return parts


class Scale(NamedTuple):
    """From values to lengths between ``left`` and ``right``; the lowest value is 0 unless it is logarithmic."""

    lowest: float
    highest: float
    left: float
    right: float
    logarithmic: bool

    @classmethod
    def of(cls, values: Sequence[float], left: float, right: float) -> Scale:
        low, high = min(values), max(values)
        if low > 0 and high / low >= LOG_FROM:
            # A decade's half below the smallest, so that its bar is still to be seen.
            return cls(10 ** math.floor(math.log10(low / 1.5)), high, left, right, True)
        return cls(0.0, high or 1.0, left, right, False)

    def x(self, value: float) -> float:
        if self.logarithmic:
            share = math.log(max(value, self.lowest) / self.lowest) / math.log(self.highest / self.lowest)
        else:
            share = value / self.highest
        return self.left + min(share, 1.06) * (self.right - self.left)

    def ticks(self) -> list[float]:
        if self.logarithmic:
            first, last = round(math.log10(self.lowest)), math.floor(math.log10(self.highest))
            return [10.0**power for power in range(first, last + 1)]
        step = 10 ** math.floor(math.log10(self.highest))
        step = next(step * f for f in (0.1, 0.2, 0.5, 1, 2) if self.highest / (step * f) <= 6)
        return [step * i for i in range(int(self.highest / step + 1e-9) + 1)]


def _tick(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 and value == int(value) else f"{value:g}"


def _significant(value: float, digits: int) -> str:
    """As in the tables; small values of coarse figures get a second digit."""
    return number(value, digits if value >= 10 or digits else 1)
