"""The templates, with what they may call. All that they are given is escaped, as it comes from a database."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import jinja2

from trellis.dashboard import words
from trellis.version import VERSION


def environment() -> jinja2.Environment:
    """Jinja's environment with our filters."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("trellis.dashboard", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        count=words.count,
        size=words.size,
        duration=words.duration,
        moment=words.moment,
        precise=words.precise,
        percent=words.percent,
        cut=words.cut,
        state=words.state_words,
        part=_part,
    )
    made.globals.update(version=VERSION)
    return made


def _part(value: Any) -> str:
    """A text as a part of a path, or of a query."""
    return quote(str(value), safe="")
