"""Promises and whether they hold."""

from __future__ import annotations

import pytest
from benchmarks.figures import FIGURES, TARGETS, Target, judge
from benchmarks.systems import SYSTEMS

TITLES = {name: system.title for name, system in SYSTEMS.items()}


@pytest.mark.parametrize(("value", "holds"), [(1999.0, False), (2000.0, True), (2001.0, True)])
def test_a_rate_must_be_at_least_so_high(value: float, holds: bool) -> None:
    verdict = judge(Target("trellis", "chain_per_s", 2000), {"trellis": {"chain_per_s": value}}, TITLES)
    assert (verdict.text, verdict.measured, verdict.holds) == ("≥ 2,000 links/s", value, holds)


@pytest.mark.parametrize(("value", "holds"), [(0.29, True), (0.3, True), (0.31, False)])
def test_a_time_must_be_at_most_so_long(value: float, holds: bool) -> None:
    verdict = judge(Target("trellis", "stop_s", 0.3), {"trellis": {"stop_s": value}}, TITLES)
    assert (verdict.text, verdict.holds) == ("≤ 0.3 s", holds)


@pytest.mark.parametrize(("pool", "holds"), [(100.0, True), (500.0, False)])
def test_a_promise_may_compare_with_another_system(pool: float, holds: bool) -> None:
    target = Target("trellis", "noop_per_s", 1.5, ("processpool", "noop_per_s"))
    verdict = judge(target, {"trellis": {"noop_per_s": 600.0}, "processpool": {"noop_per_s": pool}}, TITLES)
    assert verdict.text == "≥ 1.5 × ProcessPoolExecutor"
    assert verdict.measured == 600.0 / pool
    assert verdict.holds is holds


def test_a_promise_may_compare_with_another_figure() -> None:
    target = Target("trellis", "fan_in_per_s", 0.85, ("trellis", "noop_per_s"))
    verdict = judge(target, {"trellis": {"fan_in_per_s": 90.0, "noop_per_s": 100.0}}, TITLES)
    assert verdict.text == "≥ 0.85 × Trellis: no-op tasks"
    assert verdict.holds


@pytest.mark.parametrize("medians", [{}, {"trellis": {"noop_per_s": 1.0}}, {"processpool": {"noop_per_s": 1.0}}])
def test_what_was_not_measured_is_not_judged(medians: dict[str, dict[str, float]]) -> None:
    verdict = judge(Target("trellis", "noop_per_s", 1.5, ("processpool", "noop_per_s")), medians, TITLES)
    assert verdict.measured is None
    assert verdict.holds is None


def test_targets_name_figures_and_systems_that_exist() -> None:
    for target in TARGETS:
        for system, figure in [(target.system, target.figure), *([target.reference] if target.reference else [])]:
            assert system in SYSTEMS
            assert figure in FIGURES
