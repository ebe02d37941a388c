"""Writes ``docs/parsl-names.md``: what Trellis has for each public name of Parsl.

``python -m tests.parsl_names.write`` writes it from the facts beside this file; with ``--from PACKAGE`` (the folder
``parsl`` of an unpacked wheel, or of an installation) it first reads those of that release anew.
"""

from __future__ import annotations

import argparse
import ast
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.source import ROOT
from tests.parsl_names import compare
from tests.parsl_names.inventory import Names, Release

PAGE = ROOT / "docs" / "parsl-names.md"


def page() -> str:
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    old, new = compare.RELEASES
    yield "# Names of Parsl"
    yield ""
    yield f"Each public name of Parsl {old} and of {new}, and what Trellis has at the same place: `parsl.x`"
    yield "is `trellis.x`. How programs run is told in [coming from Parsl](coming-from-parsl.md). Public is"
    yield "what can be imported without an underscore; Parsl's tests are left out. Differences are those of"
    yield "parameters, defaults and public attributes; how things behave is not compared here."
    yield ""
    yield from _totals()
    yield ""
    yield "A *stand-in* can be imported, and is a class that annotations take; who makes or extends it, or calls it,"
    yield "is told what it was and what to use. A class that a package passes on is described where it is made."
    yield ""
    yield "This page is made by `python -m tests.parsl_names.write`; a test compares it with Parsl and with Trellis."
    for module in compare.modules():
        yield from _module(module)


def _totals() -> Iterator[str]:
    counts = Counter((row.status, number) for row in compare.rows() for number in row.releases)
    yield f"| | {' | '.join(compare.RELEASES)} |"
    yield f"|---|{'--:|' * len(compare.RELEASES)}"
    for status in compare.STATUSES:
        yield f"| {status} | {' | '.join(str(counts[status, number]) for number in compare.RELEASES)} |"
    stand_ins = [sum(row.stand_in and number in row.releases for row in compare.rows()) for number in compare.RELEASES]
    yield f"| of the last two, stand-ins | {' | '.join(map(str, stand_ins))} |"
    totals = [sum(number in row.releases for row in compare.rows()) for number in compare.RELEASES]
    yield f"| names | {' | '.join(map(str, totals))} |"


def _module(module: str) -> Iterator[str]:
    rows = [row for row in compare.rows() if row.module == module]
    others = compare.passed_on(module)
    if not rows and not others.there and not others.not_there:
        return
    yield ""
    yield f"## `{module}`"
    if rows:
        yield ""
        yield "| name | kind | Trellis |"
        yield "|---|---|---|"
        yield from map(_row, rows)
    if others.there:
        yield ""
        yield f"Made elsewhere, and here too: {_listed(others.there)}."
    if others.not_there:
        yield ""
        yield f"Made elsewhere, in Parsl here too, and not in Trellis: {_listed(others.not_there)}."


def _row(row: compare.Row) -> str:
    only = "" if len(row.releases) == len(compare.RELEASES) else f" ({row.releases[0]} only)"
    words = {compare.SAME: "", compare.DIFFERS: f": {row.words}", compare.REPLACED: f" by {row.words}"}
    text = row.status + (" (stand-in)" if row.stand_in else "") + words.get(row.status, f": {row.words}")
    return f"| `{row.name}`{only} | {row.kind} | {text.replace('|', chr(92) + '|')} |"


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def number(package: Path) -> str:
    """The version of a tree of Parsl's source, as Parsl writes it."""
    for statement in ast.parse((package / "version.py").read_text(encoding="utf-8")).body:
        match statement:
            case ast.Assign([ast.Name("VERSION")], ast.Constant(str(version))):
                return version
    raise ValueError(f"{package} has no VERSION")


def facts(package: Path) -> dict[str, Names]:
    return Release(package).names()


def held(package: Path) -> str | None:
    """What is wrong with the facts beside this file, held against a tree of Parsl's source."""
    known = compare.data_file(number(package))
    again = f"python -m tests.parsl_names.write --from {package}"
    if not known.exists():
        return f"{known.name} is not there: {again}, and name the release in tests/parsl_names/compare.py"
    if known.read_text(encoding="utf-8") != dumped(facts(package)):
        return f"{known.name} says something else: {again}"
    return None


def dumped(names: dict[str, Names]) -> str:
    """A line for each name, so that changes can be read."""
    modules = []
    for module, found in names.items():
        lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(entry)}" for name, entry in found.items())
        modules.append(f"{json.dumps(module)}: {{\n{lines}\n}}" if found else f"{json.dumps(module)}: {{}}")
    return "{\n" + ",\n".join(modules) + "\n}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--from", dest="packages", action="append", default=[], type=Path, metavar="PACKAGE")
    for package in parser.parse_args().packages:
        compare.data_file(number(package)).write_text(dumped(facts(package)), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
