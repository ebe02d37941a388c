"""The chart: well-formed, self-contained, and drawn to scale."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from benchmarks import chart
from benchmarks.chart import Scale
from benchmarks.figures import FIGURES

from tests.unit.benchmarks.samples import report

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def picture() -> ET.Element:
    return ET.fromstring(chart.render(report()))


def texts(picture: ET.Element) -> list[str]:
    return [element.text or "" for element in picture.iter(f"{SVG}text")]


def test_panels_with_figures_are_drawn_and_others_are_not(picture: ET.Element) -> None:
    shown = texts(picture)
    assert "Tasks that do nothing" in shown
    assert "Start" in shown
    assert "Chain" not in shown


def test_machine_is_named_and_escaped(picture: ET.Element) -> None:
    assert any("Abacus <9000>" in text for text in texts(picture))


def test_bars_are_in_order_best_first(picture: ET.Element) -> None:
    shown = texts(picture)
    start = shown.index("Tasks that do nothing")
    names = [text for text in shown[start : shown.index("Arguments of 100 kB")] if text in chart.TITLES.values()]
    assert names == ["Trellis", "ProcessPoolExecutor", "Parsl, tuned"]


def test_nothing_is_fetched_from_elsewhere() -> None:
    assert chart.render(report()).count("http") == 1  # the name of SVG itself


def test_everything_lies_within_the_picture(picture: ET.Element) -> None:
    width, height = float(picture.get("width", "0")), float(picture.get("height", "0"))
    for bar in picture.iter(f"{SVG}rect"):
        if bar.get("class") == "paper":
            continue
        left, top = float(bar.get("x", "nan")), float(bar.get("y", "nan"))
        assert 0 <= left <= left + float(bar.get("width", "nan")) <= width
        assert 0 <= top <= height - chart.BAR


def test_similar_values_have_a_scale_from_zero() -> None:
    scale = Scale.of([50.0, 100.0], 0.0, 200.0)
    assert not scale.logarithmic
    assert (scale.x(0), scale.x(50), scale.x(100)) == (0.0, 100.0, 200.0)
    assert scale.ticks()[0] == 0
    assert scale.ticks()[-1] <= 100


def test_values_far_apart_have_a_logarithmic_scale_on_which_even_the_smallest_has_a_bar() -> None:
    scale = Scale.of([10.0, 100_000.0], 0.0, 200.0)
    assert scale.logarithmic
    assert 0 < scale.x(10) < scale.x(1000) < scale.x(100_000) == 200
    assert scale.x(1000) - scale.x(100) == pytest.approx(scale.x(100) - scale.x(10))
    assert scale.ticks() == [1.0, 10.0, 100.0, 1000.0, 10_000.0, 100_000.0]


def test_panels_show_figures_that_exist() -> None:
    assert all(panel.figure in FIGURES for column in chart.COLUMNS for panel in column)
