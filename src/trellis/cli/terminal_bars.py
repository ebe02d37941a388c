"""Bars on a terminal, drawn by rich. What the program prints meanwhile appears above them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from trellis.watching.bars import ProgressBar

# Bars at a time: more would push away what was printed.
_MOST_BARS = 12
# Columns for more than names, bars and numbers.
_WIDE = 76


class TerminalBars:
    """A block of bars at the end of a terminal.

    Args:
        console: where to draw; None: on stderr.
        transient: take them away at the end.
    """

    def __init__(self, console: Console | None = None, *, transient: bool = False) -> None:
        self._console = console or Console(stderr=True)
        self._transient = transient
        self._progress: Progress | None = None
        self._rows: list[TaskID] = []
        self._streams = (sys.stdout, sys.stderr)

    def draw(self, bars: Sequence[ProgressBar]) -> None:
        progress = self._progress or self._open()
        shown = _fewer(bars, max(2, min(_MOST_BARS, self._console.height - 3)))
        for row, bar in enumerate(shown):
            if row == len(self._rows):
                self._rows.append(progress.add_task("", total=None, count="", note=""))
            progress.update(
                self._rows[row],
                description=bar.name,
                completed=bar.done,
                total=bar.total,
                count=f"{bar.done:,}" + (f" of {bar.total:,}" if bar.total is not None else ""),
                note=bar.note,
                visible=True,
            )
        for row in self._rows[len(shown) :]:
            progress.update(row, visible=False)
        progress.refresh()

    def _open(self) -> Progress:
        self._streams = (sys.stdout, sys.stderr)
        width = self._console.width
        note = [TextColumn("{task.fields[note]}", style="dim", markup=False)] if width >= _WIDE else []
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=min(40, max(4, width // 2 - 14))),
            TextColumn("{task.fields[count]}", justify="right", markup=False),
            *note,
            console=self._console,
            auto_refresh=False,
            transient=self._transient,
        )
        self._rows = []
        self._progress.start()
        # A program that is killed leaves a terminal on which one sees where one types.
        self._console.show_cursor(True)
        return self._progress

    def erase(self) -> None:
        self._stop(transient=True)

    def move(self) -> None:
        """Bars are at the end of the terminal anyway."""

    def close(self) -> None:
        self._stop(transient=self._transient)

    def forget(self) -> None:
        if self._progress is not None:
            sys.stdout, sys.stderr = self._streams
            self._progress = None

    def _stop(self, transient: bool) -> None:
        progress, self._progress = self._progress, None
        if progress is not None:
            progress.live.transient = transient
            progress.stop()


def _fewer(bars: Sequence[ProgressBar], most: int) -> Sequence[ProgressBar]:
    """No more bars than that: those that are full go first, and the rest is one line."""
    if len(bars) <= most:
        return bars
    first, rest = bars[0], sorted(bars[1:], key=lambda bar: bar.is_full)
    shown, others = rest[: most - 2], rest[most - 2 :]
    done = sum(bar.done for bar in others)
    total = sum(bar.total or 0 for bar in others)
    failed = sum(bar.failed for bar in others)
    return [
        first,
        *shown,
        ProgressBar(f"{len(others)} more", done, total, failed, f"{failed:,} failed" if failed else ""),
    ]
