"""The page of Parsl's names says what is so: its facts are those of Parsl, and what it says of Trellis is tried."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from tests.parsl_names import compare, write
from trellis.core.missing import Missing

# Where releases of Parsl lie that the facts are compared with, the folders ``parsl`` of unpacked wheels; what is
# installed beside Trellis is found without.
PACKAGES = "TRELLIS_PARSL_PACKAGES"


def packages() -> list[Path]:
    """Trees of Parsl's source on this host."""
    named = [Path(path) for path in os.environ.get(PACKAGES, "").split(os.pathsep) if path]
    spec = importlib.util.find_spec("parsl")
    here = [Path(spec.origin).parent] if spec is not None and spec.origin is not None else []
    return [*named, *(path for path in here if path.name == "parsl")]


@pytest.mark.parametrize("package", packages() or [None], ids=str)
def test_the_facts_are_those_of_the_release(package: Path | None) -> None:
    if package is None:
        pytest.skip(f"no Parsl is installed, and {PACKAGES} names none")
    assert write.held(package) is None


def test_the_page_is_as_trellis_is() -> None:
    said = write.PAGE.read_text(encoding="utf-8")
    assert said == write.page(), "run: python -m tests.parsl_names.write"


def test_the_totals_are_those_of_all_names() -> None:
    for number in compare.RELEASES:
        names = [
            entry
            for found in compare.release(number).values()
            for entry in found.values()
            if entry["kind"] != "passed on" or entry.get("listed")
        ]
        assert len(names) == sum(number in row.releases for row in compare.rows())


@pytest.mark.parametrize("module", compare.modules())
def test_classes_and_exceptions_can_be_imported_from_where_parsl_has_them(module: str) -> None:
    for row in compare.rows():
        if row.module == module and row.kind in ("class", "exception"):
            found = compare.ours(row.path)
            assert isinstance(found, type), row.path
            assert (row.kind == "exception") == (issubclass(found, BaseException) and not issubclass(found, Missing))


def test_what_is_absent_has_a_reason_and_what_is_replaced_a_successor() -> None:
    bare = [row.path for row in compare.rows() if row.status in (compare.ABSENT, compare.REPLACED) and not row.words]
    assert bare == []


@pytest.mark.parametrize("status", ["differs", "replaced", "absent"])
def test_no_reason_is_left_over(status: str) -> None:
    table: dict[str, str] = getattr(compare.reasons(), status)
    names = {"differs": compare.DIFFERS, "replaced": compare.REPLACED, "absent": compare.ABSENT}
    paths = [row.path for row in compare.rows() if row.status == names[status]]
    longest = compare.beginnings(table)
    used = {
        path if path in table else next((key for key in longest if path.startswith(key[:-1])), None) for path in paths
    }
    assert sorted(set(table) - used) == []


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        ([["a"], ["b", "3"]], []),
        ([["a"], ["b", "4"]], ["`b` is `3` unless given (in Parsl `4`)"]),
        ([["a"]], ["also `b`"]),
        ([["b", "3"], ["a"]], ["parameters in another order"]),
        ([["a"], ["b", "3"], ["c", "..."]], ["without `c`"]),
    ],
)
def test_signatures_are_compared(theirs: list[list[str]], words: list[str]) -> None:
    def ours(a: int, b: int = 3) -> None: ...

    assert list(compare._differing(ours, {"kind": "function", "parameters": theirs})) == words


def test_values_and_attributes_are_compared() -> None:
    class Ours:
        there = 1

        def __init__(self) -> None:
            self.made = 2

        def call(self, x: int) -> None: ...

    members = {"there": "value", "made": "value", "gone": "property", "call": [["y"]]}
    assert list(compare._differing(Ours, {"kind": "class", "members": members})) == [
        "no attributes `gone`",
        "`call()` `y` is called `x`",
    ]
    assert list(compare._differing(3, {"kind": "constant", "value": "4"})) == ["is `3`"]


def test_a_tree_of_source_is_read(tmp_path: Path) -> None:
    package = tmp_path / "parsl"
    (package / "part").mkdir(parents=True)
    (package / "tests").mkdir()
    (package / "tests" / "test_it.py").write_text("def test(): ...")
    (package / "__init__.py").write_text("from parsl.part.base import Base as B\n__all__ = ['B']\n")
    (package / "version.py").write_text("VERSION = '1'\n")
    (package / "part" / "__init__.py").write_text("")
    (package / "part" / "base.py").write_text(
        "import os\nfrom typing import Any\ntry:\n    import x\nexcept ImportError:\n    WITH = False\n"
        "class Base:\n    def __init__(self, a, *, b=2): ...\n    def run(self, n=None): ...\n    def _own(self): ...\n"
        "class Failure(ValueError): ...\n"
    )
    (package / "part" / "more.py").write_text(
        "from .base import Base\nclass More(Base):\n    @property\n    def size(self): ...\n"
        "if __name__ == '__main__':\n    hidden = 1\n"
    )
    base = {"kind": "class", "members": {"run": [["n", "None"]]}, "parameters": [["a"], ["*"], ["b", "2"]]}
    assert write.facts(package) == {
        "parsl": {"B": {"kind": "passed on", "from": "parsl.part.base.Base", "listed": True}},
        "parsl.part": {},
        "parsl.part.base": {
            "Base": base,
            "Failure": {"kind": "exception", "members": {}},
            "WITH": {"kind": "constant", "value": "False"},
        },
        "parsl.part.more": {
            "Base": {"kind": "passed on", "from": "parsl.part.base.Base"},
            "More": base | {"members": {"run": [["n", "None"]], "size": "property"}},
        },
        "parsl.version": {"VERSION": {"kind": "constant", "value": "'1'"}},
    }
    assert write.number(package) == "1"
    assert "1.json is not there: python -m tests.parsl_names.write --from" in str(write.held(package))
    (package / "version.py").write_text(f"VERSION = {compare.RELEASES[0]!r}\n")
    assert f"{compare.RELEASES[0]}.json says something else: " in str(write.held(package))
