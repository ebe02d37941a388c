"""When executors are given up, and what the user reads then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trellis.blocks.error_handlers import resolve_error_handler, too_many_failures
from trellis.core.jobs import JobState, JobStatus
from trellis.errors import TooManyJobFailuresError
from trellis.jobs.error_handlers import noop_error_handler, simple_error_handler, windowed_error_handler
from trellis.testing import FakeProvider


class Executor:
    def __init__(self, init_blocks: int = 1) -> None:
        self.provider = FakeProvider(init_blocks=init_blocks, max_blocks=max(init_blocks, 1))
        self.failure: Exception | None = None

    def set_bad_state_and_fail_all(self, exception: Exception) -> None:
        self.failure = exception


F, M, R, C, S, T = (
    JobState.FAILED,
    JobState.MISSING,
    JobState.RUNNING,
    JobState.COMPLETED,
    JobState.SCALED_IN,
    JobState.TIMEOUT,
)


def blocks(*states: JobState) -> dict[str, JobStatus]:
    return {str(n): JobStatus(state) for n, state in enumerate(states)}


def gives_up(handler: Any, status: dict[str, JobStatus], init_blocks: int = 1, **kwargs: Any) -> bool:
    executor = Executor(init_blocks)
    handler(executor, status, **kwargs)
    assert executor.failure is None or isinstance(executor.failure, TooManyJobFailuresError)
    return executor.failure is not None


@pytest.mark.parametrize(
    ("states", "init_blocks", "expected"),
    [
        ((), 0, False),
        ((), 1, False),
        ((F,), 1, True),
        ((M,), 1, True),
        ((M,), 0, True),
        ((F,), 2, False),
        ((F, M), 2, True),
        ((F, R), 2, False),
        ((C,), 1, False),
        ((S,), 1, False),
        ((T,), 1, False),
        ((F, S), 1, False),
    ],
)
def test_the_simple_handler_wants_all_blocks_to_have_failed(
    states: tuple[JobState, ...], init_blocks: int, expected: bool
) -> None:
    assert gives_up(simple_error_handler, blocks(*states), init_blocks) == expected


@pytest.mark.parametrize(
    ("states", "threshold", "expected"),
    [
        ((F, F), 3, False),
        ((F, F, F), 3, True),
        ((R, F, M, F), 3, True),
        ((F, F, R), 3, False),
        ((F, F, F, R), 3, False),
        ((R, F), 1, True),
        # Of twelve blocks the last three are 9, 10 and 11, and not 7, 8 and 9.
        ((R, R, R, R, R, R, R, R, R, F, F, F), 3, True),
        ((R, R, R, R, R, R, R, F, F, F, R, R), 3, False),
    ],
)
def test_the_windowed_handler_looks_at_the_last_blocks(
    states: tuple[JobState, ...], threshold: int, expected: bool
) -> None:
    assert gives_up(windowed_error_handler, blocks(*states), threshold=threshold) == expected


def test_the_windowed_handler_looks_at_three_blocks_unless_told_otherwise() -> None:
    assert not gives_up(windowed_error_handler, blocks(R, F, F))
    assert gives_up(windowed_error_handler, blocks(R, F, F, F))


def test_the_noop_handler_never_gives_up() -> None:
    assert not gives_up(noop_error_handler, blocks(F, F, F, F))


def test_what_a_setting_stands_for() -> None:
    def own(executor: Any, status: dict[str, JobStatus]) -> None: ...

    assert [resolve_error_handler(setting) for setting in (True, False, own)] == [
        simple_error_handler,
        noop_error_handler,
        own,
    ]


def test_the_error_tells_each_cause_once_with_all_it_knows(tmp_path: Path) -> None:
    (tmp_path / "err").write_text("srun: command not found\nbye\n")
    (tmp_path / "out").write_text("hello\n")
    started = JobStatus(M, "it ended", 127, stdout_path=str(tmp_path / "out"), stderr_path=str(tmp_path / "err"))
    status = {"0": started, "1": JobStatus(F, "no luck"), "2": JobStatus(R)}
    status |= {str(n): started for n in range(9, 15)}
    assert str(too_many_failures(status)) == (
        "8 of 9 blocks failed (7 MISSING, 1 FAILED)\n"
        "blocks 0, 9, 10, 11, 12 and 2 more: it ended, exit code 127\n"
        "  stderr:\n    srun: command not found\n    bye\n"
        "  stdout:\n    hello\n"
        "  likely cause: the command srun is not found there: load what provides it in worker_init, or choose a "
        "launcher that the nodes have\n"
        "block 1: no luck"
    )


def test_blocks_with_the_same_likely_cause_are_told_together(tmp_path: Path) -> None:
    status = {}
    for n in range(3):
        (tmp_path / str(n)).write_text(f"host{n}: srun: command not found\n")
        status[str(n)] = JobStatus(F, "it ended", 127 if n else 1, stderr_path=str(tmp_path / str(n)))
    assert [line for line in str(too_many_failures(status)).splitlines() if line.startswith("block")] == [
        "block 0: it ended, exit code 1",
        "blocks 1, 2: it ended, exit code 127",
    ]


def test_the_error_does_not_tell_more_than_three_causes() -> None:
    status = {str(n): JobStatus(F, f"cause {n}") for n in range(5)}
    text = str(too_many_failures(status))
    assert "cause 2" in text
    assert "cause 3" not in text
    assert text.endswith("and 2 other causes")
