"""What benchmark runs say together."""

import io
import json
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import machine, report
from benchmarks.systems import SYSTEMS
from rich.console import Console


def run(rate: float) -> dict[str, float]:
    return {"rate_per_s": rate, "tasks": 10, "latency_p50_ms": 1.0, "latency_p99_ms": 2.0, "first_result_s": 0.5}


RUNS = {"trellis": [run(900), run(1000), run(1200)], "parsl-tuned": [run(100)], "loky": []}


def test_median_and_spread_of_each_figure() -> None:
    summary = report.summarize(RUNS)
    assert summary["trellis"]["rate_per_s"] == report.Spread(1000, 900, 1200)
    assert summary["parsl-tuned"]["first_result_s"] == report.Spread(0.5, 0.5, 0.5)
    assert "loky" not in summary


def test_ratio_compares_medians() -> None:
    summary = report.summarize(RUNS)
    assert report.ratio(summary, "trellis", "parsl-tuned") == 10
    assert report.ratio(summary, "trellis", "processpool") is None


def test_table_fits_and_shows_rates_and_ratios() -> None:
    stream = io.StringIO()
    Console(file=stream, width=90).print(report.table(RUNS, {name: SYSTEMS[name].title for name in SYSTEMS}))
    text = stream.getvalue()
    assert "1,000" in text
    assert "900-1,200" in text
    assert "10.00" in text
    assert "…" not in text


def test_file_keeps_runs_summary_and_failures(tmp_path: Path) -> None:
    when = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    path = report.write(tmp_path / "results", when, {"cores": 2}, RUNS, {"loky": "no figures"})
    assert path.name == "2026-01-02-0304.json"
    content = json.loads(path.read_text())
    assert content["runs"] == RUNS
    assert content["summary"]["trellis"]["rate_per_s"] == {"median": 1000, "min": 900, "max": 1200}
    assert content["rate_ratios"]["trellis"] == {"parsl-tuned": 10, "processpool": None}
    assert content["machine"] == {"cores": 2}
    assert content["failures"] == {"loky": "no figures"}


def test_facts_about_the_machine_name_neither_host_nor_paths() -> None:
    facts = json.dumps(machine.facts())
    assert "cores" in facts
    assert str(Path.home()) not in facts
    assert str(Path(report.__file__).parents[1]) not in facts
