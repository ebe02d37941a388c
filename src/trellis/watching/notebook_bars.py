"""Bars in a notebook: a table of HTML below the cell, which needs no widgets and no scripts."""

from __future__ import annotations

import html
import importlib
from collections.abc import Sequence
from typing import Any

from trellis.watching.bars import ProgressBar

_LEFT, _RIGHT = "text-align:left;padding:0 .8em 0 0", "text-align:right;padding:0 .8em"


class NotebookBars:
    """A table that is drawn anew in its place."""

    def __init__(self) -> None:
        self._display: Any = importlib.import_module("IPython.display")
        self._handle: Any = None
        self._drawn = ""

    def draw(self, bars: Sequence[ProgressBar]) -> None:
        text = as_html(bars)
        if text == self._drawn:
            return
        self._drawn = text
        if self._handle is None:
            self._handle = self._display.display(self._display.HTML(text), display_id=True)
        else:
            self._handle.update(self._display.HTML(text))

    def erase(self) -> None:
        """The table stays; what comes next is shown below the cell that runs then."""
        self._handle = None
        self._drawn = ""

    def move(self) -> None:
        self.erase()

    def close(self) -> None:
        self.erase()

    def forget(self) -> None:
        self.erase()


def as_html(bars: Sequence[ProgressBar]) -> str:
    """A table of bars, in the notebook's own colours."""
    rows = "".join(map(_row, bars))
    return f'<table role="presentation" aria-label="Progress of tasks"><tbody>{rows}</tbody></table>'


def _row(bar: ProgressBar) -> str:
    name = html.escape(bar.name)
    range_ = f' value="{bar.done}" max="{max(bar.total, 1)}"' if bar.total is not None else ""
    count = f"{bar.done:,}" + (f" of {bar.total:,}" if bar.total is not None else "")
    return (
        f'<tr><td style="{_LEFT}">{name}</td>'
        f'<td><progress aria-label="{name}"{range_} style="width:20em">{count}</progress></td>'
        f'<td style="{_RIGHT}">{count}</td><td style="{_LEFT}">{html.escape(bar.note)}</td></tr>'
    )
