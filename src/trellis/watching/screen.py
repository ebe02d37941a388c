"""The one place where this process shows progress: who has bars adds them, and one thread draws all of them.

On a terminal bars are drawn on stderr, in a notebook below the cell; elsewhere nothing is drawn, and no thread runs.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence

from trellis.watching.bars import BarSource, Display, ProgressBar

logger = logging.getLogger(__name__)

REFRESH_S = 0.1  # fluid for the eye
# Counting a million tasks takes a while: no more than this part of the time is spent on it.
_SHARE = 0.05
# Bars that may vanish do when nothing has gone on for so long: the program may ask its user something.
_VANISH_S = 1.0
_JOIN_TIMEOUT_S = 2.0


class Screen:
    """Sources of bars, and the thread that shows them while there are any.

    Args:
        make_display: gives a place to draw, or None where there is none; asked each time the first source comes.
    """

    def __init__(self, make_display: Callable[[], Display | None]) -> None:
        self._make_display = make_display
        self._lock = threading.RLock()  # over sources and drawing
        self._sources: list[BarSource] = []
        self._display: Display | None = None
        self._thread: _Painter | None = None
        self._last: Sequence[ProgressBar] = ()
        self._changed_at = 0.0

    @property
    def sources(self) -> Sequence[BarSource]:
        return tuple(self._sources)

    def add(self, source: BarSource) -> None:
        """Show the bars of one more."""
        with self._lock:
            if self._sources:
                self._draw()  # as it is now, for what is left behind or goes
            for over in [one for one in self._sources if one.is_over()]:
                self._remove(over)
            self._sources.append(source)
            if len(self._sources) > 1:
                self._call("move")
                return
            try:
                self._display = self._make_display()
            except Exception:
                logger.exception("there is no place to show progress")
                self._display = None
            if self._display is not None:
                self._last, self._changed_at = (), time.monotonic()
                self._thread = _Painter(self.draw)

    def remove(self, source: BarSource) -> None:
        """Show the bars of one no more; those of the last one stay as they are. Nothing happens if it is not there."""
        with self._lock:
            thread = self._remove(source)
        if thread is not None and thread is not threading.current_thread():
            thread.join(_JOIN_TIMEOUT_S)

    def _remove(self, source: BarSource) -> threading.Thread | None:
        """Gives the thread that has nothing to draw any more."""
        if source not in self._sources:
            return None
        if len(self._sources) == 1:
            self._draw(last=True)
        self._sources.remove(source)
        if self._sources:
            return None
        thread, self._thread = self._thread, None
        self._call("close")
        self._display = None
        if thread is not None:
            thread.over.set()
        return thread

    def close(self) -> None:
        """Leave the terminal as it was; whoever has bars is not shown any more."""
        for source in list(self._sources):
            self.remove(source)

    def forget(self) -> None:
        """Forget all in a forked child, without touching what its parent shows."""
        self._lock = threading.RLock()
        self._call("forget")
        self._sources, self._display, self._thread = [], None, None

    def draw(self) -> None:
        """Draw what all sources have, and remove those that are over."""
        with self._lock:
            self._draw()
            for source in [source for source in self._sources if source.is_over()]:
                self._remove(source)

    def _draw(self, last: bool = False) -> None:
        if self._display is None:
            return
        try:
            shown: dict[int, BarSource] = {}
            for source in self._sources:
                shown.setdefault(id(source.subject), source)
            bars = [bar for source in shown.values() for bar in source.bars()]
        except Exception:
            logger.exception("progress cannot be counted")
            return
        now = time.monotonic()
        if [bar[:4] for bar in bars] != [bar[:4] for bar in self._last]:
            self._changed_at = now
        self._last = bars
        idle = all(bar.is_full for bar in bars) and now - self._changed_at >= _VANISH_S
        if bars and idle and not last and all(source.may_vanish for source in self._sources):
            self._call("erase")
        elif bars:
            self._call("draw", bars)

    def _call(self, what: str, *arguments: object) -> None:
        display = self._display
        if display is not None:
            try:
                getattr(display, what)(*arguments)
            except Exception:  # a terminal that has gone, another live display of the program's
                logger.info("progress is not shown any more", exc_info=True)
                self._display = None
                with contextlib.suppress(Exception):
                    display.close()


class _Painter(threading.Thread):
    """Draws again and again, until it is ended."""

    def __init__(self, draw: Callable[[], None]) -> None:
        super().__init__(name="trellis-progress", daemon=True)
        self._draw = draw
        self.over = threading.Event()
        self.start()

    def run(self) -> None:
        pause_s = REFRESH_S
        while not self.over.wait(pause_s):
            begin = time.thread_time()
            self._draw()
            pause_s = max(REFRESH_S, (time.thread_time() - begin) / _SHARE)


@functools.cache
def the_screen() -> Screen:
    """The screen of this process."""
    screen = Screen(choose_display)
    atexit.register(screen.close)
    os.register_at_fork(after_in_child=screen.forget)
    return screen


def choose_display() -> Display | None:
    """A terminal's, a notebook's, or none: what a program writes to a file or a pipe is its own."""
    shell = sys.modules.get("IPython")
    if shell is not None and getattr(shell.get_ipython(), "kernel", None) is not None:
        from trellis.watching.notebook_bars import NotebookBars

        return NotebookBars()
    with contextlib.suppress(AttributeError, ValueError, OSError):  # no stderr at all, or a closed one
        if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            # By its name: what watches a run knows nothing of how it is shown.
            display: Display = importlib.import_module("trellis.cli.terminal_bars").TerminalBars()
            return display
    return None
