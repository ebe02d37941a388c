"""What runs in libraries of the real TaskVine, as TaskVine's library calls it."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import types
import unittest.mock
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from trellis.executors.taskvine.ndcctools import member
from trellis.executors.taskvine.remote import guard, runner
from trellis.wire.payload import dump_call, dump_function, load_exception, load_result


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """The module as libraries have it, without functions, in a sandbox."""
    alias = member.load_alias()
    for name, value in (("_functions", {}), ("_no_context", ""), ("_library", 0)):
        monkeypatch.setattr(alias, name, value)
    # It takes its process for its own: pytest's stays as it is.
    monkeypatch.setattr(alias, "os", types.SimpleNamespace(**{**vars(os), "setpgid": lambda *_: None}))
    monkeypatch.setattr(alias, "faulthandler", unittest.mock.Mock())
    monkeypatch.chdir(tmp_path)
    return alias


def call(
    library: Any,
    func: Callable[..., Any],
    *args: Any,
    along: bool = True,
    function_path: str = "",
    packs: list[str] | None = None,
    result_path: str = "",
    outputs: list[str] | None = None,
    limit_s: float = 0.0,
) -> tuple[bytes, Any]:
    """Kind and payload of a call of function 7, which travels along unless ``along`` is false."""
    data = dump_function(func) if along else None
    arguments = (dump_call(args, {}, "test"),)
    event = member.event(7, data, arguments, function_path, packs or [], result_path, outputs or [], limit_s)
    read = pickle.loads(event)
    assert read["fn_kwargs"] == {}
    kind, buffers, *_ = runner.parse_payload(library.trellis_call(*read["fn_args"]))
    return kind, buffers[0] if buffers else b""


def test_a_call_gives_its_result(library: Any) -> None:
    kind, payload = call(library, lambda a, b: a * b, 6, 7)
    assert (kind, load_result(payload)) == (runner.RESULT, 42)


def test_a_function_is_loaded_while_arguments_are_read_and_stays(library: Any) -> None:
    call(library, lambda: 1)
    kept = library._functions[7]
    kind, payload = call(library, lambda: 2)
    assert library._functions[7] is kept
    assert (kind, load_result(payload)) == (runner.RESULT, 1)


def test_a_function_may_be_there_from_the_start(library: Any) -> None:
    assert library.trellis_context({7: dump_function(lambda: 5)}, b"", (), 60.0) == {}
    kind, payload = call(library, lambda: 0, along=False)
    assert (kind, load_result(payload)) == (runner.RESULT, 5)


def test_a_large_function_lies_in_a_file(library: Any) -> None:
    runner.write_payload("function", runner.CALL, (dump_function(lambda: 6),))
    kind, payload = call(library, lambda: 0, along=False, function_path="function")
    assert (kind, load_result(payload)) == (runner.RESULT, 6)


def test_packages_are_searched_first_and_where_they_really_are(
    library: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "packed_for_a_test", raising=False)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "packed_for_a_test.py").write_text("value = 3\n")
    (tmp_path / "link").symlink_to("kept")
    named: dict[str, Any] = {"__name__": "__main__"}
    exec("def look():\n    import packed_for_a_test\n    return packed_for_a_test.__file__", named)
    for _ in range(2):
        kind, payload = call(library, named["look"], packs=["link"])
        assert (kind, load_result(payload)) == (runner.RESULT, str(tmp_path / "kept" / "packed_for_a_test.py"))
    assert sys.path[0] == str(tmp_path / "kept")
    assert sys.path.count(str(tmp_path / "kept")) == 1


@pytest.mark.parametrize("error", [ValueError("on purpose"), SystemExit(3)])
def test_an_error_is_the_calls_own(library: Any, error: BaseException) -> None:
    def fail() -> None:
        raise error

    kind, payload = call(library, fail)
    found = load_exception(payload)
    assert (kind, type(found), found.args) == (runner.ERROR, type(error), error.args)
    assert "trellis_call" not in str(found.__cause__)


def test_a_function_that_cannot_be_loaded_fails_its_calls_only(library: Any) -> None:
    assert library.define(7, b"not a pickle") == 7
    kind, payload = call(library, lambda: 0, along=False)
    assert kind == runner.ERROR
    assert "the function" in str(load_exception(payload))


def test_a_context_is_what_calls_find(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from trellis.executors.taskvine.remote import context

    monkeypatch.setattr(context, "_context", {})
    made = library.trellis_context({}, dump_function(lambda n: {"n": n}), (dump_call((3,), {}, "test"),), 60.0)
    assert made == {"n": 3} == context.library_context()


@pytest.mark.parametrize(("made", "words"), [(lambda: 1 // 0, "ZeroDivisionError"), (list, "not a dictionary")])
def test_without_a_context_each_call_says_why(library: Any, made: Callable[[], Any], words: str) -> None:
    assert library.trellis_context({}, dump_function(made), (dump_call((), {}, "test"),), 60.0) == {}
    kind, payload = call(library, lambda: 1)
    assert kind == member.NO_CONTEXT
    assert words in bytes(payload).decode()


def test_a_context_that_does_not_come_says_where_it_hangs(library: Any) -> None:
    assert library.trellis_context({}, dump_function(signal.pause), (dump_call((), {}, "test"),), 0.05) == {}
    kind, payload = call(library, lambda: 1)
    assert kind == member.NO_CONTEXT
    assert bytes(payload).decode().startswith("it was not there after 0.05 s (context_timeout_s)")
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


_DEAF = """
import os, signal, time
from trellis.executors.taskvine.ndcctools import member
from trellis.wire.payload import dump_call, dump_function
library = member.load_alias()
os.setpgid = lambda *_: None
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
library._AGAIN_S = 0.05
library.trellis_context({}, dump_function(time.sleep), (dump_call((600,), {}, ""),), 0.05)
"""


def test_a_library_that_is_deaf_ends_and_says_where_it_was() -> None:
    done = subprocess.run([sys.executable, "-c", _DEAF], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "Timeout (" in done.stderr
    assert "in _load_all" in done.stderr


def test_a_library_leads_its_process_group() -> None:
    """Whether its worker's call for that has come in time or not."""
    code = "import os; from trellis.executors.taskvine.ndcctools import member; library = member.load_alias();"
    code += "library.trellis_context({}, b'', (), 9.0); print(os.getpgrp() == os.getpid())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_a_result_that_stays_is_in_a_file(library: Any) -> None:
    assert call(library, lambda: 8, result_path="own/result") == (runner.RESULT, b"")
    assert runner.load_result_file("own/result") == 8


def test_directories_of_outputs_are_there(library: Any, tmp_path: Path) -> None:
    call(library, lambda: Path("a/b/c").write_text("x"), outputs=["a/b/c"])
    assert (tmp_path / "a/b/c").read_text() == "x"


def test_a_call_is_interrupted_at_its_limit(library: Any, direct: None) -> None:
    def wait_for_ever() -> None:
        while True:
            signal.pause()

    assert call(library, wait_for_ever, limit_s=0.01) == (member.NO_TIME, b"")


def test_a_call_that_goes_on_is_interrupted_again(library: Any, direct: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_AGAIN_S", 0.01)

    def go_on() -> None:
        with contextlib.suppress(BaseException):
            signal.pause()
        while True:
            signal.pause()

    assert call(library, go_on, limit_s=0.01) == (member.NO_TIME, b"")


@pytest.fixture
def direct(library: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Calls run in the library's own process."""
    before = signal.getsignal(signal.SIGALRM)
    monkeypatch.setattr(library, "_library", os.getpid())
    yield
    signal.signal(signal.SIGALRM, before)


def test_what_a_call_makes_has_to_be_a_file(library: Any) -> None:
    kind, payload = call(library, lambda: os.mkfifo("out"), outputs=["out"])
    assert kind == guard.NO_FILE
    assert b"out is a FIFO" in payload
    assert not os.path.lexists("out")
