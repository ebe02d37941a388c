"""The three lines at the end of a program, and when there are none."""

from __future__ import annotations

from trellis.core.failures import FailureKind
from trellis.dataflow.failure_log import FailureGroup, FailureLog
from trellis.watching.failure_report import RunReported, _AtExit, words


def run(where: str, failed: int = 0, abandoned: int = 0, not_run: int = 0) -> RunReported:
    log = FailureLog()
    for groups, count, first in (
        (log._groups, failed, "task 4 (app f) failed: ValueError: two\nlines\x1b[0m"),
        (log._abandoned, abandoned, "task 7 (app g), which was launched"),
    ):
        if count:
            kind = FailureKind("f", "ValueError", "x", "")
            group = groups[kind] = FailureGroup(kind, first, log._lock)
            group.count = group.unseen = count
    return RunReported(log, where, not_run)


def test_failures_are_told_in_three_lines() -> None:
    assert words([run("/r/0/trellis.log", failed=3, not_run=2)]) == (
        "3 tasks failed (2 more could not run because of that); nobody has looked at the errors",
        "the first: task 4 (app f) failed: ValueError: two lines [0m",
        "read on in /r/0/trellis.log (Config(report_failures=False) ends these lines)",
    )


def test_abandoned_tasks_are_told_with_what_to_do() -> None:
    assert words([run("/r/0/trellis.log", abandoned=1)]) == (
        "1 task had not ended when the run did, and was abandoned; nobody has looked at the errors",
        "the first: task 7 (app g), which was launched "
        "(wait for them with result(), exception() or Config(exit_mode='wait'))",
        "read on in /r/0/trellis.log (Config(report_failures=False) ends these lines)",
    )


def test_several_runs_are_told_together() -> None:
    lines = words([run(f"/r/{n}", failed=1, abandoned=2) for n in range(5)])
    assert lines[0].startswith("5 tasks failed, 10 tasks had not ended when the run did, and were abandoned; ")
    assert lines[2].startswith("read on in /r/0, /r/1, /r/2 and 2 more (")


def test_runs_without_failures_that_nobody_has_seen_are_not_told() -> None:
    assert words([]) == ()
    seen = run("/r/0", failed=1, not_run=4)
    seen.failures.groups[0].seen()
    assert words([seen]) == ()
    assert words([seen, run("/r/1", failed=2)])[0].startswith("2 tasks failed; ")
    assert words([seen, run("/r/1", failed=2)])[2].startswith("read on in /r/1 (")


def test_who_has_interrupted_the_program_knows_what_is_abandoned() -> None:
    assert words([run("/r/0", abandoned=2)], interrupted=True) == ()
    assert words([run("/r/0", failed=1, abandoned=2)], interrupted=True)[0].startswith("1 task failed; ")


def test_a_run_is_kept_until_the_end_of_the_program_only_if_there_is_something_to_tell() -> None:
    kept = _AtExit()
    kept.add(run("/r/0"))
    told = run("/r/1", failed=1)
    kept.add(told)
    kept.drop_if_seen(told)
    kept.drop_if_seen(kept._runs[0])
    assert kept._runs == [told]
    kept.forget()
    assert kept._runs == []
