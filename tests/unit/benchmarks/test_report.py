"""What benchmark runs say together, and the files that keep it."""

from __future__ import annotations

import json
from pathlib import Path

import benchmarks
from benchmarks import machine
from benchmarks.kept import write
from benchmarks.report import Spread

from tests.unit.benchmarks.samples import VALUES, report


def test_median_and_spread_of_each_figure() -> None:
    summary = report().summary
    assert summary["trellis"]["noop_per_s"] == Spread(1000, 900, 1200)
    assert summary["parsl-tuned"]["first_result_s"] == Spread(7.25, 7.25, 7.25)


def test_systems_are_in_their_usual_order_and_those_without_figures_are_left_out() -> None:
    assert list(report().summary) == ["trellis", "parsl-tuned", "processpool"]


def test_ratio_compares_medians() -> None:
    assert report().ratio("trellis", "noop_per_s", "parsl-tuned") == 10
    assert report().ratio("trellis", "noop_per_s", "ray") is None
    assert report().ratio("trellis", "args_100kB_per_s", "parsl-tuned") is None


def test_headline_tells_date_machine_and_peers() -> None:
    assert report().headline == "2 January 2026, Abacus <9000>, 2 cores, Python 3.12.0; parsl 2025.1.13"


def test_files_keep_values_summary_targets_and_failures(tmp_path: Path) -> None:
    paths = write(tmp_path / "results", report())
    assert [path.name for path in paths] == ["2026-01-02-0304.json", "latest.md", "latest.svg"]
    content = json.loads(paths[0].read_text())
    assert content["values"] == VALUES
    assert content["summary"]["trellis"]["noop_per_s"] == {"median": 1000, "min": 900, "max": 1200}
    assert content["machine"]["processor"] == "Abacus <9000>"
    assert content["failures"] == {"loky": {"noop": "it is broken"}}
    first = content["targets"][0]
    assert (first["target"], first["measured"], first["holds"]) == ("≥ 12 × Parsl, tuned", 10, False)
    assert "2026-01-02-0304.json" in paths[1].read_text()


def test_facts_about_the_machine_name_neither_host_nor_paths() -> None:
    facts = json.dumps(machine.facts())
    assert "cores" in facts
    assert str(Path.home()) not in facts
    assert str(Path(benchmarks.__file__).parents[1]) not in facts
