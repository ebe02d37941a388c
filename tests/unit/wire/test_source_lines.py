"""Tracebacks from workers of code that is in no file: the program has its source, the worker does not."""

from __future__ import annotations

import linecache
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from trellis.errors import RemoteError, RemoteTraceback
from trellis.wire.payload import dump_exception, dump_function, load_exception
from trellis.wire.source_lines import with_source_lines

CELL = "/tmp/ipykernel_1/1234567.py"


@pytest.fixture
def _cell(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["def inner(x):\n", "    return 1 / x\n", "def outer(x):\n", "    return inner(x)\n"]
    monkeypatch.setitem(linecache.cache, CELL, (60, None, lines, CELL))


@pytest.mark.usefixtures("_cell")
def test_lines_that_are_missing_are_put_in() -> None:
    text = f'Traceback:\n  File "{CELL}", line 4, in outer\n  File "{CELL}", line 2, in inner\nZ: d\n'
    assert with_source_lines(text) == (
        f'Traceback:\n  File "{CELL}", line 4, in outer\n    return inner(x)\n'
        f'  File "{CELL}", line 2, in inner\n    return 1 / x\nZ: d\n'
    )
    assert with_source_lines(with_source_lines(text)) == with_source_lines(text)


@pytest.mark.usefixtures("_cell")
def test_of_groups_too() -> None:
    text = f'  | Traceback\n  |   File "{CELL}", line 2, in inner\n  | Z: d\n'
    assert (
        with_source_lines(text)
        == f'  | Traceback\n  |   File "{CELL}", line 2, in inner\n  |     return 1 / x\n  | Z: d\n'
    )


@pytest.mark.usefixtures("_cell")
def test_what_has_a_file_or_is_not_known_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    here = __file__
    linecache.getlines(here)
    text = (
        f'  File "{here}", line 1, in f\n  File "/nowhere/x.py", line 1, in f\n  File "{CELL}", line 99, in f\nZ: d\n'
    )
    assert with_source_lines(text) == text


_ELSEWHERE = """
import pickle, sys
from trellis.wire.payload import dump_exception, load_function
try:
    load_function(open(sys.argv[1], "rb").read())(0)
except ZeroDivisionError as error:
    open(sys.argv[2], "wb").write(dump_exception(error, skip_frames=1))
"""


@pytest.mark.usefixtures("_cell")
def test_a_cell_has_its_lines_in_the_traceback_from_another_process(tmp_path: Path) -> None:
    namespace: dict[str, object] = {"__name__": "__main__"}
    exec(compile("".join(linecache.getlines(CELL)), CELL, "exec"), namespace)
    (tmp_path / "function").write_bytes(dump_function(namespace["outer"]))  # type: ignore[arg-type]
    subprocess.run([sys.executable, "-c", _ELSEWHERE, "function", "error"], cwd=tmp_path, check=True, timeout=60)
    error = load_exception((tmp_path / "error").read_bytes())
    told = "".join(traceback.format_exception(error))
    assert (
        f'  File "{CELL}", line 4, in outer\n    return inner(x)\n  File "{CELL}", line 2, in inner\n    return 1 / x\n'
        in told
    )


class Stays(Exception):
    def __reduce__(self) -> str:
        raise TypeError("it stays")


@pytest.mark.usefixtures("_cell")
def test_an_error_in_place_of_another_has_the_lines_too(monkeypatch: pytest.MonkeyPatch) -> None:
    namespace: dict[str, object] = {"Stays": Stays}
    exec(compile("def f():\n    raise Stays\n", CELL, "exec"), namespace)
    try:
        namespace["f"]()  # type: ignore[operator]
    except Stays as raised:
        monkeypatch.delitem(linecache.cache, CELL)
        data = dump_exception(raised, skip_frames=1)
    monkeypatch.setitem(linecache.cache, CELL, (60, None, ["def f():\n", "    raise Stays\n"], CELL))
    error = load_exception(data)
    assert isinstance(error, RemoteError)
    assert isinstance(error.__cause__, RemoteTraceback)
    assert error.traceback_text == error.__cause__.text
    assert f'File "{CELL}", line 2, in f\n    raise Stays\n' in str(error)
