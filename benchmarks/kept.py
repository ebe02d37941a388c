"""The files that are kept of a comparison: all values as JSON, its tables as Markdown, its chart."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import chart, tables
from benchmarks.report import Report


def write(directory: Path, report: Report) -> list[Path]:
    """Keep every single value in ``<date>-<time>.json``, and show the last run in ``latest.md`` and ``latest.svg``."""
    directory.mkdir(parents=True, exist_ok=True)
    data = directory / f"{report.when:%Y-%m-%d-%H%M}.json"
    data.write_text(json.dumps(content(report), indent=1) + "\n", encoding="utf-8")
    text = directory / "latest.md"
    text.write_text(tables.markdown(report, data.name), encoding="utf-8")
    picture = directory / "latest.svg"
    picture.write_text(chart.render(report), encoding="utf-8")
    return [data, text, picture]


def content(report: Report) -> dict[str, object]:
    """What the JSON file holds."""
    return {
        "measured_at": report.when.isoformat(timespec="seconds"),
        "machine": report.machine,
        "summary": {
            system: {figure: spread._asdict() for figure, spread in figures.items()}
            for system, figures in report.summary.items()
        },
        "targets": [
            {
                "system": verdict.target.system,
                "figure": verdict.target.figure,
                "target": verdict.text,
                "measured": verdict.measured,
                "holds": verdict.holds,
            }
            for verdict in report.verdicts
        ],
        "values": report.values,
        "failures": report.failures,
    }
