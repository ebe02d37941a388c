"""Shows how a kernel's tasks get on while they do: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console

from trellis.cli.terminal_bars import TerminalBars
from trellis.watching.bars import ProgressBar
from trellis.watching.progress import KernelBars
from trellis.watching.screen import REFRESH_S

if TYPE_CHECKING:
    from concurrent.futures import Future

    from trellis.watching.view import WatchedKernel

LINE_EVERY_S = 2.0  # where lines stay, few are enough


def watch(kernel: WatchedKernel, start: Callable[[], Future[Any]], console: Console) -> None:
    """Show the progress of the tasks that ``start`` submits until the future that it gives is done.

    The future's failure is not raised.
    """
    bars = KernelBars(kernel)
    display = TerminalBars(console, transient=True) if console.is_terminal else _Lines(console)
    try:
        future = start()
        while not future.done():
            display.draw(bars.bars())
            time.sleep(REFRESH_S)
        display.draw(bars.bars())
    finally:
        display.close()


class _Lines:
    """A line of all bars, not too often."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = self._last = time.monotonic()

    def draw(self, bars: Sequence[ProgressBar]) -> None:
        now = time.monotonic()
        if now - self._last >= LINE_EVERY_S:
            self._last = now
            text = ", ".join(f"{bar.name} {bar.done}/{bar.total}" for bar in bars)
            self._console.print(f"{now - self._started:5.1f} s  {text}", soft_wrap=True, highlight=False)

    def close(self) -> None:
        """Lines stay."""
