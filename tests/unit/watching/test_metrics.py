"""The text for Prometheus: names, labels, values."""

from __future__ import annotations

import re
from typing import Any

from trellis.watching.metrics import as_prometheus

RUN = {
    "run_id": "u-1",
    "run_dir": 'a"b\\c\nd',
    "program": "p.py",
    "project": "",
    "host": "h",
    "user": "u",
    "pid": 7,
    "version": "0.1",
    "python": "3.11",
    "started_at": 1000.5,
}
EXECUTOR = {
    "label": "htex",
    "kind": "HighThroughputExecutor",
    "workers": 8,
    "queued": 3,
    "assigned": 2,
    "running": None,
    "max_blocks": 2,
    "error": "",
    "managers": [{"state": "active", "busy": 3}, {"state": "active", "busy": 1}, {"state": "held", "busy": 0}],
    "blocks": [{"state": "RUNNING"}, {"state": "PENDING"}],
}
STATUS: dict[str, Any] = {
    "run": RUN,
    "state": "live",
    "ended_at": None,
    "rate_per_s": 2.5,
    "eta_s": None,
    "executors": [EXECUTOR],
    "apps": [
        {"app": "f", "total": 5, "states": {"running": 2, "exec_done": 3}},
        {"app": "g", "total": 0, "states": {}},
    ],
}
LINE = re.compile(r'[a-z_]+\{([a-z_]+="(\\.|[^"\\\n])*",?)+\} -?[0-9.e+-]+')


def samples(status: dict[str, Any]) -> dict[str, str]:
    """Values by name and labels, without those that all have."""
    found = {}
    for line in as_prometheus(status).splitlines():
        if not line.startswith("#"):
            assert LINE.fullmatch(line), line
            name, _, value = line.rpartition(" ")
            found[re.sub(r'run="[^"]*",run_dir="(\\.|[^"\\])*",?', "", name).replace("{}", "")] = value
    return found


def test_a_live_run() -> None:
    found = samples(STATUS)
    about = 'program="p.py",project="",host="h",user="u",version="0.1",python="3.11",pid="7"'
    kind = 'executor="htex",type="HighThroughputExecutor"'
    assert found == {
        'trellis_up{state="live"}': "1",
        f"trellis_run_info{{{about}}}": "1",
        "trellis_run_started_timestamp_seconds": "1000.5",
        'trellis_tasks{app="f",state="running"}': "2",
        'trellis_tasks{app="f",state="exec_done"}': "3",
        'trellis_tasks_submitted_total{app="f"}': "5",
        'trellis_tasks_submitted_total{app="g"}': "0",
        "trellis_tasks_per_second": "2.5",
        f"trellis_executor_workers{{{kind}}}": "8",
        f"trellis_executor_queued{{{kind}}}": "3",
        f"trellis_executor_assigned{{{kind}}}": "2",
        f"trellis_executor_max_blocks{{{kind}}}": "2",
        'trellis_executor_failed{executor="htex"}': "0",
        'trellis_executor_busy_workers{executor="htex"}': "4",
        'trellis_managers{executor="htex",state="active"}': "2",
        'trellis_managers{executor="htex",state="held"}': "1",
        'trellis_blocks{executor="htex",state="PENDING"}': "1",
        'trellis_blocks{executor="htex",state="RUNNING"}': "1",
    }


def test_labels_are_escaped_and_metrics_are_described_once() -> None:
    text = as_prometheus(STATUS)
    assert r'run="u-1",run_dir="a\"b\\c\nd"' in text
    described = [line for line in text.splitlines() if line.startswith("# TYPE")]
    assert "# TYPE trellis_tasks gauge" in described
    assert "# TYPE trellis_tasks_submitted_total counter" in described
    assert len(described) == len(set(described))
    assert "trellis_executor_running" not in text  # not known is not 0
    assert "trellis_eta_seconds" not in text


def test_a_run_that_does_not_answer() -> None:
    found = samples({"run": RUN, "state": "killed", "ended_at": 2000.0})
    assert found['trellis_up{state="killed"}'] == "0"
    assert found["trellis_run_ended_timestamp_seconds"] == "2000"
    assert not [name for name in found if name.startswith("trellis_tasks")]


def test_an_executor_that_is_broken() -> None:
    found = samples({**STATUS, "executors": [{**EXECUTOR, "error": "gone", "managers": [], "blocks": []}]})
    assert found['trellis_executor_failed{executor="htex"}'] == "1"
    assert 'trellis_executor_busy_workers{executor="htex"}' not in found
