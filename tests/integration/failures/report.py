"""``python -m tests.integration.failures.report``: the table of failures, with times measured on this machine."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.integration.failures.conftest import REPORT_VARIABLE
from tests.integration.failures.rows import ROWS


def main() -> int:
    parser = argparse.ArgumentParser(description="Reproduce each failure, and measure when it is noticed.")
    parser.add_argument("--repetitions", type=int, default=3, help="of each row (%(default)s)")
    options = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "times"
        path.touch()
        for _ in range(options.repetitions):
            tests = [sys.executable, "-m", "pytest", "-q", "--no-header", str(Path(__file__).parent)]
            done = subprocess.run(
                tests, env={**os.environ, REPORT_VARIABLE: str(path)}, capture_output=True, text=True, check=False
            )
            if done.returncode:
                failed += 1
                print(done.stdout[-4000:], file=sys.stderr)
        times: defaultdict[str, list[float]] = defaultdict(list)
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            times[entry["row"]].append(entry["seconds"])
    print(table(times))
    return 1 if failed else 0


def table(times: Mapping[str, Sequence[float]]) -> str:
    """In Markdown: what was promised beside what was measured."""
    lines = [
        "| what happens | noticed by | within | measured: median (least - most) | n | outcome |",
        "|---|---|---|---|---|---|",
    ]
    for key, row in ROWS.items():
        measured = times.get(key, ())
        said = (
            f"{_text(statistics.median(measured))} ({_text(min(measured))} - {_text(max(measured))})"
            if measured
            else "not measured"
        )
        lines.append(
            f"| {row.what_happens} | {row.noticed_by} | {row.within} | {said} | {len(measured)} | {row.outcome} |"
        )
    return "\n".join(lines)


def _text(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


if __name__ == "__main__":
    sys.exit(main())
