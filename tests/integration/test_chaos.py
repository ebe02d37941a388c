"""A short chaos run with a fixed seed; ``trellis perf chaos`` is the long one."""

from __future__ import annotations

import argparse

from trellis.cli import chaos, chaos_report

TASKS, EVENTS = 4_000, 14


def options(seed: int) -> argparse.Namespace:
    return argparse.Namespace(tasks=TASKS, events=EVENTS, seed=seed, managers=2, workers=2, seconds=100.0)


def test_whatever_happens_every_task_has_its_right_value() -> None:
    done = chaos.execute(options(seed=4), events=EVENTS)
    assert done.events.total() == EVENTS
    assert len(done.events) > 5  # kinds
    assert (done.pending, done.failed, done.wrong) == (0, {}, [])
    assert chaos_report.count_repetitions(done)[::2] == ([], [])  # none was left out, none ran twice without a kill
    assert chaos_report.find_violations(done) == []  # what had not begun was not lost
