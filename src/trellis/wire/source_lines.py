"""Source lines for tracebacks from elsewhere, of code that is in no file: cells of notebooks, and what a prompt ran.

Where a task runs nobody has such source. The program has it, as long as it lives. Loaded when a task has failed.
"""

from __future__ import annotations

import linecache
import os
import re

_FRAME = re.compile(
    r'^(?P<indent>[ |]*)File "(?P<name>[^\n"]+)", line (?P<line>\d+), in [^\n]+\n(?!(?P=indent) )', re.MULTILINE
)


def with_source_lines(text: str) -> str:
    """A traceback's text, with the lines that it lacks and that this process knows."""
    return _FRAME.sub(_with_line, text)


def _with_line(match: re.Match[str]) -> str:
    name = match["name"]
    # Of a file of this name the content may be another than where the task ran.
    if name not in linecache.cache or os.path.exists(name):
        return match[0]
    line = linecache.getline(name, int(match["line"])).strip()
    return f"{match[0]}{match['indent']}  {line}\n" if line else match[0]
