"""The status of a run in the text format of Prometheus. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

Labels = Mapping[str, object]


class _Metric(NamedTuple):
    name: str
    kind: str
    help: str
    samples: Sequence[tuple[Labels, float | None]]  # None: not known, and left out


def as_prometheus(status: Mapping[str, Any]) -> str:
    """Text for Prometheus, of a ``RunStatus`` as ``as_json`` makes it, or of that part of it that is known."""
    return "".join(_lines(_of_run(status), status.get("run", {})))


def _lines(metrics: Iterable[_Metric], run: Mapping[str, Any]) -> Iterator[str]:
    common = {"run": run.get("run_id", ""), "run_dir": run.get("run_dir", "")}
    for metric in metrics:
        samples = [(labels, value) for labels, value in metric.samples if value is not None]
        if samples:
            yield f"# HELP {metric.name} {metric.help}\n# TYPE {metric.name} {metric.kind}\n"
        for labels, value in samples:
            pairs = ",".join(f'{name}="{_escaped(label)}"' for name, label in {**common, **labels}.items())
            yield f"{metric.name}{{{pairs}}} {_number(value)}\n"


def _escaped(label: object) -> str:
    return str(label).replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def _of_run(status: Mapping[str, Any]) -> Iterator[_Metric]:
    run = status.get("run", {})
    state = status.get("state", "")
    about = {name: run.get(name, "") for name in ("program", "project", "host", "user", "version", "python", "pid")}
    yield _Metric("trellis_up", "gauge", "1: the program of the run answers", [({"state": state}, state == "live")])
    yield _Metric("trellis_run_info", "gauge", "What the run is", [(about, 1)])
    yield _gauge("trellis_run_started_timestamp_seconds", "When the run began", run.get("started_at"))
    yield _gauge("trellis_run_ended_timestamp_seconds", "When the run ended", status.get("ended_at"))
    apps = status.get("apps", ())
    yield _Metric(
        "trellis_tasks",
        "gauge",
        "Tasks by app and state",
        [({"app": app["app"], "state": name}, count) for app in apps for name, count in app["states"].items()],
    )
    yield _Metric(
        "trellis_tasks_submitted_total",
        "counter",
        "Tasks that were submitted",
        [({"app": app["app"]}, app["total"]) for app in apps],
    )
    yield _gauge("trellis_tasks_per_second", "Tasks that became final, in the last seconds", status.get("rate_per_s"))
    yield _gauge("trellis_eta_seconds", "When all tasks are final, if it goes on like that", status.get("eta_s"))
    yield from _of_executors(status.get("executors", ()))


def _gauge(name: str, help_: str, value: float | None) -> _Metric:
    return _Metric(name, "gauge", help_, [({}, value)])


def _of_executors(executors: Sequence[Mapping[str, Any]]) -> Iterator[_Metric]:
    for field, help_ in (
        ("workers", "Tasks that the executor can run at a time now"),
        ("queued", "Tasks in the executor's queue"),
        ("assigned", "Tasks at managers or workers that have not begun"),
        ("running", "Tasks that run"),
        ("max_blocks", "Blocks that the executor may have"),
    ):
        samples = [({"executor": one["label"], "type": one["kind"]}, one.get(field)) for one in executors]
        yield _Metric(f"trellis_executor_{field}", "gauge", help_, samples)
    broken = [({"executor": one["label"]}, 1 if one.get("error") else 0) for one in executors]
    yield _Metric("trellis_executor_failed", "gauge", "1: the executor cannot work any more", broken)
    busy = [({"executor": one["label"]}, _sum(one, "busy")) for one in executors]
    yield _Metric("trellis_executor_busy_workers", "gauge", "Workers that have a task", busy)
    for field, help_ in (("managers", "Managers or workers by state"), ("blocks", "Blocks by state")):
        yield _Metric(
            f"trellis_{field}",
            "gauge",
            help_,
            [
                ({"executor": one["label"], "state": state}, count)
                for one in executors
                for state, count in sorted(Counter(part["state"] for part in one.get(field, ())).items())
            ],
        )


def _sum(executor: Mapping[str, Any], field: str) -> float | None:
    managers = executor.get("managers", ())
    return sum(manager[field] for manager in managers) if managers else None
