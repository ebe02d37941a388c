"""The page on TaskVineExecutor lists every parameter and field, with its default, and with a test that there is."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from tests.architecture.source import ROOT
from tests.architecture.test_parameter_table import ROW, Row, source_of
from trellis.executors.taskvine import TaskVineExecutor, TaskVineFactoryConfig, TaskVineManagerConfig
from trellis.executors.taskvine.front.specification import KEYS
from trellis.executors.taskvine.tuning import EMBEDDED

PAGE = (ROOT / "docs" / "taskvine.md").read_text(encoding="utf-8")
CLASSES: dict[str, type] = {
    one.__name__: one for one in (TaskVineExecutor, TaskVineManagerConfig, TaskVineFactoryConfig)
}


def rows(name: str) -> list[Row]:
    section = PAGE.partition(f"### {name}\n")[2].partition("\n### ")[0]
    return [Row(*found) for found in ROW.findall(section)]


@pytest.mark.parametrize("name", CLASSES)
def test_everything_is_in_the_table_with_its_default(name: str) -> None:
    parameters = {key: repr(one.default) for key, one in inspect.signature(CLASSES[name]).parameters.items()}
    assert {row.name: row.default for row in rows(name)} == parameters
    assert len(rows(name)) == len(parameters)


@pytest.mark.parametrize("row", [row for name in CLASSES for row in rows(name)], ids=lambda row: row.name)
def test_the_test_of_each_exists_and_uses_it(row: Row) -> None:
    source = source_of(row)
    assert source is not None, f"{row.name}: there is no test {row.test}"
    assert re.search(rf"\b{row.name}\b", source), f"{row.test} does not mention {row.name}"


def test_every_key_of_a_specification_is_told() -> None:
    section = PAGE.partition("## What a task needs\n")[2].partition("\n## ")[0]
    told = re.findall(r"^\| (`[^|]+`) \|", section, re.MULTILINE)
    assert sorted(key for cell in told for key in re.findall(r"`(\w+)`", cell)) == sorted(KEYS)


def test_every_tuning_parameter_is_told_and_acted_upon() -> None:
    package = Path(inspect.getfile(TaskVineExecutor)).parent / "embedded"
    acted_upon = "".join(path.read_text(encoding="utf-8") for path in package.rglob("*.py"))
    for name in EMBEDDED:
        assert f"`{name}`" in PAGE
        assert f'"{name}"' in acted_upon, f"nobody acts upon {name}"
    names = set(re.findall(r'tune\.get\("([\w-]+)"', acted_upon))
    assert names == set(EMBEDDED)
