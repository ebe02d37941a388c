"""A report on figures that are easy to reckon with."""

from __future__ import annotations

from datetime import UTC, datetime

from benchmarks.report import Report

MACHINE = {
    "processor": "Abacus <9000>",
    "usable_cores": 2,
    "python": "3.12.0",
    "versions": {"parsl": "2025.1.13", "msgspec": "1"},
}
VALUES = {
    "processpool": {"noop_per_s": [500.0]},
    "trellis": {
        "noop_per_s": [900.0, 1000.0, 1200.0],
        "latency_p50_ms": [0.4, 0.5, 0.6],
        "args_100kB_per_s": [5000.0],
        "first_result_s": [0.5],
    },
    "parsl-tuned": {"noop_per_s": [100.0], "latency_p50_ms": [21.0], "first_result_s": [7.25]},
    "loky": {},
}


def report() -> Report:
    return Report(datetime(2026, 1, 2, 3, 4, tzinfo=UTC), MACHINE, VALUES, {"loky": {"noop": "it is broken"}})
