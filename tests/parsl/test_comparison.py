"""What became of Parsl's tests is held against what is expected of them: everything that is not so is told."""

from __future__ import annotations

import json
import math
import os
import subprocess
from pathlib import Path

import pytest

from tests.parsl import expectations
from tests.parsl.expectations import ExpectationError, Expectations, Reason, Table, read
from tests.parsl.run import ends
from tests.parsl.verdict import Outcome, Verdict, judge, read_record

ROWS = {"the log", "Not there yet"}
INTERNAL = Reason("internal", "a private name")
PASSED, FAILED, SKIPPED, LEFT_OUT = map(Outcome, ("passed", "failed", "skipped", "left out"))


def judged(
    outcomes: dict[str, Outcome], run: int, reasons: dict[str, Reason], *slow: str, whole: bool = True
) -> Verdict:
    return judge(outcomes, Table(run, reasons), whole=whole, slow=slow)


def test_what_is_as_expected_is_counted_by_its_kind() -> None:
    outcomes = {
        "a.py::one": PASSED,
        "a.py::two": FAILED,
        "a.py::three": SKIPPED,
        "b.py": Outcome("unimportable"),
        "c.py::one": LEFT_OUT,
        "c.py::two": LEFT_OUT,
    }
    reasons = {
        "a.py::two": Reason("deliberate", "better", row="the log"),
        "b.py": Reason("internal", "no such module", tests=4),
        "c.py::one": Reason("environment", "root"),
    }
    verdict = judged(outcomes, 7, reasons)
    assert verdict.complaints == []
    assert verdict.counts == {"passed": 1, "internal": 4, "deliberate": 1, "environment": 1, "skipped": 1}


def test_a_failure_that_is_not_listed_is_told_with_its_words() -> None:
    verdict = judged({"a.py::one": Outcome("failed", "assert 1 == 2")}, 1, {})
    assert verdict.complaints == ["a.py::one fails, and is not listed:\nassert 1 == 2"]


def test_a_module_that_is_not_listed_and_cannot_be_imported_is_told() -> None:
    verdict = judged({"a.py": Outcome("unimportable", "no module x")}, 1, {})
    assert verdict.complaints == ["a.py is a module that cannot be imported, and is not listed:\nno module x"]


@pytest.mark.parametrize("outcome", [PASSED, SKIPPED])
def test_a_line_that_is_stale_is_told(outcome: Outcome) -> None:
    verdict = judged({"a.py::one": outcome}, int(outcome is PASSED), {"a.py::one": INTERNAL})
    assert verdict.complaints == [f"a.py::one is listed, and was {outcome.kind}: remove its line"]


def test_what_passes_with_luck_may_pass_and_may_fail() -> None:
    lucky = {"a.py::one": INTERNAL._replace(sometimes=True)}
    assert judged({"a.py::one": PASSED}, 1, lucky).complaints == []
    assert judged({"a.py::one": FAILED}, 1, lucky).complaints == []


def test_a_line_for_a_test_that_does_not_exist_is_told() -> None:
    verdict = judged({"a.py::one": PASSED}, 1, {"a.py::two": INTERNAL, "b.py": INTERNAL})
    assert verdict.complaints == [
        "a.py::two is listed, and there is no such test",
        "b.py is listed, and there is no such test",
    ]


def test_a_line_for_a_module_that_can_be_imported_is_told() -> None:
    verdict = judged({"a.py::one": PASSED}, 1, {"a.py": INTERNAL})
    assert verdict.complaints == ["a.py is listed, and can be imported: remove its line"]


@pytest.mark.parametrize("run", [1, 3])
def test_another_number_of_tests_is_told(run: int) -> None:
    verdict = judged({"a.py::one": PASSED, "a.py::two": PASSED, "a.py::three": SKIPPED}, run, {})
    assert verdict.complaints == [f"2 tests were run, and {run} are expected: are some not found, or skipped?"]


def test_slow_ones_that_are_left_out_are_not_missed() -> None:
    outcomes = {"a.py::one": PASSED, "slow.py::one": LEFT_OUT, "b.py::slow": LEFT_OUT, "b.py::other": LEFT_OUT}
    assert judged(outcomes, 3, {"slow.py::one": INTERNAL}, "slow.py", "b.py::slow").complaints == []


def test_of_a_part_of_the_tests_nothing_is_missed() -> None:
    assert judged({"a.py::one": PASSED, "a.py::two": LEFT_OUT}, 9, {"b.py": INTERNAL}, whole=False).complaints == []


def lines(*entries: dict[str, object]) -> list[str]:
    return [json.dumps(entry) + "\n" for entry in entries]


def test_a_record_tells_what_was_running_when_it_breaks_off() -> None:
    begun = lines(
        {"what": "collected", "test": "a.py::one"},
        {"what": "collected", "test": "a.py::two"},
        {"what": "begun", "test": "a.py::one"},
        {"what": "passed", "test": "a.py::one", "words": "", "seconds": 1.5},
        {"what": "begun", "test": "a.py::two"},
    )
    record = read_record([*begun, '{"what": "fai'])
    assert (record.running, record.ended) == ("a.py::two", False)
    assert record.outcomes == {"a.py::one": Outcome("passed", "", 1.5), "a.py::two": LEFT_OUT}


def test_a_record_tells_that_the_run_has_ended() -> None:
    assert read_record(lines({"what": "ended", "test": "", "code": 0})).ended


class Process:
    def __init__(self, turns: float) -> None:
        self.turns = turns

    def wait(self, timeout: float) -> int:
        self.turns -= 1
        if self.turns >= 0:
            raise subprocess.TimeoutExpired("pytest", timeout)
        return 0


def test_a_run_ends_by_itself_or_is_late_or_stands_still(tmp_path: Path) -> None:
    record = tmp_path / "record"
    record.touch()
    assert ends(Process(3), record, 60)  # type: ignore[arg-type]
    assert not ends(Process(math.inf), record, 0)  # type: ignore[arg-type]
    os.utime(record, (0, 0))
    assert not ends(Process(math.inf), record, 60)  # type: ignore[arg-type]


def entry(text: str) -> Expectations:
    return read(f'["1.2".local]\nrun = 3\n["1.2".local.tests]\n{text}\n', ROWS)


def test_tables_are_read() -> None:
    found = read('slow = ["a.py"]\n', ROWS)
    assert found == Expectations(("a.py",), {})
    found = entry('"a.py::one" = { kind = "deliberate", row = "the log", why = "one log" }')
    assert found.tables["1.2"]["local"] == Table(3, {"a.py::one": Reason("deliberate", "one log", row="the log")})


def test_modules_that_cannot_be_imported_are_listed_once_for_all_configurations() -> None:
    text = '["1.2".modules]\n"a.py" = { kind = "internal", tests = 4, why = "x" }\n'
    tables = read(text + '["1.2".local]\nrun = 4\n["1.2".htex_local]\nrun = 0\n', ROWS).tables["1.2"]
    assert tables["local"] == Table(4, {"a.py": Reason("internal", "x", tests=4)})
    assert tables["htex_local"] == Table(0, {"a.py": Reason("internal", "x", tests=0)})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('"a::b" = { kind = "odd", why = "x" }', "kind must be one of internal, deliberate, environment, not 'odd'"),
        ('"a::b" = { kind = "internal" }', "why must say the reason"),
        ('"a::b" = { kind = "internal", why = "x", wy = 1 }', "wy means nothing"),
        ('"a::b" = { kind = "internal", why = "x", tests = 2 }', "only such an entry has it"),
        ('"a.py" = { kind = "internal", why = "x" }', "tests is the number of tests in a module"),
        ('"a::b" = { kind = "deliberate", why = "x" }', "row names the row of coming-from-parsl.md"),
        ('"a::b" = { kind = "internal", why = "x", row = "the log" }', "for kind deliberate alone"),
        ('"a::b" = { kind = "deliberate", why = "x", row = "the lock" }', "has no row 'the lock'"),
        ('"b::b" = { kind = "internal", why = "x" }\n"a::b" = { kind = "internal", why = "x" }', "must be sorted"),
        ('"a::b" = {', "not TOML"),
    ],
)
def test_an_entry_that_makes_no_sense_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ExpectationError, match=complaint):
        entry(text)


def test_a_configuration_that_there_is_not_is_refused() -> None:
    with pytest.raises(ExpectationError, match="no configuration is called htx"):
        read('["1.2".htx]\nrun = 1\n', ROWS)


def test_rows_are_those_of_the_table_and_what_is_absent() -> None:
    page = (
        "## Not there yet\n\n## What differs on purpose\n\n| | Parsl | Trellis |\n|---|---|---|\n| `a` b | no | yes |\n"
    )
    assert expectations.rows(page) == {"`a` b", "Not there yet"}


def test_what_is_expected_makes_sense() -> None:
    expected = expectations.load()
    for release, tables in expected.tables.items():
        assert set(tables) == set(expectations.CONFIGURATIONS), release
