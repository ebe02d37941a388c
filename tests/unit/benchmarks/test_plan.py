"""Which runs there are, and in which order."""

from __future__ import annotations

from benchmarks.cases import CASES
from benchmarks.plan import Run, make_plan
from benchmarks.systems import SYSTEMS


def order(systems: list[str], cases: list[str], repeats: int) -> list[tuple[str, tuple[str, ...]]]:
    return [(run.system, run.cases) for run in make_plan(systems, cases, repeats)]


def test_rounds_are_interleaved_and_begin_with_another_system() -> None:
    assert [run.system for run in make_plan(["trellis", "processpool"], ["noop"], 2)] == [
        "trellis",
        "processpool",
        "processpool",
        "trellis",
    ]


def test_cases_of_a_system_share_its_start() -> None:
    assert order(["trellis"], ["chain", "noop", "start"], 1) == [("trellis", ("start", "noop", "chain"))]


def test_systems_do_only_what_they_can() -> None:
    assert order(["processpool", "spawn-loop"], ["chain", "noop", "bash"], 1) == [
        ("processpool", ("noop",)),
        ("spawn-loop", ("bash",)),
    ]


def test_what_ends_or_needs_no_session_is_done_apart() -> None:
    assert order(["trellis"], ["noop", "outstanding", "import"], 1) == [
        ("trellis", ("noop",)),
        ("trellis", ("outstanding",)),
        ("trellis", ("import",)),
    ]


def test_long_cases_are_done_once() -> None:
    assert order(["trellis"], ["noop", "many-managers"], 2) == [
        ("trellis", ("noop",)),
        ("trellis", ("many-managers",)),
        ("trellis", ("noop",)),
    ]


def test_starting_a_system_takes_time_unless_it_is_not_opened() -> None:
    assert Run("parsl", ("noop",), 0).seconds > SYSTEMS["parsl"].start_s
    assert Run("parsl", ("import",), 0).seconds < CASES["import"].seconds + SYSTEMS["parsl"].start_s


def test_everything_fits_into_a_quarter_of_an_hour() -> None:
    assert sum(run.seconds for run in make_plan(list(SYSTEMS), list(CASES), 3)) < 15 * 60


def test_every_case_measures_and_names_systems_that_exist() -> None:
    for name, case in CASES.items():
        assert set(case.systems) <= set(SYSTEMS)
        assert (case.measure is not None) + (case.bare is not None) == (name != "start")
