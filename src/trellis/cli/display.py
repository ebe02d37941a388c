"""Prints tables and texts: coloured and fitted on a terminal, whole and without padding where a program reads them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

# Where lines are not fitted to a screen.
_ENDLESS = 100_000

# Columns but the last are cut to this.
_WIDE = 40
_GAP = 2

STYLES = {
    "pending": "dim",
    "launched": "cyan",
    "running": "bold cyan",
    "joining": "cyan",
    "fail_retryable": "yellow",
    "exec_done": "green",
    "memo_done": "green",
    "failed": "bold red",
    "dep_fail": "red",
    "cancelled": "magenta",
    "live": "bold green",
    "ending": "yellow",
    "ended": "green",
    "killed": "bold red",
    "suspended": "bold yellow",
    "silent": "bold yellow",
    "elsewhere": "yellow",
    "private": "yellow",
    # Blocks and managers.
    "RUNNING": "green",
    "PENDING": "yellow",
    "FAILED": "bold red",
    "COMPLETED": "dim",
    "CANCELLED": "dim",
    "SCALED_IN": "dim",
    "MISSING": "red",
    "TIMEOUT": "red",
    "HELD": "yellow",
    "active": "green",
    "held": "yellow",
    "draining": "yellow",
    "put aside": "yellow",
}


class StandardOutput:
    """Standard output, for people and for programs."""

    def __init__(self) -> None:
        self.is_terminal = Console().is_terminal
        self.console = Console(highlight=False, width=None if self.is_terminal else _ENDLESS)

    def print(self, view: Any) -> None:
        if self.is_terminal:
            self.console.print(view)
            return
        with self.console.capture() as capture:
            self.console.print(view)
        sys.stdout.write("\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n")
        sys.stdout.flush()

    @contextmanager
    def live(self) -> Iterator[Callable[[Any], None]]:
        """Give a function that shows something in the place of what it has shown before."""
        with Live(console=self.console, auto_refresh=False, vertical_overflow="crop") as live:
            yield lambda view: live.update(view, refresh=True)


def complain(text: str) -> None:
    """Say it on standard error, with lines that break between words."""
    console = Console(stderr=True, highlight=False)
    console.print(Text(text), soft_wrap=not console.is_terminal)


def plain(text: object) -> str:
    """A text of a user's in one line, without what could move the cursor."""
    return "".join(c if c.isprintable() else " " for c in " ".join(str(text).split()))


def styled(word: object) -> Text:
    """A state, in its colour."""
    return Text(plain(word), STYLES.get(str(word), ""))


class Columns:
    """A table without lines; a column whose name begins with ``>`` holds numbers.

    The last column gets what the others leave of the screen, and is cut short where that is not enough; others are
    cut when they are very wide.
    """

    def __init__(self, columns: Sequence[str], rows: Sequence[Sequence[Text | str]]) -> None:
        self._columns = columns
        self._rows = [[cell if isinstance(cell, Text) else Text(plain(cell)) for cell in row] for row in rows]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        titles = [name.lstrip(">") for name in self._columns]
        widths = [max([len(title), *(row[place].cell_len for row in self._rows)]) for place, title in enumerate(titles)]
        if console.is_terminal:
            widths = [*(min(width, _WIDE) for width in widths[:-1]), widths[-1]]
            left = options.max_width - sum(widths[:-1]) - _GAP * (len(widths) - 1)
            widths[-1] = max(len(titles[-1]), min(widths[-1], left))
        made = Table(box=None, padding=(0, _GAP, 0, 0), show_edge=False, header_style="dim", pad_edge=False)
        for name, title, width in zip(self._columns, titles, widths, strict=True):
            justify: Literal["left", "right"] = "right" if name.startswith(">") else "left"
            made.add_column(title, justify=justify, no_wrap=True, width=width, overflow="ellipsis")
        for row in self._rows:
            made.add_row(*row)
        yield made


def hanging(start: str, text: Text) -> Table:
    """A text whose further lines begin below its first word, behind ``start``."""
    grid = Table.grid()
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text(start), text)
    return grid


def indented(view: Any) -> Padding:
    return Padding(view, (0, 0, 0, 2))


def lines(*views: Any) -> Group:
    """Views below each other; those that are None are left out."""
    return Group(*[view for view in views if view is not None])
