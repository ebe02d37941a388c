"""What the figures are called, and which of them Trellis has promised. Pure: judges medians, measures nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Figure(NamedTuple):
    """One number that a case gives for a system."""

    title: str
    unit: str
    digits: int = 0
    more_is_better: bool = True


SIZES = {"1kB": 1_000, "100kB": 100_000, "1MB": 1_000_000, "10MB": 10_000_000}


def _payload_figures() -> dict[str, Figure]:
    figures = {}
    for way, words in (("args", "arguments"), ("results", "results")):
        for kind, label in [(size, f"{size} {words}") for size in SIZES] + [("array", f"10MB array {words}")]:
            figures[f"{way}_{kind}_per_s"] = Figure(label.replace("MB", " MB").replace("kB", " kB"), "tasks/s")
            figures[f"{way}_{kind}_mb_per_s"] = Figure(label.replace("MB", " MB").replace("kB", " kB"), "MB/s")
    return figures


def _less(title: str, unit: str, digits: int = 0) -> Figure:
    return Figure(title, unit, digits, more_is_better=False)


FIGURES: dict[str, Figure] = {
    "noop_per_s": Figure("no-op tasks", "tasks/s"),
    "cpu_total_us": _less("CPU time of all processes", "µs/task"),
    "cpu_submit_us": _less("CPU time, submitting process", "µs/task", 1),
    "cpu_interchange_us": _less("CPU time, interchange", "µs/task", 1),
    "cpu_manager_us": _less("CPU time, manager", "µs/task", 1),
    "cpu_workers_us": _less("CPU time, workers", "µs/task", 1),
    "latency_p50_ms": _less("round trip, median", "ms", 2),
    "latency_p99_ms": _less("round trip, 99th percentile", "ms", 2),
    **_payload_figures(),
    "chain_per_s": Figure("chain", "links/s"),
    "fan_in_per_s": Figure("fan-in", "tasks/s"),
    "layers_per_s": Figure("layered graph", "tasks/s"),
    "commands_per_s": Figure("bash apps", "commands/s"),
    "busy_percent": Figure("workers busy", "%", 1),
    "tail_ms": _less("first worker free to last task done", "ms", 0),
    "first_result_s": _less("start to first result", "s", 2),
    "stop_s": _less("shutdown", "s", 2),
    "import_ms": _less("import", "ms"),
    "outstanding": Figure("tasks outstanding", "tasks"),
    "submit_bytes": _less("memory, submitting process", "B/task"),
    "interchange_bytes": _less("memory, interchange", "B/task"),
    "manager_bytes": _less("memory, manager", "B/task"),
    "workers_bytes": _less("memory, workers", "B/task"),
    "submitted_per_s": Figure("submission", "tasks/s"),
    "slowest_submission": Figure("slowest 5 % of the submission to the median", "ratio", 2),
    "late_submission": Figure("last quarter of the submission to the first", "ratio", 2),
    "copies_submit": _less("copies of an array, submitting process", "copies", 2),
    "copies_interchange": _less("copies of an array, interchange", "copies", 2),
    "copies_manager": _less("copies of an array, manager", "copies", 2),
    "copies_workers": _less("copies of an array, workers", "copies", 2),
    "unrecorded_per_s": Figure("no-op tasks, not recorded", "tasks/s"),
    "recorded_per_s": Figure("no-op tasks, recorded", "tasks/s"),
    "recorded_percent": Figure("rate with a record to that without", "%", 1),
    "recorded_more_ms": _less("round trip, more with a record", "ms", 3),
    "record_lag_s": _less("until the record is complete", "s", 1),
    "record_bytes": _less("database", "B/task"),
    "managers": Figure("managers of 64 workers", "managers"),
    "managers_register_s": _less("until all are registered", "s", 1),
    "managers_rss_mb": _less("interchange's memory then", "MB"),
    "managers_tasks_per_s": Figure("no-op tasks across them", "tasks/s"),
    "managers_cpu_us": _less("interchange's CPU time", "µs/task", 1),
    "managers_growth_percent": _less("growth of CPU time per task", "%", 0),
    "managers_stop_s": _less("shutdown with all of them", "s", 1),
    **{
        name: figure
        for mode in ("regular", "fork", "direct")
        for name, figure in (
            (f"real_{mode}_per_s", Figure(f"no-op tasks, {mode}", "tasks/s")),
            (f"real_{mode}_ms", _less(f"round trip, {mode}", "ms", 1)),
        )
    },
    "vine_copies_manager": _less("copies of a file for 8 workers, sent by the manager", "copies", 2),
    "vine_copies_workers": _less("copies of it that workers passed on", "copies", 2),
    "vine_chain_mb": _less("moved in a chain of 50 on a result that stays", "MB", 1),
    "vine_again_mb": _less("sent of a kept file in a second run", "MB", 1),
    "queued_bytes": _less("memory of a queued task in the interchange", "B/task"),
}

Medians = Mapping[str, Mapping[str, float]]


class Target(NamedTuple):
    """A promise: the figure of a system is at least (or at most) ``factor`` times another one, or ``factor`` itself."""

    system: str
    figure: str
    factor: float
    reference: tuple[str, str] | None = None  # another system and figure


class Verdict(NamedTuple):
    target: Target
    text: str
    measured: float | None  # None: one of the figures was not measured
    holds: bool | None


_NOOP = ("trellis", "noop_per_s")

TARGETS = (
    Target(*_NOOP, 12, ("parsl-tuned", "noop_per_s")),
    Target(*_NOOP, 20, ("parsl", "noop_per_s")),
    Target(*_NOOP, 1.5, ("processpool", "noop_per_s")),
    Target("trellis-executor", "noop_per_s", 2.5, ("processpool", "noop_per_s")),
    Target("trellis", "cpu_interchange_us", 8),
    Target("trellis", "latency_p50_ms", 0.5),
    Target("trellis", "latency_p99_ms", 2),
    Target("trellis", "latency_p50_ms", 0.2, ("parsl", "latency_p50_ms")),
    Target("trellis", "args_100kB_per_s", 20, ("parsl-tuned", "args_100kB_per_s")),
    Target("trellis", "args_1MB_per_s", 30, ("parsl-tuned", "args_1MB_per_s")),
    Target("trellis", "args_1MB_mb_per_s", 500),
    Target("trellis", "args_array_mb_per_s", 800),
    # One copy, and some memory for everything else.
    Target("trellis", "copies_submit", 1.1),
    Target("trellis", "copies_interchange", 1.1),
    Target("trellis", "copies_manager", 1.1),
    Target("trellis", "copies_workers", 1.1),
    Target("trellis", "chain_per_s", 2000),
    Target("trellis", "fan_in_per_s", 0.85, _NOOP),
    Target("trellis", "commands_per_s", 0.8, ("spawn-loop", "commands_per_s")),
    Target("trellis", "first_result_s", 0.8),
    Target("trellis", "import_ms", 80),
    Target("trellis", "stop_s", 0.3),
    Target("trellis", "submit_bytes", 1200),
    Target("trellis", "interchange_bytes", 400),
    Target("trellis", "late_submission", 0.8),
    Target("trellis", "busy_percent", 97),
    Target("trellis", "tail_ms", 110),  # the longest task takes 100 ms
    Target("trellis", "recorded_percent", 90),
    Target("trellis", "recorded_more_ms", 0.05),
    Target("trellis", "recorded_per_s", 15, ("parsl", "recorded_per_s")),
    Target("vine-regular", "noop_per_s", 2, ("taskvine", "real_regular_per_s")),
    Target("vine-fork", "noop_per_s", 5, ("taskvine", "real_fork_per_s")),
    Target("vine-direct", "noop_per_s", 20, ("taskvine", "real_direct_per_s")),
    # Parsl's serverless mode forks for each call.
    Target("vine-regular", "noop_per_s", 5, ("taskvine-parsl", "real_regular_per_s")),
    Target("vine-fork", "noop_per_s", 5, ("taskvine-parsl", "real_fork_per_s")),
    Target("taskvine-trellis", "real_regular_per_s", 0.8, ("taskvine", "real_regular_per_s")),
    Target("taskvine-trellis", "real_fork_per_s", 0.7, ("taskvine", "real_fork_per_s")),
    Target("taskvine-trellis", "real_direct_per_s", 0.7, ("taskvine", "real_direct_per_s")),
    Target("taskvine-trellis", "real_regular_per_s", 5, ("taskvine-parsl", "real_regular_per_s")),
    Target("taskvine-trellis", "real_fork_per_s", 5, ("taskvine-parsl", "real_fork_per_s")),
    Target("vine-fork", "latency_p50_ms", 8),
    Target("vine-direct", "latency_p50_ms", 2),
    Target("vine-direct", "vine_copies_manager", 2),
    Target("vine-direct", "vine_chain_mb", 0),
    Target("vine-direct", "vine_again_mb", 0),
    Target("trellis", "managers_register_s", 20),
    Target("trellis", "managers_rss_mb", 500),
    Target("trellis", "managers_tasks_per_s", 8000),
    Target("trellis", "managers_growth_percent", 30),
)


def judge(target: Target, medians: Medians, titles: Mapping[str, str]) -> Verdict:
    """Whether a promise holds. What was measured is a ratio when the target is one."""
    figure = FIGURES[target.figure]
    text = _describe(target, titles)
    measured = medians.get(target.system, {}).get(target.figure)
    if measured is not None and target.reference is not None:
        system, name = target.reference
        base = medians.get(system, {}).get(name)
        measured = measured / base if base else None
    if measured is None:
        return Verdict(target, text, None, None)
    holds = measured >= target.factor if figure.more_is_better else measured <= target.factor
    return Verdict(target, text, measured, holds)


def _describe(target: Target, titles: Mapping[str, str]) -> str:
    figure = FIGURES[target.figure]
    relation = "≥" if figure.more_is_better else "≤"
    if target.reference is None:
        unit = "" if figure.unit == "ratio" else f" {figure.unit}"
        return f"{relation} {target.factor:,g}{unit}"
    system, name = target.reference
    other = titles[system] if name == target.figure else f"{titles[system]}: {FIGURES[name].title}"
    return f"{relation} {target.factor:g} × {other}"
