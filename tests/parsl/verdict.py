"""Holds what became of Parsl's tests against what is expected of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tests.parsl.expectations import KINDS, Table

COLUMNS = ("passed", *KINDS, "skipped")


class Outcome(NamedTuple):
    # "passed", "failed" or "skipped"; "unimportable": a module; "left out": one that was not wanted this time
    kind: str
    words: str = ""
    seconds: float = 0.0


class Record(NamedTuple):
    """A run, as its plugin wrote it down."""

    outcomes: Mapping[str, Outcome]
    running: str  # what has begun and not ended
    ended: bool


class Verdict(NamedTuple):
    counts: Mapping[str, int]  # by COLUMNS
    complaints: Sequence[str]


def read_record(lines: Iterable[str]) -> Record:
    outcomes: dict[str, Outcome] = {}
    running, ended = "", False
    for line in lines:
        if not line.endswith("\n"):
            break  # its writer was killed
        entry: dict[str, Any] = json.loads(line)
        match entry["what"]:
            case "collected":
                outcomes[entry["test"]] = Outcome("left out")
            case "begun":
                running = entry["test"]
            case "ended":
                ended = True
            case what:
                outcomes[entry["test"]] = Outcome(what, entry["words"], entry.get("seconds", 0.0))
                running = ""
    return Record(outcomes, running, ended)


def judge(outcomes: Mapping[str, Outcome], table: Table, *, whole: bool, slow: Sequence[str] = ()) -> Verdict:
    """Count what became of the tests, and complain of what is not as expected.

    Args:
        whole: All tests were wanted, but for those of ``slow``.
    """
    counts: Counter[str] = Counter(dict.fromkeys(COLUMNS, 0))
    complaints = []
    for test, outcome in outcomes.items():
        reason = table.reasons.get(test)
        if outcome.kind in ("failed", "unimportable"):
            if reason is None:
                what = "fails" if outcome.kind == "failed" else "is a module that cannot be imported"
                complaints.append(f"{test} {what}, and is not listed:\n{outcome.words}")
            else:
                counts[reason.kind] += reason.tests
        elif outcome.kind == "left out":
            if whole and reason is not None and not _is_slow(test, slow):
                counts[reason.kind] += 1  # this machine cannot run it
        else:
            counts[outcome.kind] += 1
            if reason is not None and not reason.sometimes:
                complaints.append(f"{test} is listed, and was {outcome.kind}: remove its line")
    if whole:
        complaints += _missing(outcomes, table)
        complaints += _too_few(outcomes, table, slow)
    return Verdict(counts, complaints)


def _missing(outcomes: Mapping[str, Outcome], table: Table) -> list[str]:
    modules = {test.partition("::")[0] for test in outcomes}
    found = []
    for name in table.reasons:
        if name in outcomes or ("::" not in name and name in modules):
            if name not in outcomes:
                found.append(f"{name} is listed, and can be imported: remove its line")
        else:
            found.append(f"{name} is listed, and there is no such test")
    return found


def _too_few(outcomes: Mapping[str, Outcome], table: Table, slow: Sequence[str]) -> list[str]:
    ran = sum(
        table.reasons[test].tests if outcome.kind == "unimportable" and test in table.reasons else 1
        for test, outcome in outcomes.items()
        if outcome.kind in ("passed", "failed", "unimportable")
        or (outcome.kind == "left out" and (test in table.reasons or _is_slow(test, slow)))
    )
    if ran != table.run:
        return [f"{ran} tests were run, and {table.run} are expected: are some not found, or skipped?"]
    return []


def _is_slow(test: str, slow: Sequence[str]) -> bool:
    return test in slow or test.partition("::")[0] in slow
