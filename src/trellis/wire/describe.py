"""Renders the field tables of ``docs/protocol.md`` from the messages themselves, so that they cannot differ.

``python -m trellis.wire.describe docs/protocol.md`` writes them anew between the two marks in that file, and touches
nothing else there.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec

from trellis.wire.measures import Sample, TaskUse
from trellis.wire.messages import Demand, FromManager, FromSubmitSide, ToManager, ToSubmitSide
from trellis.wire.questions import ManagerStatus, Obstacle

BEGIN = "<!-- begin of what trellis.wire.describe writes -->"
END = "<!-- end of what trellis.wire.describe writes -->"

_ROUTES: dict[str, Any] = {
    "submit side → interchange": FromSubmitSide,
    "manager → interchange": FromManager,
    "interchange → manager": ToManager,
    "interchange → submit side": ToSubmitSide,
}
_PARTS = (Demand, ManagerStatus, Obstacle, TaskUse, Sample)
_COMMENT = re.compile(r"^    (\w+): [^#\n]*#\s*(.+)$", re.MULTILINE)


def render_tables() -> str:
    """Markdown: for each message its tag, its ways, its meaning, and its fields in their order."""
    types = {type_ for union in _ROUTES.values() for type_ in get_args(union)}
    ordered = sorted(types, key=lambda type_: int(type_.__struct_config__.tag))
    return "\n".join(line for type_ in [*ordered, *_PARTS] for line in _render(type_))


def _render(type_: type[msgspec.Struct]) -> Iterator[str]:
    tag = type_.__struct_config__.tag
    yield f"### {type_.__name__}" if tag is None else f"### {tag}: {type_.__name__}"
    yield ""
    routes = [route for route, union in _ROUTES.items() if type_ in get_args(union)]
    yield f"*{', '.join(routes) or 'part of a message'}.* {inspect.getdoc(type_)}"
    yield ""
    if not type_.__struct_fields__:
        return
    comments = dict(_COMMENT.findall(inspect.getsource(type_)))
    first_default = len(type_.__struct_fields__) - len(type_.__struct_defaults__)
    yield "| # | field | type | default | |"
    yield "|---|---|---|---|---|"
    for position, name in enumerate(type_.__struct_fields__):
        hint = type_.__annotations__[name].replace("|", "\\|")
        default = "" if position < first_default else f"`{type_.__struct_defaults__[position - first_default]}`"
        # The tag comes first in the list, where there is one.
        index = position if tag is None else position + 1
        yield f"| {index} | `{name}` | `{hint}` | {default} | {comments.get(name, '')} |"
    yield ""


def insert(document: str, tables: str) -> str:
    """The document with these tables between its marks.

    Raises:
        ValueError: the document does not have the two marks, each once.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after or END in after:
        raise ValueError("the document must have the mark of the tables' begin, then that of their end, once each")
    return f"{before}{BEGIN}\n\n{tables}\n{END}{after}"


def main() -> None:
    """Entry point."""
    path = Path(sys.argv[1])
    path.write_text(insert(path.read_text(encoding="utf-8"), render_tables()), encoding="utf-8")


if __name__ == "__main__":
    main()
