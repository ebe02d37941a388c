"""What Trellis has for each public name of Parsl: the same, with differences, something in its place, or nothing."""

from __future__ import annotations

import ast
import enum
import importlib
import inspect
import json
import re
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from tests.parsl_names.inventory import ROOT, Entry, Names
from trellis.core.missing import Missing

HERE = Path(__file__).parent
RELEASES = ("2025.01.13", "2026.10.26")  # the one whose interface Trellis has, and the newest

SAME, DIFFERS, REPLACED, ABSENT = "same", "same with differences", "replaced", "absent"
STATUSES = (SAME, DIFFERS, REPLACED, ABSENT)

Release = dict[str, Names]
Parameters = list[list[str]]
_NOTHING = object()
_LONGEST_VALUE = 40  # characters of a constant, in a cell of the table


class Row(NamedTuple):
    """One public name of Parsl's."""

    module: str
    name: str
    kind: str
    releases: tuple[str, ...]
    status: str
    words: str  # which differences, what in its place, or why not
    stand_in: bool = False  # it can be imported, and refuses to be used

    @property
    def path(self) -> str:
        return f"{self.module}.{self.name}"


class PassedOn(NamedTuple):
    """What a module of Parsl's passes on of other modules, by whether Trellis's does."""

    there: list[str]
    not_there: list[str]


def data_file(release: str) -> Path:
    return HERE / f"{release}.json"


@cache
def release(number: str) -> Release:
    """All public names of a release, as they were read off its source."""
    found: Release = json.loads(data_file(number).read_text(encoding="utf-8"))
    return found


class Reasons(NamedTuple):
    """What is written by hand: a path, or the beginning of paths with ``*`` at its end, and words."""

    differs: dict[str, str]
    replaced: dict[str, str]
    absent: dict[str, str]

    def words(self, table: dict[str, str], path: str) -> str | None:
        """Those of the path, or else of the longest beginning."""
        return table.get(path) or next((table[key] for key in beginnings(table) if path.startswith(key[:-1])), None)


def beginnings(table: Iterable[str]) -> list[str]:
    return sorted((key for key in table if key.endswith("*")), key=len, reverse=True)


@cache
def reasons() -> Reasons:
    return Reasons(**tomllib.loads((HERE / "reasons.toml").read_text(encoding="utf-8")))


def modules() -> list[str]:
    return sorted({module for number in RELEASES for module in release(number)})


@cache
def rows() -> list[Row]:
    """A row for each name that a module defines, or that a package passes on to be imported from it."""
    return [row for module in modules() for row in _rows(module)]


def _rows(module: str) -> Iterator[Row]:
    entries: dict[str, dict[str, Entry]] = {}
    made_in: dict[str, str] = {}
    for number in RELEASES:
        for name, entry in release(number).get(module, {}).items():
            if entry["kind"] != "passed on" or entry.get("listed"):
                made_in[name], definition = _definition(number, f"{module}.{name}", entry)
                entries.setdefault(name, {})[number] = definition
    for name in sorted(entries):
        yield _row(module, name, entries[name], made_in[name])


def _row(module: str, name: str, entries: dict[str, Entry], made_in: str) -> Row:
    path, given = f"{module}.{name}", reasons()
    kind = next(iter(entries.values()))["kind"]
    row = Row(module, name, kind, tuple(entries), SAME, "")
    found = ours(path)
    if found is _NOTHING or stands_in(found):
        row = row._replace(stand_in=found is not _NOTHING)
        replaced = given.words(given.replaced, path)
        if replaced is not None:
            return row._replace(status=REPLACED, words=replaced)
        own = given.absent.get(path) or getattr(found, "_instead", "")  # what a stand-in says is said here too
        return row._replace(status=ABSENT, words=own or given.words(given.absent, path) or "")
    differences = _differences(found, entries)
    why = given.words(given.differs, path)
    if differences and path != made_in:
        return row._replace(status=DIFFERS, words=f"see `{made_in}`")
    if differences or why:
        return row._replace(status=DIFFERS, words="; ".join(filter(None, [differences, why])))
    return row


def _definition(number: str, path: str, entry: Entry) -> tuple[str, Entry]:
    """Where a name that is passed on is made, and what it is there."""
    while entry["kind"] == "passed on":
        path = entry["from"]
        module, _, name = path.rpartition(".")
        entry = release(number)[module][name]
    return path, entry


def ours(path: str) -> Any:
    """What is at this place in Trellis."""
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(f"trellis{module.removeprefix(ROOT)}"), name, _NOTHING)
    except ModuleNotFoundError:
        return _NOTHING
    except NotImplementedError:  # a configuration that says so
        return _NOTHING


def stands_in(found: Any) -> bool:
    return (isinstance(found, type) and issubclass(found, Missing)) or getattr(found, "stands_in", False) is True


def passed_on(module: str) -> PassedOn:
    names = {
        name
        for number in RELEASES
        for name, entry in release(number).get(module, {}).items()
        if entry["kind"] == "passed on" and not entry.get("listed")
    }
    there = [name for name in sorted(names) if ours(f"{module}.{name}") is not _NOTHING]
    return PassedOn(there, sorted(names - set(there)))


def _differences(found: Any, entries: dict[str, Entry]) -> str:
    """In words; what holds for one release alone says for which."""
    told = {number: list(_differing(found, entry)) for number, entry in entries.items()}
    everywhere = [words for words in next(iter(told.values())) if all(words in others for others in told.values())]
    parts = ["; ".join(everywhere)]
    for number, words in told.items():
        alone = [one for one in words if one not in everywhere]
        if alone:
            parts.append(f"compared with {number}: {'; '.join(alone)}")
    return "; ".join(filter(None, parts))


def _differing(found: Any, entry: Entry) -> Iterator[str]:
    if entry["kind"] == "constant":
        if "value" in entry and not _equal(found, entry["value"]):
            shown = repr(found)
            yield f"is `{shown}`" if len(shown) <= _LONGEST_VALUE else "another value"
    elif entry["kind"] in ("class", "exception", "function"):
        if "parameters" in entry and not (isinstance(found, type) and issubclass(found, enum.Enum)):
            yield from _other_parameters(entry["parameters"], found)
        yield from _other_members(entry.get("members", {}), found)


def _equal(value: Any, text: str) -> bool:
    theirs = ast.literal_eval(text)
    if isinstance(value, tuple) and isinstance(theirs, list):  # what cannot be changed serves as well
        theirs = tuple(theirs)
    return bool(value == theirs)


def _other_parameters(theirs: Parameters, found: Any) -> Iterator[str]:
    try:
        parameters = list(inspect.signature(found).parameters.values())
    except (TypeError, ValueError):
        return
    names = [one[0] for one in theirs if not one[0].startswith(("*", "_"))]
    defaults = {one[0]: one[1] for one in theirs if len(one) > 1}
    mine = {one.name: one for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)}
    takes_any = {one.kind for one in parameters} & {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
    renamed = {name: other for name, other in zip(names, mine, strict=False) if name not in mine and other not in names}
    for name, other in renamed.items():
        yield f"`{name}` is called `{other}`"
    gone = [name for name in names if name not in mine and name not in renamed and not takes_any]
    if gone:
        yield f"without {_listed(gone)}"
    others = {*names, *renamed.values()}
    more = [name for name in mine if name not in others and not any(one[0].startswith("*") for one in theirs)]
    if more:
        yield f"also {_listed(more)}"
    for name, default in defaults.items():
        if name in mine and default != "..." and not _has_default(mine[name], default):
            yield f"`{name}` is `{_shown(mine[name])}` unless given (in Parsl `{default}`)"
    both = [name for name in names if name in mine]
    if both != [name for name in mine if name in both]:
        yield "parameters in another order"


def _has_default(parameter: inspect.Parameter, default: str) -> bool:
    return parameter.default is not parameter.empty and _equal(parameter.default, default)


def _shown(parameter: inspect.Parameter) -> str:
    text = "needed" if parameter.default is parameter.empty else repr(parameter.default)
    return re.sub(r" at 0x[0-9a-f]+", "", text)


def _other_members(members: dict[str, Any], found: Any) -> Iterator[str]:
    gone = [name for name in members if not hasattr(found, name) and name not in _attributes(found)]
    if gone:
        yield f"no attributes {_listed(gone)}"
    for name, parameters in members.items():
        method = getattr(found, name, None)
        if isinstance(parameters, list) and inspect.isfunction(method):
            bound = [one for one in _other_parameters([["self"], *parameters], method) if "`self`" not in one]
            yield from (f"`{name}()` {words}" for words in bound)


@cache
def _attributes(found: Any) -> frozenset[str]:
    """What a class or its bases annotate, or set on ``self``."""
    names: set[str] = set()
    for owner in getattr(found, "__mro__", ()):
        names.update(getattr(owner, "__annotations__", {}))
        try:
            names.update(re.findall(r"\bself\.(\w+)\b(?:: [^=\n]+)? = ", inspect.getsource(owner)))
        except (OSError, TypeError):
            continue
    return frozenset(names)


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
