"""The picture of workers: what becomes a rectangle, where the ticks are, and that it is well-formed."""

from __future__ import annotations

import random
import xml.etree.ElementTree as ET
from collections.abc import Iterable

import pytest

from trellis.cli.runs import TaskRun
from trellis.cli.timeline import choose_ticks, format_seconds, join_tiny, render_timeline

SVG = "{http://www.w3.org/2000/svg}"


def run(start_s: float, duration_s: float, app: str = "f", worker: int = 0, failed: bool = False) -> TaskRun:
    return TaskRun(0, app, ("host", "0", "m", worker), start_s, duration_s, failed)


def bars(runs: Iterable[TaskRun]) -> list[tuple[float, float, int]]:
    """(left, right, tasks) of each rectangle, at one unit per second."""
    return [(bar.left, bar.right, len(bar.runs)) for bar in join_tiny(runs, zero=0.0, scale=1.0, left=0.0)]


def tips(svg: str) -> list[str]:
    return [title.text or "" for title in ET.fromstring(svg).iterfind(f".//{SVG}rect/{SVG}title")]


def texts(svg: str) -> list[str]:
    return ["".join(text.itertext()) for text in ET.fromstring(svg).iter(f"{SVG}text")]


def test_wide_tasks_stand_alone() -> None:
    assert bars([run(0, 5), run(5, 5)]) == [(0, 5, 1), (5, 10, 1)]


def test_tiny_neighbours_are_joined() -> None:
    assert bars([run(0, 1), run(1, 1), run(2.25, 1)]) == [(0, 3.25, 3)]


def test_a_gap_stays_visible() -> None:
    assert bars([run(0, 1), run(2, 1)]) == [(0, 1, 1), (2, 3, 1)]


def test_apps_and_failures_stay_apart() -> None:
    assert bars([run(0, 1), run(1, 1, app="g"), run(2, 1, app="g", failed=True)]) == [(0, 1, 1), (1, 2, 1), (2, 3, 1)]


def test_a_tiny_task_does_not_vanish_in_a_wide_one() -> None:
    assert bars([run(0, 5), run(5, 1)]) == [(0, 5, 1), (5, 6, 1)]


def test_joined_rectangles_stay_short() -> None:
    found = bars([run(i, 1) for i in range(24)])
    assert max(right - left for left, right, _ in found) < 12
    assert sum(tasks for _, _, tasks in found) == 24


@pytest.mark.parametrize(
    ("span_s", "last", "unit"),
    [
        (0.02, 0.02, "ms"),
        (1.0, 1.0, "s"),
        (12.3, 12.0, "s"),
        (179.0, 160.0, "s"),
        (600, 600, "min"),
        (36000, 36000, "h"),
    ],
)
def test_ticks(span_s: float, last: float, unit: str) -> None:
    ticks, _, name = choose_ticks(span_s)
    assert name == unit
    assert 4 <= len(ticks) <= 11
    assert ticks[0] == 0
    assert ticks[-1] == pytest.approx(last)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.00001, "10 µs"),
        (0.0123, "12.3 ms"),
        (0.5, "0.50 s"),
        (12.34, "12.3 s"),
        (75, "1 min 15 s"),
        (119.9, "2 min 0 s"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_picture_says_what_ran() -> None:
    runs = [run(101, 3, app="<map>"), run(104, 1, app="reduce", worker=1, failed=True)]
    svg = render_timeline(runs, title="A & B", subtitle="2 tasks", workers=3, started_at=100.0)
    assert tips(svg) == [
        "<map>, task 0: 3.00 s, from 1.00 s to 4.00 s",
        "reduce, task 0, failed: 1.00 s, from 4.00 s to 5.00 s",
    ]
    shown = texts(svg)
    for expected in ("A & B", "2 tasks", "worker 0", "worker 1", "no task", "<map>1 × · 3.00 s", "failed1 ×", "idle"):
        assert expected in shown
    assert [text for text in shown if text.endswith("%")] == ["60%", "20%", "0%"]
    assert "time since the start, s" in shown


def test_time_begins_with_the_first_task_when_nothing_else_is_said() -> None:
    assert tips(render_timeline([run(500, 2)], title="")) == ["f, task 0: 2.00 s, from 0 µs to 2.00 s"]


def test_a_run_of_nothing_is_a_picture_too() -> None:
    assert texts(render_timeline([], title="nothing", workers=1))[0] == "nothing"


@pytest.mark.parametrize("workers", [2, 64])
def test_many_tasks_make_a_small_picture(workers: int) -> None:
    rng = random.Random(1)
    free = [0.0] * workers
    runs = []
    for i in range(10_000):
        worker, duration_s = i % workers, rng.expovariate(100)
        runs.append(run(free[worker], duration_s, worker=worker))
        free[worker] += duration_s
    svg = render_timeline(sorted(runs, key=lambda r: r.started_at), title="many")
    assert len(svg) < 1_500_000
    assert {text for text in texts(svg) if text.startswith("worker")} == {f"worker {i}" for i in range(workers)}


def test_colours_repeat_when_there_are_many_apps() -> None:
    svg = render_timeline([run(i, 1, app=f"app {i}") for i in range(30)], title="apps")
    assert len(tips(svg)) == 30
