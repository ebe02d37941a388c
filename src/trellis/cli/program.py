"""A program that runs as ``python program.py`` runs it, once ``import parsl`` gives Trellis. Starts no other process.

What Python sees to after a program's last line (threads, exit functions, exit codes, a signal's death) it sees to here
as well, for the program runs to its end, or its exception leaves, as Python's own ``__main__``.
"""

from __future__ import annotations

import builtins
import importlib.util
import os
import pkgutil
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader, SourcelessFileLoader
from types import CodeType, ModuleType, TracebackType

EXIT_UNUSABLE = 2  # as Python's own, for a program that it cannot open
_HELP = """\
usage: {command} [--] PROGRAM [ARGUMENT ...]
       {command} -m MODULE [ARGUMENT ...]

Run a program written for Parsl as it is: `import parsl` gives Trellis in it, in the processes that it starts, and
in workers. PROGRAM is what `python` takes as one: a file, or a directory or zip archive with a __main__.py.
What follows it is for the program.
"""

_former_mains: list[ModuleType | None] = []  # kept: functions that still run need their globals


class _Unusable(Exception):
    """There is no program to run."""


def run(words: Sequence[str], command: str) -> int:
    """Run the program that ``words`` name, to its end; ``command`` is what the user has typed before them.

    Gives the exit code. What the program raises leaves this function, SystemExit as well.
    """
    try:
        is_module, rest = _parse(words)
    except _Unusable as error:
        print(f"{command}: {error}\n\n{_HELP.format(command=command)}", end="", file=sys.stderr)
        return EXIT_UNUSABLE
    if not rest:
        print(_HELP.format(command=command), end="", file=sys.stdout)
        return 0
    name = rest[0]
    main = ModuleType("__main__")
    sys.argv = rest
    sys.excepthook = _without_our_frames
    try:
        if is_module:
            _set_first_path(os.getcwd())
        else:
            code = _program(main, name)
        _turn_on()
        if is_module:  # the packages that it is in are imported
            code = _module(main, name)
    except _Unusable as error:
        print(f"{command}: {error}", file=sys.stderr)
        return EXIT_UNUSABLE
    _former_mains.append(sys.modules.get("__main__"))
    sys.modules["__main__"] = main
    exec(code, vars(main))
    return 0


def _parse(words: Sequence[str]) -> tuple[bool, list[str]]:
    """Whether a module is meant; and its name or the program's, with arguments. Nothing: the user asks for help."""
    match words:
        case ["-h" | "--help", *_]:
            return False, []
        case [] | ["--"]:
            raise _Unusable("which program?")
        case ["-m"]:
            raise _Unusable("-m needs the name of a module")
        case ["-m", *module]:
            return True, module
        case ["--", *program]:
            return False, program
        case [word, *_] if word.startswith("-"):
            raise _Unusable(f"{word} is no option of this command, and options of the program come after its name")
    return False, list(words)


def _turn_on() -> None:
    try:
        importlib.import_module("trellis.as_parsl")
    except ImportError as error:
        if error.name != "parsl":
            raise
        raise _Unusable(str(error)) from None


# -- finding it ----------------------------------------------------------------------------------------------------


def _program(main: ModuleType, path: str) -> CodeType:
    """The code of a file, directory or archive; ``main`` and ``sys.path`` are made as it wants."""
    importer = pkgutil.get_importer(path)
    if importer is not None:  # a directory or an archive
        _set_first_path(os.path.abspath(path))
        spec = importer.find_spec("__main__", None)
        if spec is None:
            raise _Unusable(f"{path} has no __main__.py, so it is not a program")
        return _code_of(main, spec)
    place = os.path.abspath(path)
    _set_first_path(os.path.dirname(os.path.realpath(path)))
    loader = SourcelessFileLoader if path.endswith(".pyc") else SourceFileLoader
    vars(main).update(__file__=place, __loader__=loader("__main__", place), __cached__=None, __builtins__=builtins)
    try:
        if loader is SourcelessFileLoader:
            code = SourcelessFileLoader("__main__", place).get_code("__main__")
            assert code is not None
            return code
        with open(place, "rb") as file:
            source = file.read()
    except OSError as error:
        raise _Unusable(f"the program {path} cannot be read: {error.strerror or error}") from None
    return compile(source, place, "exec", dont_inherit=True)


def _module(main: ModuleType, name: str) -> CodeType:
    """The code of a module, as ``python -m`` finds it; ``main`` and ``sys.argv`` are made as it wants."""
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            name = f"{name}.__main__"
            spec = importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # it is there, and lacks something itself
        spec = None
    except (ValueError, ImportError) as error:
        raise _Unusable(f"the module {name} cannot be run: {error}") from error
    if spec is None:
        raise _Unusable(f"there is no module {name}: it is looked for in this directory and where Python finds modules")
    code = _code_of(main, spec)
    sys.argv[0] = spec.origin or name
    return code


def _code_of(main: ModuleType, spec: ModuleSpec) -> CodeType:
    get_code = getattr(spec.loader, "get_code", None)
    code: CodeType | None = get_code(spec.name) if get_code is not None else None
    if code is None:
        raise _Unusable(f"{spec.name} has no code that Python could run as a program")
    vars(main).update(
        __file__=os.path.abspath(spec.origin) if spec.origin else None,
        __loader__=spec.loader,
        __cached__=spec.cached,
        __package__=spec.parent,
        __spec__=spec,
        __builtins__=builtins,
    )
    return code


def _set_first_path(directory: str) -> None:
    """Where programs find modules beside them, in the place of what Python has put there for this command."""
    if not sys.flags.safe_path:  # python -P: no such directory
        sys.path[0] = directory


def _without_our_frames(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What Python shows of an exception that ends a program, from the program's first frame on."""
    ours = trace
    while ours is not None and ours.tb_frame.f_code is not run.__code__:
        ours = ours.tb_next
    if ours is not None:
        trace = ours.tb_next
        while trace is not None and trace.tb_frame.f_globals is globals():  # of looking for it
            trace = trace.tb_next
    sys.__excepthook__(kind, error.with_traceback(trace), trace)
