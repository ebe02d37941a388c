"""A short chaos run with a fixed seed; ``trellis perf chaos`` is the long one."""

from __future__ import annotations

import argparse

from trellis.cli import chaos

TASKS, KILLS = 4_000, 12


def options(seed: int) -> argparse.Namespace:
    return argparse.Namespace(tasks=TASKS, kills=KILLS, seed=seed, managers=2, workers=2, seconds=100.0)


def test_whatever_is_killed_every_task_has_its_right_value() -> None:
    done = chaos.execute(options(seed=4), kills=KILLS)
    assert done.killed == {"worker": 6, "manager": 4, "interchange": 2}
    assert (done.pending, done.failed, done.wrong) == (0, {}, [])
    assert chaos.count_repetitions(done)[::2] == ([], [])  # none was left out, none ran twice without a kill
