"""Runs one task in an interpreter of its own: reads function and arguments, writes the result. Nothing else.

This is started for every task, also on hosts where Trellis is not installed: what it imports is paid for each time.
So it takes the C module behind ``pickle``, and cloudpickle only for what ``_reduced`` cannot make. What it writes is
what ``trellis.wire.payload`` reads.

``python runner.py FUNCTION ARGUMENTS RESULT [LIFELINE]``: paths of files, and a file descriptor.
"""

from __future__ import annotations

import _pickle
import copyreg
import os
import sys
import time
from _struct import Struct
from io import BytesIO

# As ``typing`` has it, whose import costs more than all of the above.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Use = tuple[float, float, int, int, int]

# Kind, number of buffers, time of start (seconds since the epoch), duration in seconds; what was used: see ``used``.
_HEAD = Struct("<cIddddqqq")
NOT_MEASURED = (0.0, 0.0, 0, 0, 0)
# Variable that says that what a task uses is to be told.
RECORDED = "TRELLIS_RECORDED"
_LENGTH = Struct("<Q")
RESULT, ERROR, CALL = b"R", b"E", b"C"
# Smaller buffers stay within the pickle.
_INLINE_BYTES = 65_536
# How the directory's path ends that ``trellis.core.alias_path`` tells of.
_ALIAS_PATH = "/trellis/as_parsl/on_path"


# -- files ---------------------------------------------------------------------------------------------------------


def write_payload(
    path: str,
    kind: bytes,
    buffers: tuple[Any, ...],
    started: float = 0.0,
    duration_s: float = 0.0,
    use: Use = NOT_MEASURED,
) -> None:
    """A payload's buffers into a file, which is there whole or not at all.

    Raises:
        OSError: there is no room for it, or its directory is gone.
    """
    lengths = [memoryview(buffer).nbytes for buffer in buffers]
    with open(path + ".part", "wb") as file:
        file.write(_HEAD.pack(kind, len(buffers), started, duration_s, *use) + b"".join(map(_LENGTH.pack, lengths)))
        for buffer in buffers:
            file.write(buffer)
    os.rename(path + ".part", path)


def read_payload(path: str, content: bool = True) -> tuple[bytes, tuple[Any, ...], float, float, Use]:
    """Kind, buffers (none without ``content``), time of start, duration, and what was used.

    A FIFO there is not waited for.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not what ``write_payload`` writes.
    """
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        return _read(file, os.fstat(file.fileno()).st_size, content)


def parse_payload(data: bytes) -> tuple[bytes, tuple[Any, ...], float, float, Use]:
    """What ``read_payload`` gives, from a file's content.

    Raises:
        ValueError: it is not what ``write_payload`` writes.
    """
    return _read(BytesIO(data), len(data), True)


def _read(file: Any, size: int, content: bool) -> tuple[bytes, tuple[Any, ...], float, float, Use]:
    head = file.read(_HEAD.size) or b""
    whole = len(head) == _HEAD.size
    kind, count, started, duration_s, *use = _HEAD.unpack(head) if whole else (b"", 0, 0.0, 0.0, *NOT_MEASURED)
    table = file.read(count * _LENGTH.size)
    lengths = [length for (length,) in _LENGTH.iter_unpack(table[: len(table) // _LENGTH.size * _LENGTH.size])]
    if not kind or len(lengths) != count or size != len(head) + len(table) + sum(lengths):
        raise ValueError(f"a payload of {size} bytes is cut off, or is none")
    buffers = []
    for length in lengths if content else ():
        buffer = bytearray(length)
        file.readinto(buffer)
        buffers.append(buffer)
    return kind, tuple(buffers), started, duration_s, tuple(use)


def load_result_file(path: str) -> Any:
    """The value that another task has left in a file.

    Raises RuntimeError: it has an error there: it ran again because its result was lost, and failed then.
    """
    kind, buffers, *_ = read_payload(path)
    if kind == ERROR:
        raise RuntimeError(f"a result was lost, and its task failed when it ran again:\n{_load(buffers)[1]}")
    return _load(buffers)


# -- to objects ----------------------------------------------------------------------------------------------------


def _load(buffers: tuple[Any, ...]) -> Any:
    data = buffers[0]
    if b"cloudpickle" in data:
        try:
            return _load_reduced(buffers)
        except Exception:  # written by a cloudpickle that works otherwise; what is wrong with it comes up again
            import cloudpickle  # type: ignore[import-untyped]  # noqa: F401
    return _pickle.loads(data, buffers=buffers[1:])


def _load_reduced(buffers: tuple[Any, ...]) -> Any:
    """Functions that travel by value, without cloudpickle, whose import takes longer than the interpreter's start."""

    class Unpickler(_pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            if module == "cloudpickle.cloudpickle" and name in _reduced:
                return _reduced[name]
            return super().find_class(module, name)

    return Unpickler(BytesIO(buffers[0]), buffers=buffers[1:]).load()


_Function: Any = type(write_payload)  # types.FunctionType, without the import


def _make_function(code: Any, namespace: dict[str, Any], name: str, defaults: Any, closure: Any) -> Any:
    namespace["__builtins__"] = __builtins__
    return _Function(code, namespace, name, defaults, closure)


def _set_function_state(function: Any, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
    attributes, slots = state
    function.__dict__.update(attributes)
    function.__globals__.update(slots.pop("__globals__"))
    for own, other in zip(function.__closure__ or (), slots.pop("__closure__") or (), strict=True):
        try:
            own.cell_contents = other.cell_contents
        except ValueError:  # not assigned yet
            continue
    slots.pop("_cloudpickle_submodules")  # they were imported while the list was read
    for name, value in slots.items():
        setattr(function, name, value)


def _make_empty_cell() -> Any:
    content = None

    def inner() -> Any:
        return content  # noqa: F821 - deleted below: that is the point

    del content
    return inner.__closure__[0]  # type: ignore[index]


def _make_cell(*content: Any) -> Any:
    cell = _make_empty_cell()
    if content:
        cell.cell_contents = content[0]
    return cell


def _import(name: str) -> Any:
    __import__(name)
    return sys.modules[name]


def _type_named(name: str) -> Any:
    if name == "CodeType":
        return type(_import.__code__)
    import types

    return getattr(types, name)


# By the names under which cloudpickle writes them.
_reduced: dict[str, Callable[..., Any]] = {
    "_make_function": _make_function,
    "_function_setstate": _set_function_state,
    "_make_empty_cell": _make_empty_cell,
    "_make_cell": _make_cell,
    "_builtin_type": _type_named,
    "subimport": _import,
}


# -- to bytes ------------------------------------------------------------------------------------------------------


def _dump(value: object) -> tuple[Any, ...]:
    found: list[Any] = []

    def keep_out(buffer: _pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes <= _INLINE_BYTES:
            return True
        found.append(raw)
        return False

    try:
        data = _pickle.dumps(value, 5, buffer_callback=keep_out)
        by_value = b"__main__" in data
    except Exception:
        by_value = True
    if by_value:
        import cloudpickle

        found.clear()
        data = cloudpickle.dumps(value, 5, buffer_callback=keep_out)
    return (data, *found)


def dump_result(value: object) -> tuple[Any, ...]:
    """Raises whatever pickling raises, with a note that it is the result."""
    try:
        return _dump(value)
    except Exception as error:
        what = f"the result of this task, a {type(value).__name__}, cannot be pickled"
        _add_note(error, f"Trellis: {what}: return plain data, or what it can be made from")
        raise


def _add_note(error: BaseException, note: str) -> None:
    try:
        BaseException.add_note(error, note)
    except BaseException:  # it takes none
        return


def _text_of(error: BaseException) -> str:
    try:
        return str.__str__(str(error))
    except BaseException:  # users' code, which may even raise what would end a program
        return "(its message cannot be shown)"


def _dump_exception(exception: BaseException) -> tuple[Any, ...]:
    import traceback

    trace, own = exception.__traceback__, _dump_exception.__code__.co_filename
    # Without the frames of this file.
    while trace is not None and trace.tb_frame.f_code.co_filename == own:
        trace = trace.tb_next
    try:
        text = "".join(traceback.format_exception(type(exception), exception, trace))
    except BaseException:  # an exception of the user's own that cannot even be looked at
        text = "".join(traceback.format_tb(trace)) + f"{type(exception).__qualname__} (it cannot be shown)\n"
    add_place_note(exception)
    inner = next((data for way in WAYS if (data := _try(exception, way)) is not None), None)
    if inner is None:
        name = f"{type(exception).__module__}.{type(exception).__qualname__}"
        inner = _remote_error(name, _text_of(exception), text)
    return (_pickle.dumps((inner, text), 5),)


def _try(exception: BaseException, way: tuple[bool, bool] | None) -> bytes | None:
    """The exception as bytes; None when it cannot be made from them again."""
    try:
        data = _dump(exception)[0] if way is None else _dump_apart(exception, *way)
        return bytes(data) if isinstance(_load((data,)), BaseException) else None
    except BaseException:
        return None


def _dump_apart(exception: BaseException, links: bool, forced: bool) -> bytes:
    file = BytesIO()
    try:
        exception_pickler(_pickle.Pickler, links, forced)(file, 5).dump(exception)
        if b"__main__" not in file.getvalue():
            return file.getvalue()
    except Exception:  # as in _dump
        pass
    import cloudpickle

    file = BytesIO()
    exception_pickler(cloudpickle.Pickler, links, forced)(file, 5).dump(exception)
    return file.getvalue()


# -- exceptions taken apart: the same as in trellis.wire.exceptions, where the reasons are -------------------------


_Builtin: Any = type(len)
_Member: Any = type(vars(BaseException)["__suppress_context__"])
# A class that has one of these of its own knows itself how it is pickled.
_OWN_WAYS = ("__reduce__", "__reduce_ex__", "__getnewargs__", "__getnewargs_ex__", "__getstate__", "__setstate__")
_PROTOCOL = 5


def _own_way(kind: type[BaseException]) -> bool:
    of_python = [vars(each) for each in kind.__mro__ if each.__module__ != "builtins"]
    return kind in copyreg.dispatch_table or any(name in found for found in of_python for name in _OWN_WAYS)


def _state_of(error: BaseException, links: bool) -> dict[str, Any]:
    """What ``BaseException.__setstate__`` sets again. ``links``: also what caused it, and what it came up with."""
    state = {"args": error.args, **vars(error)}
    for each in type(error).__mro__:
        builtin = each.__module__ == "builtins"
        if each is BaseException or each is BaseExceptionGroup:  # set when it is made, and below
            continue
        for name, member in vars(each).items():
            # An AttributeError's ``obj`` is whatever the task worked with: pickle leaves it out as well.
            if type(member) is not _Member or name in state or (builtin and name == "obj"):
                continue
            try:
                value = member.__get__(error)
            except AttributeError:  # a slot that is empty
                continue
            if value is not None or not builtin:
                state[name] = value
    if links:
        state["__cause__"], state["__context__"] = error.__cause__, error.__context__
        state["__suppress_context__"] = error.__suppress_context__  # setting the cause has set it
    return state


def take_apart(error: BaseException, links: bool, forced: bool) -> Any:
    """How a pickler's ``reducer_override`` is to take an exception apart.

    ``forced``: also when its class has a way of its own, unless that refuses.
    """
    kind = type(error)
    if _own_way(kind):
        if not forced:
            return NotImplemented
        error.__reduce_ex__(_PROTOCOL)  # raises, if its author wants it to stay where it is
    make = next(new for each in kind.__mro__ if type(new := vars(each).get("__new__")) is _Builtin)
    parts = (error.message, error.exceptions) if isinstance(error, BaseExceptionGroup) else ()
    return make, (kind, *parts), _state_of(error, links), None, None, BaseException.__setstate__


def exception_pickler(base: Any, links: bool, forced: bool) -> Any:
    """A class of picklers that take exceptions apart, wherever in an object they are."""

    class ExceptionPickler(base):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            found = take_apart(obj, links, forced) if isinstance(obj, BaseException) else NotImplemented
            usual = getattr(super(), "reducer_override", None)
            return usual(obj) if found is NotImplemented and usual is not None else found

    return ExceptionPickler


def place_note(error: BaseException) -> str:
    """Which interpreter, or which directory, something was not found by; empty for other errors."""
    host = os.uname().nodename
    if isinstance(error, ImportError) or (type(error).__name__ == "DeserializationError" and "No module" in str(error)):
        python = f"Python {sys.version.split()[0]}, {sys.executable}, on host {host}"
        return (
            f"Trellis: this was {python}: install the module for that interpreter, or have its directory on the path "
            "where tasks run (worker_init='export PYTHONPATH=…')"
        )
    if isinstance(error, FileNotFoundError) and isinstance(error.filename, str):
        where = f"the directory {os.getcwd()}" if error.filename[:1] != "/" else "this path"
        return f"Trellis: {where} on host {host} does not have it: make it there, or name a file that all hosts see"
    return ""


def add_place_note(error: BaseException) -> None:
    """See above. Nothing happens when the exception takes no notes."""
    try:
        note = place_note(error)
        if note and note not in getattr(error, "__notes__", ()):
            BaseException.add_note(error, note)
    except BaseException:  # of a class of the user's anything may come
        return


# As it is; else without the exceptions that it is linked to, which may be what cannot travel; else as pickle does it;
# at last by its state, though its class has a way of its own, if that does not lead back.
WAYS = ((True, False), (False, False), None, (True, True))


# ------------------------------------------------------------------------------------------------------------------


def _remote_error(name: str, message: str, text: str) -> bytes:
    """A pickled ``trellis.errors.RemoteError``, made without importing Trellis."""
    arguments = _pickle.dumps((name, message, text), 2)
    # GLOBAL, the tuple without its PROTO and STOP, REDUCE, STOP: pickle protocol 2.
    return b"\x80\x02ctrellis.errors\nRemoteError\n" + arguments[2:-1] + b"R."


# -- the process ---------------------------------------------------------------------------------------------------


def hold_lifeline(lifeline: int) -> None:
    """Have this process group killed when the worker is gone: see ``trellis.executors.common.lifeline``."""
    import fcntl

    set_signal = getattr(fcntl, "F_SETSIG", None)
    if set_signal is None:  # not Linux
        return
    own = os.open(f"/proc/self/fd/{lifeline}", os.O_RDONLY | os.O_NONBLOCK)
    os.close(lifeline)
    fcntl.fcntl(own, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(own, set_signal, 9)  # SIGKILL
    fcntl.fcntl(own, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)
    try:
        os.read(own, 1)
    except BlockingIOError:  # the worker is there
        return
    os._exit(1)


def is_recorded() -> bool:
    """Whether what tasks use is to be told; their own code does not see that."""
    return bool(os.environ.pop(RECORDED, ""))


def used() -> Use:
    """What this process has used so far, with its children that have ended.

    Seconds in user and system mode, the largest resident memory, and what was read and written, in bytes.
    """
    import resource

    own, ended = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    peak = max(own.ru_maxrss, ended.ru_maxrss) * (1 if sys.platform == "darwin" else 1024)
    try:
        with open("/proc/self/io", "rb", 0) as file:
            words = file.read().split(None, 4)
        read, written = int(words[1]), int(words[3])
    except (OSError, ValueError, IndexError):  # not Linux, or forbidden
        read = written = 0
    return own.ru_utime + ended.ru_utime, own.ru_stime + ended.ru_stime, peak, read, written


def since(before: Use) -> Use:
    """What was used since ``used`` gave that; the largest memory is that of the process."""
    user_s, system_s, peak, read, written = used()
    return user_s - before[0], system_s - before[1], peak, read - before[3], written - before[4]


def add_import_paths() -> None:
    """Add the import paths of the user's program, after our own; those of what was packed for it, before.

    What has them runs tasks: this is marked as ``trellis.core.whereabouts`` says, should an app be called there.
    """
    vars(sys.modules["__main__"])["_trellis_worker"] = True
    paths = [path for path in os.environ.pop("TRELLIS_IMPORT_PATHS", "").split(os.pathsep) if path]
    sys.path += [path for path in paths if path not in sys.path]
    sys.path[:0] = filter(None, os.environ.pop("TRELLIS_PACKS", "").split(os.pathsep))
    for path in paths:
        if path.endswith(_ALIAS_PATH):
            _use_alias(path)


def _use_alias(path: str) -> None:
    """Have ``import parsl`` find Trellis, here and in programs that are started here: before what is installed.

    Where Trellis is not, neither is Parsl: a program must not get the one in one process, and the other in another.
    """
    sys.path.remove(path)
    if not os.path.isdir(path):  # of another host
        from importlib.util import find_spec

        trellis = find_spec("trellis")
        if trellis is None or trellis.origin is None:
            sys.modules["parsl"] = None  # type: ignore[assignment]
            return
        path = os.path.dirname(os.path.dirname(os.path.abspath(trellis.origin))) + _ALIAS_PATH
    sys.path.insert(0, path)
    others = [other for other in os.environ.get("PYTHONPATH", "").split(os.pathsep) if other and other != path]
    os.environ["PYTHONPATH"] = os.pathsep.join([path, *others])


def main(settle: Callable[..., Any] | None = None) -> None:
    """Entry point. ``settle``: gives kind and buffers of the result for what the function has come to."""
    function_path, arguments_path, result_path, *lifeline = sys.argv[1:]
    if lifeline:
        hold_lifeline(int(lifeline[0]))
    add_import_paths()
    recorded = is_recorded()
    started, begin = time.time(), time.perf_counter()
    kind = RESULT
    try:
        function = _load(read_payload(function_path)[1])
        args, kwargs = _load(read_payload(arguments_path)[1])
        buffers = dump_result(function(*args, **kwargs))
    except BaseException as error:  # sys.exit() in a task ends the task with this error
        kind, buffers = ERROR, _dump_exception(error)
    kind, buffers = settle(kind, buffers) if settle else (kind, buffers)
    duration_s = time.perf_counter() - begin
    write_payload(result_path, kind, buffers, started, duration_s, used() if recorded else NOT_MEASURED)
    for output in (sys.stdout, sys.stderr):
        try:
            output.flush()
        except Exception:  # a task may have closed or replaced it
            continue
    os._exit(0)  # threads that the task left behind must not keep the process alive


if __name__ == "__main__":
    main()
