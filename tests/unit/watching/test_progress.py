"""Progress: what is counted, which bars there are, and where they are drawn."""

from __future__ import annotations

import io
import sys
import threading
import time
import types
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import trellis
from tests.unit.dataflow.test_kernel import Manual
from tests.unit.watching.fakes import FakeKernel
from trellis.apps import PythonApp, python_app
from trellis.cli.terminal_bars import TerminalBars
from trellis.config import Config
from trellis.dataflow.kernel import DataFlowKernel
from trellis.dataflow.states import States
from trellis.errors import NoDataFlowKernelError, ParameterTypeError
from trellis.executors.threads import ThreadPoolExecutor
from trellis.watching import progress, screen
from trellis.watching.bars import ProgressBar
from trellis.watching.notebook_bars import NotebookBars, as_html
from trellis.watching.progress import ALL, Counts, KernelBars, MapBar, count_tasks, map_bar
from trellis.watching.screen import Screen, choose_display

TIMEOUT_S = 30


class Drawn:
    """A display that keeps what is drawn."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def draw(self, bars: Sequence[ProgressBar]) -> None:
        self.calls.append([tuple(bar[:4]) for bar in bars])

    def erase(self) -> None:
        self.calls.append("erase")

    def move(self) -> None:
        self.calls.append("move")

    def close(self) -> None:
        self.calls.append("close")

    def forget(self) -> None:
        self.calls.append("forget")


class Fixed:
    """A source whose bars the test sets."""

    def __init__(self, *bars: ProgressBar, may_vanish: bool = False, subject: object = None) -> None:
        self.all = bars
        self.may_vanish = may_vanish
        self.subject = subject or self
        self.over = False

    def bars(self) -> Sequence[ProgressBar]:
        return self.all

    def is_over(self) -> bool:
        return self.over


ONE, TWO = ProgressBar("one", 1, 2, 0, ""), ProgressBar("two", 2, 2, 1, "")


@pytest.fixture
def drawn() -> Drawn:
    return Drawn()


@pytest.fixture
def canvas(drawn: Drawn, monkeypatch: pytest.MonkeyPatch) -> Screen:
    """The screen of this process, drawn on when the test says."""
    found = Screen(lambda: drawn)
    monkeypatch.setattr(screen, "REFRESH_S", 1_000)
    monkeypatch.setattr(progress, "the_screen", lambda: found)
    return found


@pytest.fixture
def dfk(tmp_path: Path) -> Iterator[DataFlowKernel]:
    executors = [ThreadPoolExecutor(), Manual()]
    with DataFlowKernel(Config(executors=executors, stall_warning_s=None, run_dir=str(tmp_path))) as kernel:
        yield kernel


# -- counting ------------------------------------------------------------------------------------------------------


def test_counts_of_final_and_open_tasks() -> None:
    kernel: Any = FakeKernel()
    assert count_tasks(kernel) == {}
    kernel.submit("f", 3)
    kernel.submit("g")
    for task_id, state in ((0, States.exec_done), (1, States.dep_fail), (3, States.cancelled)):
        kernel.end(task_id, state)
    assert count_tasks(kernel) == {"f": Counts(2, 1, 3), "g": Counts(1, 1, 1)}


def test_records_of_final_tasks_that_are_kept_do_not_count_twice() -> None:
    kernel: Any = FakeKernel()
    kernel.submit("f", 2)
    record = kernel.tasks[0]
    kernel.end(0, States.memo_done)
    record.status = States.memo_done
    kernel.tasks[0] = record
    assert count_tasks(kernel) == {"f": Counts(1, 0, 2)}


def test_bars_of_a_kernel() -> None:
    kernel: Any = FakeKernel()
    bars = KernelBars(kernel)
    assert bars.bars() == ()
    kernel.submit("f", 2)
    kernel.submit("g", 1)
    kernel.end(1, States.failed)
    assert [bar[:4] for bar in bars.bars()] == [(ALL, 1, 3, 1), ("f", 1, 2, 1), ("g", 0, 1, 0)]
    assert [bar.note for bar in bars.bars()][1:] == ["1 failed", ""]


def test_bars_from_now_on_leave_out_what_was_final() -> None:
    kernel: Any = FakeKernel()
    kernel.submit("f", 3)
    kernel.submit("g")
    kernel.end(0, States.failed)
    kernel.end(3, States.exec_done)
    bars = KernelBars(kernel, from_now=True)
    kernel.end(1, States.exec_done)
    assert [bar[:4] for bar in bars.bars()] == [(ALL, 1, 2, 0), ("f", 1, 2, 0)]


def test_the_first_bar_tells_time_rate_and_what_is_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(progress, "time", types.SimpleNamespace(monotonic=lambda: now))
    kernel: Any = FakeKernel()
    kernel.submit("f", 30)
    bars = KernelBars(kernel)
    bars.bars()
    for task_id in range(10):
        kernel.end(task_id, States.exec_done)
    now = 5.0
    assert bars.bars()[0].note == "5.0 s, 2/s, 10 s to go"


# -- one screen for all --------------------------------------------------------------------------------------------


def test_a_screen_draws_while_there_is_something(canvas: Screen, drawn: Drawn) -> None:
    source = Fixed(ONE)
    canvas.add(source)
    canvas.draw()
    source.all = (TWO,)
    canvas.remove(source)
    canvas.remove(source)
    canvas.draw()
    assert drawn.calls == [[("one", 1, 2, 0)], [("two", 2, 2, 1)], "close"]


def test_sources_share_it_and_one_subject_is_shown_once(canvas: Screen, drawn: Drawn) -> None:
    first, second, nested = Fixed(ONE, subject="kernel"), Fixed(TWO), Fixed(TWO, subject="kernel")
    for source in (first, second, nested):
        canvas.add(source)
    canvas.draw()
    canvas.remove(nested)
    canvas.remove(first)
    canvas.draw()
    canvas.remove(second)
    one, two = ONE[:4], TWO[:4]
    assert drawn.calls == [[one], "move", [one, two], "move", [one, two], [two], [two], "close"]


def test_sources_that_are_over_go_by_themselves(canvas: Screen, drawn: Drawn) -> None:
    source = Fixed(TWO)
    canvas.add(source)
    source.over = True
    canvas.draw()
    assert drawn.calls[-1] == "close"
    other = Fixed(ONE)
    canvas.add(other)
    other.over = True
    canvas.add(Fixed(ONE))  # nothing is drawn on a screen that is none, and yet they do not pile up
    assert len(canvas._sources) == 1
    canvas.close()
    assert canvas._sources == []


def test_what_may_vanish_does_when_nothing_goes_on(
    canvas: Screen, drawn: Drawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    clock = types.SimpleNamespace(monotonic=lambda: now, thread_time=lambda: 0.0)
    monkeypatch.setattr(screen, "time", clock)
    source = Fixed(TWO, may_vanish=True)
    canvas.add(source)
    for seconds in (1.0, 0.5, 1.0):
        now += seconds
        canvas.draw()
    source.all = (ONE,)
    canvas.draw()
    now = 99
    canvas.draw()
    source.all = ()
    canvas.draw()
    canvas.remove(source)
    assert drawn.calls == [[TWO[:4]], [TWO[:4]], "erase", [ONE[:4]], [ONE[:4]], "close"]


def test_what_does_not_work_is_given_up_and_harms_nobody(canvas: Screen, drawn: Drawn) -> None:
    def breaks(*_: Any) -> Any:
        raise OSError("the terminal has gone")

    source = Fixed(ONE)
    canvas.add(source)
    drawn.draw = breaks  # type: ignore[method-assign]
    canvas.draw()
    canvas.draw()
    canvas.remove(source)
    assert drawn.calls == ["close"]

    nowhere = Screen(breaks)
    nowhere.add(source)
    nowhere.draw()
    nowhere.remove(source)


def test_bars_that_cannot_be_counted_are_not_drawn(canvas: Screen, drawn: Drawn) -> None:
    source = Fixed(ONE)
    canvas.add(source)
    source.all = None  # type: ignore[assignment]
    canvas.draw()
    canvas.remove(source)
    assert drawn.calls == ["close"]


def test_a_forked_child_draws_nothing(canvas: Screen, drawn: Drawn) -> None:
    source = Fixed(ONE)
    canvas.add(source)
    thread = canvas._thread
    assert thread is not None
    canvas.forget()
    canvas.draw()
    canvas.remove(source)
    assert drawn.calls == ["forget"]
    thread.over.set()
    thread.join()


def test_it_is_drawn_again_and_again(monkeypatch: pytest.MonkeyPatch, drawn: Drawn) -> None:
    monkeypatch.setattr(screen, "REFRESH_S", 0.001)
    canvas, source, three = Screen(lambda: drawn), Fixed(ONE), threading.Event()
    draw = drawn.draw

    def count(bars: Sequence[ProgressBar]) -> None:
        draw(bars)
        if len(drawn.calls) == 3:
            three.set()

    drawn.draw = count  # type: ignore[method-assign]
    canvas.add(source)
    assert three.wait(TIMEOUT_S)
    canvas.remove(source)


# -- where it is drawn ---------------------------------------------------------------------------------------------


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_terminals_have_bars_and_pipes_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Tty())
    assert isinstance(choose_display(), TerminalBars)
    monkeypatch.setenv("TERM", "dumb")
    assert choose_display() is None
    monkeypatch.setenv("TERM", "xterm")
    closed = io.StringIO()
    closed.close()
    for stream in (io.StringIO(), closed, None):
        monkeypatch.setattr(sys, "stderr", stream)
        assert choose_display() is None


class Notebook:
    """Stands in for IPython in a notebook."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shown: list[str] = []
        display = types.ModuleType("IPython.display")
        display.HTML = str  # type: ignore[attr-defined]
        display.display = self.display  # type: ignore[attr-defined]
        package = types.ModuleType("IPython")
        self.shell: Any = types.SimpleNamespace(kernel=object())
        package.get_ipython = lambda: self.shell  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "IPython", package)
        monkeypatch.setitem(sys.modules, "IPython.display", display)

    def display(self, value: str, display_id: bool) -> Notebook:
        assert display_id
        self.shown.append("new " + value)
        return self

    def update(self, value: str) -> None:
        self.shown.append("again " + value)


def test_notebooks_have_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = Notebook(monkeypatch)
    display = choose_display()
    assert isinstance(display, NotebookBars)
    for bars in ([ONE], [ONE], [TWO]):
        display.draw(bars)
    display.move()  # another cell
    display.draw([TWO])
    display.close()
    assert notebook.shown == [f"new {as_html([ONE])}", f"again {as_html([TWO])}", f"new {as_html([TWO])}"]
    notebook.shell = None  # a program that only has IPython loaded
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert choose_display() is None


def test_html_says_what_a_reader_of_screens_needs_and_escapes_names() -> None:
    text = as_html([ProgressBar("<lambda>", 1_234, 5_000, 2, "2 failed & more"), ProgressBar("f.map", 3, None, 0, "")])
    assert 'aria-label="&lt;lambda&gt;" value="1234" max="5000"' in text
    assert "1,234 of 5,000" in text
    assert "2 failed &amp; more" in text
    assert '<progress aria-label="f.map" style' in text
    assert "<script" not in text


def terminal(**settings: Any) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    settings = {"width": 100, **settings}
    return Console(file=file, force_terminal=True, color_system=None, **settings), file


@pytest.mark.parametrize(("width", "has_note"), [(40, False), (80, True)])
def test_numbers_are_whole_on_narrow_terminals(width: int, has_note: bool) -> None:
    console, file = terminal(width=width)
    bars = TerminalBars(console)
    bars.draw([ProgressBar("all tasks", 1_000, 200_000, 1, "1 failed, 3 s")])
    bars.close()
    assert "1,000 of 200,000" in file.getvalue()
    assert ("1 failed" in file.getvalue()) is has_note


def test_bars_on_a_terminal_and_what_is_printed_meanwhile() -> None:
    console, file = terminal()
    stdout, stderr = sys.stdout, sys.stderr
    bars = TerminalBars(console)
    bars.draw([ProgressBar("[bold]f", 1_000, 2_000, 1, "1 failed"), ProgressBar("f.map", 3, None, 0, "")])
    print("a line of the program")
    bars.close()
    bars.close()
    shown = file.getvalue()
    assert "[bold]f" in shown
    assert "1,000 of 2,000 1 failed" in shown
    assert "a line of the program" in shown
    assert (sys.stdout, sys.stderr) == (stdout, stderr)
    assert "\x1b[?25l" not in shown.rpartition("\x1b[?25h")[2]  # the cursor is seen


def test_bars_that_are_erased_come_back() -> None:
    console, file = terminal()
    bars = TerminalBars(console)
    bars.draw([ONE, TWO])
    bars.erase()
    assert file.getvalue().endswith("\x1b[2K") or "\x1b[2K" in file.getvalue()
    bars.draw([ONE])
    bars.close()
    assert file.getvalue().count("one") >= 2


def test_a_forked_child_has_its_own_streams_back() -> None:
    console, _ = terminal()
    stdout, stderr = sys.stdout, sys.stderr
    bars = TerminalBars(console)
    bars.draw([ONE])
    redirected = sys.stdout
    bars.forget()
    assert redirected is not stdout
    assert (sys.stdout, sys.stderr) == (stdout, stderr)


def test_many_bars_become_few() -> None:
    console, file = terminal(height=8)
    bars = TerminalBars(console)
    bars.draw(
        [
            ProgressBar("all", 12, 30, 1, ""),
            *(ProgressBar(f"app{n}", 10 if n < 10 else 1, 10, 1, "") for n in range(12)),
        ]
    )
    bars.close()
    last = file.getvalue().rpartition("all ")[2]
    assert [name for name in ("app10", "app11", "app0", "app1 ") if name in last] == ["app10", "app11", "app0"]
    assert "9 more" in last
    assert "90 of 90 9 failed" in last


# -- how users ask for it ------------------------------------------------------------------------------------------


def test_progress_of_a_block(canvas: Screen, drawn: Drawn, dfk: DataFlowKernel) -> None:
    square = python_app(lambda x: x * x, data_flow_kernel=dfk, executors=["threads"])
    square(1).result(TIMEOUT_S)
    with trellis.progress(dfk):
        square(2).result(TIMEOUT_S)
        dfk.wait_for_current_tasks()
    assert drawn.calls[-2:] == [[(ALL, 1, 1, 0), ("<lambda>", 1, 1, 0)], "close"]


def test_an_interruption_leaves_the_terminal_sane(canvas: Screen, drawn: Drawn, dfk: DataFlowKernel) -> None:
    with pytest.raises(KeyboardInterrupt), trellis.progress(dfk):
        raise KeyboardInterrupt
    assert drawn.calls == ["close"]


def test_progress_of_what(canvas: Screen) -> None:
    with pytest.raises(NoDataFlowKernelError), trellis.progress():
        pass
    with pytest.raises(ParameterTypeError, match="progress: dfk"), trellis.progress(5):
        pass


def test_blocks_in_blocks_show_one_set_of_bars(canvas: Screen, drawn: Drawn, dfk: DataFlowKernel) -> None:
    square = python_app(lambda x: x * x, data_flow_kernel=dfk, executors=["manual"])
    with trellis.progress(dfk):
        square(1)
        with trellis.progress(dfk):
            square(2)
            canvas.draw()
    one, two = ([(ALL, 0, count, 0), ("<lambda>", 0, count, 0)] for count in (1, 2))
    assert drawn.calls == [one, "move", two, two, "close"]


def test_runs_side_by_side_are_told_apart(canvas: Screen, drawn: Drawn, dfk: DataFlowKernel, tmp_path: Path) -> None:
    with DataFlowKernel(Config(run_dir=str(tmp_path))) as other, trellis.progress(dfk), trellis.progress(other):
        dfk.submit(abs, (-1,), executors="manual")
        other.submit(abs, (-1,)).result(TIMEOUT_S)
        canvas.draw()
    assert [bar[:3] for bar in drawn.calls[1]] == [
        (f"{ALL} of run 000", 0, 1),
        ("abs", 0, 1),
        (f"{ALL} of run 001", 1, 1),
        ("abs", 1, 1),
    ]


@pytest.mark.parametrize("wanted", [True, False])
def test_the_configuration_asks_for_it(canvas: Screen, drawn: Drawn, tmp_path: Path, wanted: bool) -> None:
    with DataFlowKernel(Config(progress=wanted, run_dir=str(tmp_path))) as kernel:
        kernel.submit(abs, (-1,)).result(TIMEOUT_S)
    assert drawn.calls == ([[(ALL, 1, 1, 0), ("abs", 1, 1, 0)], "close"] if wanted else [])


def test_a_map_with_a_bar(canvas: Screen, drawn: Drawn, dfk: DataFlowKernel) -> None:
    def fails_at_2(x: int) -> int:
        return 1 // (x - 2)

    app: PythonApp[Any, Any] = python_app(fails_at_2, data_flow_kernel=dfk, executors=["threads"])
    futures = list(app.map(range(4), progress=True))
    for future in futures:
        future.exception(TIMEOUT_S)
    deadline = time.monotonic() + TIMEOUT_S
    while "close" not in drawn.calls:  # callbacks come a moment later
        assert time.monotonic() < deadline
        canvas.draw()
    assert drawn.calls[-2:] == [[("fails_at_2.map", 4, 4, 1)], "close"]


def test_a_map_without_a_bar_and_with_a_wrong_one(canvas: Screen, drawn: Drawn, dfk: DataFlowKernel) -> None:
    app: PythonApp[Any, Any] = python_app(lambda x: x, data_flow_kernel=dfk, executors=["threads"])
    assert [future.result(TIMEOUT_S) for future in app.map([1, 2])] == [1, 2]
    assert drawn.calls == []
    with pytest.raises(ParameterTypeError, match=r"map: progress"):
        app.map([1], progress="yes")  # type: ignore[arg-type]


class Model:
    @python_app(executors=["threads"])
    def scaled(self, x: int) -> int:
        return 3 * x


def test_a_map_of_a_method(canvas: Screen, drawn: Drawn, tmp_path: Path) -> None:
    with trellis.load(Config(executors=[ThreadPoolExecutor()], run_dir=str(tmp_path))):
        futures = list(Model().scaled.map([1, 2], progress=True))
        assert [future.result(TIMEOUT_S) for future in futures] == [3, 6]
        canvas.draw()
    canvas.close()
    assert ("scaled.map", 2, 2, 0) in [bar for bars in drawn.calls if isinstance(bars, list) for bar in bars]


def test_a_map_of_which_not_all_is_taken(canvas: Screen, drawn: Drawn, dfk: DataFlowKernel) -> None:
    app: PythonApp[Any, Any] = python_app(lambda x: x, data_flow_kernel=dfk, executors=["manual"])
    futures = app.map(iter(range(10)), max_outstanding=2, progress=True)
    next(futures)
    canvas.draw()
    futures.close()  # type: ignore[attr-defined]
    canvas.draw()
    assert drawn.calls == [[("<lambda>.map", 0, None, 0)], [("<lambda>.map", 0, 2, 0)]]
    canvas.close()


@pytest.mark.parametrize(
    ("iterables", "total"), [(([1, 2, 3], range(2)), 2), ((iter([1]), [1, 2]), None), ((iter([1]),), None)]
)
def test_how_many_there_will_be(canvas: Screen, iterables: Sequence[Any], total: int | None) -> None:
    assert map_bar("f", iterables).bars()[0].total == total
    canvas.close()


def test_a_map_bar_counts_failures_without_looking_at_errors() -> None:
    bar, failed, cancelled = MapBar("f", 2), Future[Any](), Future[Any]()
    failed.set_exception(ValueError())
    cancelled.cancel()
    for future in (failed, cancelled):
        bar.submitted()
        bar.ended(future)
    assert bar.bars()[0][:4] == ("f", 2, 2, 2)
    assert not bar.is_over()
    bar.no_more()
    assert bar.is_over()
