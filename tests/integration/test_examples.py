"""The example programs run as users run them, on threads and on HTEX, and say what they should."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SURVEY = "stdlib_survey"
GENOME = "genome_search"

OUTPUT = {
    "hello": "Hello, world!\nexit code 0\nHELLO, WORLD!\n",
    "monte_carlo_pi": "pi is about 3.145\n",
    "bash_pipeline": "the lines found are in sevens\n76 numbers below 400 have a 7\n",
    "fibonacci": "fibonacci(10) is 55\n",
    "retries": ("got data, at attempt 3\ngave up: ValueError('there is no such thing')\nattempts for typo: 1\n"),
    "checkpoint": ("first run:  [0, 1, 4, 9, 16] with 5 tasks run\nsecond run: [0, 1, 4, 9, 16] with 0 tasks run\n"),
    "pool_map": "871 takes 178 steps to reach 1\n",
}


def run(cwd: Path, *arguments: str) -> str:
    """Standard output of an example; it must end well and have nothing to complain of."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_all_examples_are_tested() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*OUTPUT, SURVEY, GENOME}


def test_the_list_names_all_examples() -> None:
    text = (EXAMPLES / "README.md").read_text()
    assert [path.name for path in EXAMPLES.glob("*.py") if f"[{path.name}]({path.name})" not in text] == []


@pytest.mark.parametrize("executor", ["threads", "htex"])
@pytest.mark.parametrize("name", OUTPUT)
def test_example(name: str, executor: str, tmp_path: Path) -> None:
    assert run(tmp_path, str(EXAMPLES / f"{name}.py"), "--executor", executor) == OUTPUT[name]


@pytest.mark.parametrize("executor", ["threads", "htex"])
def test_survey(executor: str, tmp_path: Path) -> None:
    shown = run(tmp_path, str(EXAMPLES / f"{SURVEY}.py"), str(EXAMPLES), "--executor", executor)
    assert shown == (tmp_path / "survey" / "report.txt").read_text() + "\n"
    assert f"{len(list(EXAMPLES.glob('*.py')))} files" in shown


def test_genome_search(tmp_path: Path) -> None:
    words = ("--bases", "20000", "--queries", "60", "--plain", "10")
    hits, plain, fast, slow = run(tmp_path, str(EXAMPLES / f"{GENOME}.py"), *words).splitlines()
    assert hits == "1200 hits in 1200 reads"
    assert plain == "the other way found 200 hits in 200 reads"
    # One way or the other, each of two workers gets the reference once, and results of a few bytes are passed on.
    assert re.fullmatch(r"with cache and context: 0.0[45] MB moved for 60 queries, .* inputs already there", fast)
    assert slow.startswith("without: 0.20 MB moved for 10 queries, ")
