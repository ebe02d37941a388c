"""Runs calls in libraries of the real TaskVine. Loaded in the library process, under the name ``trellis_member``.

TaskVine's library reads the arguments of a call before it makes a child for it. So what is loaded while they are read
is loaded once per library, and all children have it: functions come that way. Only the standard library and our
runner are imported here: workers need no Trellis.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import importlib.util
import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

# All these files lie in the library's directory; where Trellis makes libraries, they are modules of it.
_HERE, _THERE = "trellis_", "trellis.executors.taskvine.remote."
runner: Any = importlib.import_module((_HERE if __name__ == "trellis_member" else _THERE) + "runner")
guard: Any = importlib.import_module((_HERE if __name__ == "trellis_member" else _THERE) + "guard")

NAME = "trellis_member"
# Kind of a result: the library's context could not be made, so no call can run.
NO_CONTEXT = b"L"
# The call was ended because it took too long.
NO_TIME = b"T"
# A call that was interrupted, and goes on, is interrupted again after so long.
_AGAIN_S = 1.0

_functions: dict[int, Callable[..., Any] | BaseException] = {}
_recorded = False
_no_context = ""
_library = 0  # process id


class OutOfTime(BaseException):
    """Ends a call in direct mode."""


def define(number: int, data: bytes) -> int:
    """Load a function, once; never raises, because that would end the library."""
    if number not in _functions:
        try:
            _functions[number] = runner._load((data,))
        except OutOfTime:  # of the library, or of the call
            raise
        except BaseException as error:  # a module that exits on import, too; calls that name it fail with this
            _functions[number] = _deserialization_error(error)
    return number


class Defining:
    """The number of a function, whose bytes travel along; when it is read, the function is loaded."""

    def __init__(self, number: int, data: bytes) -> None:
        self._number, self._data = number, data

    def __reduce__(self) -> Any:
        return define, (self._number, self._data)


def _deserialization_error(error: BaseException) -> BaseException:
    try:
        from trellis.errors import DeserializationError
    except ImportError:
        return RuntimeError(f"the function cannot be loaded: {type(error).__name__}: {error}")
    return DeserializationError(f"the function: {type(error).__name__}: {error}")


def trellis_context(
    functions: dict[int, bytes], context: bytes, arguments: tuple[bytes, ...], timeout_s: float
) -> dict[str, Any]:
    """Load these functions, and make the library's context: what TaskVine's ``load_variable_from_library`` finds.

    An error is kept for the calls: TaskVine would only try again and again. When it takes longer than ``timeout_s``,
    that is an error, too; and where Python code does not go on at all, the library ends, and says where it was.
    """
    global _no_context, _library, _recorded
    _library, _recorded = os.getpid(), runner.is_recorded()
    # The worker kills a library by its process group, and waits for that. It has asked for this group as well, but
    # that fails when this process was faster; then nobody would be killed, and the worker would wait for ever.
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    guard.protect_inputs()
    runner.add_import_paths()
    try:
        faulthandler.dump_traceback_later(timeout_s + _AGAIN_S, exit=True)
        _set_limit(timeout_s)
        return _load_all(functions, context, arguments)
    except BaseException as error:
        late = f"it was not there after {timeout_s:g} s (context_timeout_s)\n" if isinstance(error, OutOfTime) else ""
        _no_context = late + traceback.format_exc()
        return {}
    finally:
        _set_limit(0)
        faulthandler.cancel_dump_traceback_later()


def _load_all(functions: dict[int, bytes], context: bytes, arguments: tuple[bytes, ...]) -> dict[str, Any]:
    for number, data in functions.items():
        define(number, data)
    if not context:
        return {}
    args, kwargs = runner._load(arguments)
    made = runner._load((context,))(*args, **kwargs)
    if not isinstance(made, dict):
        raise TypeError(f"the context function gave a {type(made).__name__}, not a dictionary of what to keep")
    _keep(made)
    return made


def _keep(context: dict[str, Any]) -> None:
    """Keep it for Trellis' own ``library_context``, where Trellis is installed."""
    try:
        from trellis.executors.taskvine.remote.context import keep
    except ImportError:
        return
    keep(context)


def trellis_call(
    number: int,
    arguments: tuple[bytes, ...],
    function_path: str,
    packs: list[str],
    result_path: str,
    outputs: list[str],
    limit_s: float,
) -> bytes:
    """Run a call in its sandbox, which is the directory that we are in. Gives its result as the runner writes it.

    Args:
        number: of the function.
        arguments: serialized.
        function_path: where a function lies that does not travel with each call; or nothing.
        packs: directories with modules for it.
        result_path: where the result stays, at the worker; or nothing: it goes home.
        outputs: paths of what it is to make.
        limit_s: it is ended after so long; 0: never.
    """
    if _no_context:
        return encode(NO_CONTEXT, (_no_context.encode(),))
    os.environ["PWD"] = os.getcwd()
    started, begin, sandbox = time.time(), time.perf_counter(), os.getcwd()
    kind = runner.RESULT
    before = runner.used() if _recorded else runner.NOT_MEASURED
    try:
        _set_limit(limit_s)
        guard.protect_inputs()
        for path in outputs:
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        _search(packs)
        if function_path and number not in _functions:
            define(number, runner.read_payload(function_path)[1][0])
        function = _functions[number]
        if isinstance(function, BaseException):
            raise function.with_traceback(None)
        args, kwargs = runner._load(arguments)
        buffers = runner.dump_result(function(*args, **kwargs))
        _set_limit(0)
    except OutOfTime:
        _set_limit(0)
        kind, buffers = NO_TIME, ()
    except BaseException as error:  # sys.exit() in a call ends the call, not the library
        _set_limit(0)
        # Without the frame that we are in.
        trace = error.__traceback__
        kind, buffers = runner.ERROR, runner._dump_exception(error.with_traceback(trace and trace.tb_next))
    duration_s = time.perf_counter() - begin
    use = runner.since(before) if _recorded else runner.NOT_MEASURED
    _flush()
    os.chdir(sandbox)
    problem = guard.settle_outputs(outputs)
    if problem and kind == runner.RESULT:
        kind, buffers = guard.NO_FILE, (problem.encode(),)
    if result_path:
        os.makedirs(os.path.dirname(result_path) or ".", exist_ok=True)
        runner.write_payload(result_path, kind, buffers, started, duration_s, use)
        if kind == runner.RESULT:
            buffers = ()
    return encode(kind, buffers, started, duration_s, use)


def _search(packs: list[str]) -> None:
    """Look for imports there first. Links: in direct mode, sandboxes go and modules stay."""
    sys.path[:0] = [path for path in map(os.path.realpath, packs) if path not in sys.path]


def _set_limit(seconds: float) -> None:
    """A child is killed, whatever it does; in direct mode the call is interrupted, once its Python code goes on.

    Again and again: a signal that comes just before the call waits in the kernel does not end that wait, and an
    exception that comes at a bad moment, as in a destructor, is dropped.
    """
    if seconds:
        signal.signal(signal.SIGALRM, signal.SIG_DFL if os.getpid() != _library else _interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN_S if seconds else 0)


def _interrupt(*_: object) -> None:
    raise OutOfTime


def _flush() -> None:
    for output in (sys.stdout, sys.stderr):
        try:
            output.flush()
        except Exception:  # a call may have closed or replaced it
            continue


def encode(
    kind: bytes,
    buffers: tuple[Any, ...],
    started: float = 0.0,
    duration_s: float = 0.0,
    use: tuple[float, float, int, int, int] = runner.NOT_MEASURED,
) -> bytes:
    """A payload as ``runner.write_payload`` writes it."""
    lengths = [memoryview(buffer).nbytes for buffer in buffers]
    head = runner._HEAD.pack(kind, len(buffers), started, duration_s, *use) + b"".join(
        map(runner._LENGTH.pack, lengths)
    )
    return b"".join([head, *buffers])


def event(
    number: int,
    data: bytes | None,
    arguments: tuple[Any, ...],
    function_path: str,
    packs: list[str],
    result_path: str,
    outputs: list[str],
    limit_s: float,
) -> bytes:
    """The arguments of ``trellis_call`` as TaskVine's libraries read them; ``data``: the function's, to go along."""
    first = number if data is None else sys.modules[NAME].Defining(number, data)
    buffers = tuple(bytes(buffer) for buffer in arguments)
    args = (first, buffers, function_path, packs, result_path, outputs, limit_s)
    return pickle.dumps({"fn_args": args, "fn_kwargs": {}}, 5)


def load_alias() -> Any:
    """Load this module under the name that it has in libraries, so that what is pickled here is found there."""
    if NAME not in sys.modules:
        for part in ("runner", "guard"):
            sys.modules[_HERE + part] = importlib.import_module(_THERE + part)
        specification = importlib.util.spec_from_file_location(NAME, __file__)
        assert specification is not None
        assert specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        sys.modules[NAME] = module
        specification.loader.exec_module(module)
    return sys.modules[NAME]
