"""The special keyword arguments of a call, checked and made plain. Pure; staging and executors come later.

It is done when the app is called, for what is known then, and once more when futures among them have results.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from typing import Any

from trellis.core.kinds import OrNone
from trellis.core.resources import SPECIFICATION
from trellis.core.validation import check
from trellis.core.values import Duration, Kind, ValueRefused, shown
from trellis.errors import BadStdStreamFile, InvalidResourceSpecification
from trellis.futures import DataFuture
from trellis.staging.files import File

# Bytes: the limits of all file systems that matter.
_LONGEST_NAME = 255
_LONGEST_PATH = 4096
WALLTIME = OrNone(Duration(above=0, texts=True))


class _Inputs(Kind):
    """Any number of things, as a list; a set, an array or the like becomes one, as with Parsl."""

    def __call__(self, value: Any) -> Any:
        if value is None or isinstance(value, list | tuple):
            return value
        alone = isinstance(value, str | bytes | os.PathLike | Mapping | Future)
        if alone or not isinstance(value, Collection):  # an iterator may have no end
            raise ValueRefused(self, wrong_type=True, advice=f"write inputs=[{shown(value)}]" if alone else "")
        try:
            return list(value)
        except Exception:
            raise ValueRefused(self, wrong_type=True) from None

    def __str__(self) -> str:
        return "a list"


class _Outputs(Kind):
    """Files, as a list."""

    def __call__(self, value: Any) -> Any:
        if value is None:
            return value
        if not isinstance(value, list | tuple):
            raise ValueRefused(self, wrong_type=True, advice="write outputs=[File(…)]")
        for element in value:
            if not isinstance(element, File) or isinstance(element, type):
                advice = f"write File({shown(element)})" if isinstance(element, str | os.PathLike) else ""
                raise ValueRefused(f"{self}, and {shown(element)} is none", wrong_type=True, advice=advice)
        return value

    def __str__(self) -> str:
        return "a list of File"


_KINDS: dict[str, Kind] = {"inputs": _Inputs(), "outputs": _Outputs(), "walltime": WALLTIME}


def check_values(app: str, kwargs: dict[str, Any], *, is_bash: bool) -> dict[str, Any]:
    """The keyword arguments of a call, the special ones as plain objects. Futures stay what they are.

    Raises:
        ParameterTypeError, ParameterValueError: one is wrong; the message names app, argument and what is accepted.
        BadStdStreamFile: so is ``stdout`` or ``stderr`` of a bash app.
    """
    changed: dict[str, Any] = {}
    for name, kind in _KINDS.items():
        value = kwargs.get(name)
        if value is not None and not _comes_later(name, value):
            plain = check(app, name, value, kind)
            if plain is not value:
                changed[name] = plain
    if is_bash:
        for name in ("stdout", "stderr"):
            if kwargs.get(name) is not None:
                changed[name] = _checked_stream(app, name, kwargs[name])
    return {**kwargs, **changed} if changed else kwargs


def _comes_later(name: str, value: Any) -> bool:
    # What is to be staged must be known now; a list of other things may be a result.
    return isinstance(value, Future) and name != "outputs" and not isinstance(value, DataFuture)


def check_specification(app: str, value: Any, validate: Callable[[dict[str, Any]], None] | None) -> dict[str, Any]:
    """The resource specification of a call, as a dictionary of its own; ``validate`` is the executor's.

    Raises:
        ParameterTypeError: it is no dictionary.
        InvalidResourceSpecification: the executor does not take it.
    """
    specification: dict[str, Any] = check(app, "parsl_resource_specification", value, SPECIFICATION) or {}
    if validate is not None:
        try:
            validate(specification)
        except InvalidResourceSpecification as error:
            if type(error) is not InvalidResourceSpecification:
                raise
            raise InvalidResourceSpecification(error.invalid_keys, f"{error.message} (app {app})") from None
    return specification


# -- streams ---------------------------------------------------------------------------------------------------


def _checked_stream(app: str, name: str, value: Any) -> Any:
    if isinstance(value, Future):
        return value
    wanted = "a path, a pair (path, mode) with a mode such as 'w' or 'a', a File, or AUTO_LOGNAME"
    path, mode = value if isinstance(value, tuple) and len(value) == 2 else (value, "w")
    if not isinstance(path, Future | File):  # staging knows where a File is
        path = _path_of_a_file(path)
    if path is None:
        raise BadStdStreamFile(f"{app}: {name} must be {wanted}, not {shown(value)}")
    if not _is_writing_mode(mode):
        raise BadStdStreamFile(f"{app}: {name} must be {wanted}; {shown(mode)} is no mode in which a file is written")
    return (path, mode) if isinstance(value, tuple) else path


def _path_of_a_file(path: Any) -> str | None:
    """The path as a text; None when there can be no such file."""
    try:
        plain = os.fsencode(path)  # of a path, bytes too, and of nothing else
    except Exception:
        return None
    names = plain.split(b"/")
    fits = len(plain) < _LONGEST_PATH and max(map(len, names)) <= _LONGEST_NAME and b"\0" not in plain
    return os.fsdecode(plain) if fits and names[-1] not in (b"", b".", b"..") else None


def _is_writing_mode(mode: Any) -> bool:
    if not isinstance(mode, str) or len(set(mode)) < len(mode) or not set(mode) <= set("rwaxbt+"):
        return False
    writes = len(set(mode) & set("rwax")) == 1 and ("r" not in mode or "+" in mode)
    return writes and not ("b" in mode and "t" in mode)
