"""Traces of attempts: rows, lanes, times, failures, and how many run at a time."""

from __future__ import annotations

from typing import Any

import pytest

from trellis.watching.trace import AttemptSpan, trace_events

FIRST = AttemptSpan(0, 0, "f", "htex", "node7", "m1", 2, launched=10.0, started=10.5, ended=11.0)


def events(*spans: AttemptSpan, kind: str = "X") -> list[dict[str, Any]]:
    return [event for event in trace_events(spans) if event["ph"] == kind]


def test_an_attempt_is_a_span_of_its_worker() -> None:
    assert list(trace_events([FIRST])) == [
        {"ph": "M", "name": "process_name", "pid": 1, "tid": 0, "args": {"name": "htex on node7"}},
        {"ph": "M", "name": "thread_name", "pid": 1, "tid": 1, "args": {"name": "m1 worker 2"}},
        {"ph": "C", "name": "running tasks", "pid": 0, "ts": 10_500_000, "args": {"tasks": 1}},
        {
            "ph": "X",
            "name": "f",
            "cat": "task",
            "pid": 1,
            "tid": 1,
            "ts": 10_500_000,
            "dur": 500_000,
            "args": {"task": 0, "attempt": 1, "waited_s": 0.5},
        },
        {"ph": "C", "name": "running tasks", "pid": 0, "ts": 11_000_000, "args": {"tasks": 0}},
    ]


def test_each_worker_has_a_row() -> None:
    spans = [
        FIRST,
        FIRST._replace(worker=3),
        FIRST._replace(manager="m2"),
        FIRST._replace(hostname="node8"),
        FIRST._replace(executor="other"),
        FIRST._replace(started=12.0, ended=13.0),
    ]
    assert [(event["pid"], event["tid"]) for event in events(*spans)] == [
        (1, 1),
        (1, 2),
        (1, 3),
        (2, 4),
        (3, 5),
        (1, 1),
    ]
    names = [event["args"]["name"] for event in events(*spans, kind="M") if event["name"] == "process_name"]
    assert names == ["htex on node7", "htex on node8", "other on node7"]


def test_who_does_several_at_a_time_has_several_rows() -> None:
    times = [(0.0, 4.0), (1.0, 2.0), (1.5, 3.0), (2.5, 5.0), (4.0, 6.0)]
    spans = [FIRST._replace(worker=None, started=started, ended=ended) for started, ended in times]
    assert [event["tid"] for event in events(*spans)] == [1, 2, 3, 2, 1]
    assert events(*spans, kind="M")[1]["args"]["name"] == "m1"


def test_clocks_that_differ_a_little_make_no_rows_and_no_overlaps() -> None:
    first, second = events(FIRST, FIRST._replace(started=10.9995, ended=12.0))
    assert (second["tid"], second["ts"]) == (first["tid"], first["ts"] + first["dur"])
    assert second["dur"] == 1_000_000


@pytest.mark.parametrize(
    ("change", "args", "category"),
    [
        ({"exception": "ValueError", "try_id": 1}, {"attempt": 2, "exception": "ValueError"}, "failed"),
        ({"running": True}, {"state": "running"}, "task"),
        ({"launched": None}, {}, "task"),
        ({"launched": 10.7}, {"waited_s": 0.0}, "task"),
    ],
)
def test_what_is_told_of_an_attempt(change: dict[str, Any], args: dict[str, Any], category: str) -> None:
    (event,) = events(FIRST._replace(**change))
    usual = {"task": 0, "attempt": 1} | ({} if "launched" in change else {"waited_s": 0.5})
    assert (event["args"], event["cat"]) == (usual | args, category)


def test_names_where_little_is_known() -> None:
    bare = FIRST._replace(hostname="", manager="", worker=None)
    assert [event["args"]["name"] for event in events(bare, kind="M")] == ["htex", "tasks"]


def test_how_many_run() -> None:
    spans = [FIRST._replace(worker=n, started=float(n), ended=n + 1.5) for n in range(3)]
    counts = [(event["ts"] / 1e6, event["args"]["tasks"]) for event in events(*spans, kind="C")]
    assert counts == [(0.0, 1), (1.0, 2), (1.5, 1), (2.0, 2), (2.5, 1), (3.5, 0)]
