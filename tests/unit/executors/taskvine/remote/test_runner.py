"""What the runner of a task writes is what Trellis reads, and the other way round."""

from __future__ import annotations

import importlib.util
import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

from trellis.core.alias_path import ALIAS_PATH
from trellis.errors import RemoteError
from trellis.executors.taskvine.remote import runner
from trellis.wire.payload import dump_call, load_exception, load_result

GLOBAL = 5


def _again(value: Any) -> Any:
    data = cloudpickle.dumps(value)
    return runner._load((data,))


def _from_main(function: Any) -> Any:
    function.__module__ = "__main__"
    return function


# -- functions without cloudpickle ---------------------------------------------------------------------------------


def test_functions_by_value_need_no_cloudpickle() -> None:
    def fill(first: int, *rest: int, scale: int = 2, **more: int) -> tuple[int, ...]:
        """Documented."""
        return tuple(scale * n + GLOBAL for n in (first, *rest, *more.values()))

    fill.mark = "kept"  # type: ignore[attr-defined]
    fill.__kwdefaults__ = {"scale": 3}
    code = "import sys; from trellis.executors.taskvine.remote import runner; "
    code += "f = runner._load((sys.stdin.buffer.read(),)); "
    code += "print(f(1, 2, x=3), f.mark, f.__doc__, 'cloudpickle' in sys.modules)"
    data = cloudpickle.dumps(_from_main(fill))
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True)
    assert done.stdout.decode().split("\n")[0] == "(8, 11, 14) kept Documented. False", done.stderr


def test_closures_recursion_and_empty_cells() -> None:
    def outer(n: int) -> Any:
        def factorial(k: int) -> int:
            return n if k < 1 else k * factorial(k - 1)

        return factorial

    def unbound() -> Any:
        return later

    data = cloudpickle.dumps(_from_main(unbound))
    assert _again(_from_main(outer(2)))(3) == 12
    with pytest.raises(NameError):
        runner._load((data,))()
    later = 1  # too late


def test_what_is_not_reduced_is_left_to_cloudpickle() -> None:
    class Point:
        def __init__(self, x: int) -> None:
            self.x = x

    Point.__module__ = "__main__"
    assert _again(Point(3)).x == 3


def test_a_cloudpickle_that_works_otherwise_is_asked_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise TypeError("one argument more")

    monkeypatch.setitem(runner._reduced, "_make_function", broken)
    assert _again(_from_main(lambda: 7))() == 7


# -- payloads ------------------------------------------------------------------------------------------------------


def test_payload_is_a_file_that_is_whole(tmp_path: Path) -> None:
    path = str(tmp_path / "p")
    use = (0.5, 0.25, 7, 8, 9)
    runner.write_payload(path, runner.RESULT, (b"one", memoryview(b"second")), 1.5, 2.5, use)
    whole = (runner.RESULT, (bytearray(b"one"), bytearray(b"second")), 1.5, 2.5, use)
    assert runner.read_payload(path) == whole
    assert runner.parse_payload(Path(path).read_bytes()) == whole
    assert runner.read_payload(path, content=False) == (runner.RESULT, (), 1.5, 2.5, use)
    assert os.listdir(tmp_path) == ["p"]


def test_what_is_used_is_counted(tmp_path: Path) -> None:
    before = runner.used()
    end = time.process_time() + 0.05
    while time.process_time() < end:
        continue
    (tmp_path / "x").write_bytes(bytes(100_000))
    user_s, system_s, peak, _, written = runner.since(before)
    assert user_s + system_s >= 0.04
    assert peak > 1_000_000
    assert written >= 100_000


def test_whether_a_run_is_recorded_is_not_seen_by_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(runner.RECORDED, "1")
    assert runner.is_recorded()
    assert not runner.is_recorded()


@pytest.mark.parametrize("cut", [0, 5, 30, -1])
def test_payload_that_is_cut_off_is_refused(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "p"
    runner.write_payload(str(path), runner.RESULT, (b"one", b"second"))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match="cut off"):
        runner.read_payload(str(path))


def test_results_are_what_trellis_reads() -> None:
    array = np.arange(100_000.0)
    buffers = runner._dump({"array": array})
    assert len(buffers) == 2
    assert (load_result(tuple(map(bytearray, buffers)))["array"] == array).all()
    assert load_result(runner._dump([1, "two"])[0]) == [1, "two"]
    assert load_result(runner._dump(lambda: 3)[0])() == 3


def test_arguments_are_what_trellis_writes() -> None:
    payload = dump_call((1,), {"b": 2}, "f")
    assert not isinstance(payload, tuple)
    assert runner._load((payload,)) == ((1,), {"b": 2})


def _error(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        (data,) = runner._dump_exception(caught)
        return load_exception(data)


class Stubborn(Exception):
    """Can be pickled, and not made again by its constructor."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(one)
        self.two = two


class Locked(Exception):
    def __init__(self) -> None:
        super().__init__("held")
        self.lock = threading.Lock()


class Unshowable(Exception):
    def __str__(self) -> str:
        raise KeyboardInterrupt

    def __reduce__(self) -> Any:
        raise SystemExit(3)


def test_exceptions_are_what_trellis_reads() -> None:
    error = _error(ValueError("x"))
    assert (type(error), error.args) == (ValueError, ("x",))
    assert "test_runner.py" in str(error.__cause__)


@pytest.mark.parametrize("error", [Locked(), Unshowable()])
def test_exceptions_that_cannot_travel_are_told(error: Exception) -> None:
    told = _error(error)
    assert isinstance(told, RemoteError)
    assert type(error).__name__ in str(told)


def test_exceptions_are_made_again_without_their_constructors() -> None:
    error = _error(Stubborn(1, 2))
    assert isinstance(error, Stubborn)
    assert (error.args, error.two) == ((1,), 2)


def test_what_trellis_makes_of_remote_errors_is_what_the_runner_writes() -> None:
    assert isinstance(pickle.loads(runner._remote_error("a.B", "words", "trace")), RemoteError)


def test_import_paths_come_last_and_packs_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/here"])
    monkeypatch.setenv("TRELLIS_IMPORT_PATHS", "/user:/here")
    monkeypatch.setenv("TRELLIS_PACKS", "/pack")
    runner.add_import_paths()
    assert sys.path == ["/pack", "/here", "/user"]
    assert "TRELLIS_PACKS" not in os.environ


@pytest.fixture
def paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/here", ALIAS_PATH])
    monkeypatch.setenv("PYTHONPATH", f"/here{os.pathsep}{ALIAS_PATH}")
    monkeypatch.delitem(sys.modules, "parsl", raising=False)


@pytest.mark.usefixtures("paths")
def test_what_stands_for_parsl_comes_before_all_else_here_and_in_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRELLIS_IMPORT_PATHS", f"/user{os.pathsep}{ALIAS_PATH}")
    monkeypatch.setenv("TRELLIS_PACKS", "/pack")
    runner.add_import_paths()
    assert sys.path == [ALIAS_PATH, "/pack", "/here", "/user"]
    assert os.environ["PYTHONPATH"] == f"{ALIAS_PATH}{os.pathsep}/here"
    assert "parsl" not in sys.modules


@pytest.mark.usefixtures("paths")
def test_what_stands_for_parsl_is_found_where_trellis_is_on_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRELLIS_IMPORT_PATHS", "/elsewhere/trellis/as_parsl/on_path")
    runner.add_import_paths()
    assert sys.path[0] == ALIAS_PATH
    assert os.environ["PYTHONPATH"].startswith(ALIAS_PATH)


@pytest.mark.usefixtures("paths")
def test_where_trellis_is_not_parsl_is_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRELLIS_IMPORT_PATHS", "/elsewhere/trellis/as_parsl/on_path")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    runner.add_import_paths()
    assert sys.modules["parsl"] is None
    assert "/elsewhere/trellis/as_parsl/on_path" not in sys.path


def test_runner_imports_little() -> None:
    code = "import sys; before = set(sys.modules); import runner; print(*sorted(set(sys.modules) - before))"
    directory = os.path.dirname(runner.__file__)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({directory!r}); {code}"],
        capture_output=True,
        text=True,
    )
    heavy = {"re", "enum", "pickle", "cloudpickle", "typing", "traceback", "subprocess", "threading"}
    assert not heavy & set(done.stdout.split()), done.stderr
