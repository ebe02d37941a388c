"""The real TaskVine among the systems of the benchmark. Nothing is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from benchmarks import cases, taskvine
from benchmarks.figures import FIGURES
from benchmarks.session import QUICK, Effort
from benchmarks.systems import SYSTEMS

from tests.real.taskvine import bed, rates


def test_all_drive_the_real_taskvine_but_parsl_has_no_direct_mode() -> None:
    assert (
        cases.on_taskvine("regular") == cases.on_taskvine("fork") == ("taskvine", "taskvine-trellis", "taskvine-parsl")
    )
    assert cases.on_taskvine("direct") == ("taskvine", "taskvine-trellis")


def test_what_drives_it_is_known_there() -> None:
    for mode in taskvine.MODES:
        for name in cases.on_taskvine(mode):
            assert rates.has(SYSTEMS[name].on_taskvine, mode)
            assert SYSTEMS[name].on_taskvine in rates.SYSTEMS
    assert taskvine.MODES == rates.MODES


@pytest.mark.parametrize("mode", taskvine.MODES)
def test_a_case_asks_for_its_system_and_its_figures_have_titles(
    mode: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[Any, ...]] = []

    def measure(*arguments: Any) -> tuple[float, float]:
        asked.append(arguments)
        return 50.0, 0.02

    monkeypatch.setattr(bed, "measure", measure)
    monkeypatch.setattr(taskvine, "root", lambda: str(tmp_path))
    found = taskvine.real(mode, SYSTEMS["taskvine-parsl"], Effort())
    taskvine.real(mode, SYSTEMS["taskvine"], QUICK)
    assert found == {f"real_{mode}_per_s": 50.0, f"real_{mode}_ms": 20.0}
    assert set(found) <= set(FIGURES)
    assert [arguments[:3] for arguments in asked] == [(tmp_path, "parsl", mode), (tmp_path, "native", mode)]
    assert asked[0][3] > asked[1][3] >= 2
