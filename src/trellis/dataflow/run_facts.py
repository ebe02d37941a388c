"""What a run's log says first: versions, host, program, and the configuration as it is now. Reads, and changes nothing.

What was not given is left out: a parameter that has its default says nothing new.
"""

from __future__ import annotations

import inspect
import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from trellis.core.validation import parameters_of
from trellis.core.values import shown
from trellis.version import VERSION

# Modules whose versions matter, if they are loaded: nothing is imported for the log.
_MODULES = ("cloudpickle", "msgspec", "zmq", "psutil", "sqlalchemy", "numpy")
# In texts of any kind: "export API_TOKEN=…", "--password …", "postgresql://user:…@host/database".
_SECRET = re.compile(
    r"((?:password|passwd|secret|token|api[-_]?key)[\w-]*['\"]?[=: ]+['\"]?)[^\s'\",)]+", re.IGNORECASE
)
_CREDENTIALS = re.compile(r"(://[^/\s:@'\"]*:)[^/\s@'\"]+@")


def facts_of_run(config: Any) -> Iterator[str]:
    """Lines for the log, without what looks like a secret: it is read by more people than those who run programs."""
    for line in _facts(config):
        yield _SECRET.sub(r"\1…", _CREDENTIALS.sub(r"\1…@", line))


def _facts(config: Any) -> Iterator[str]:
    loaded = [f"{name} {_version(name)}" for name in _MODULES if name in sys.modules]
    yield f"Trellis {VERSION}, Python {platform.python_version()} ({sys.executable}), {', '.join(loaded)}"
    system = os.uname()
    where = f"host {system.nodename}, {system.sysname} {system.release} {system.machine}"
    yield f"{where}, {os.cpu_count()} cores, user {_user()}, process {os.getpid()}"
    yield f"program {' '.join(map(str, sys.argv)) or '(none)'}, in {_working_directory()}"
    yield f"configuration: {described(config, _given(config, leave_out=('executors',)))}"
    for executor in config.executors:
        yield f"executor {executor.label}: {described(executor, _given(executor))}"


def described(owner: object, given: Mapping[str, Any]) -> str:
    """An object as one would write it."""
    values = []
    for name, value in given.items():
        values.append(f"{name}={_value(value)}")
    return f"{type(owner).__name__}({', '.join(values)})"


def _value(value: Any) -> str:
    if parameters_of(type(value)):  # a provider or a launcher, with parameters of its own
        return described(value, _given(value))
    return shown(value)


def _given(owner: object, leave_out: tuple[str, ...] = ()) -> dict[str, Any]:
    """Parameters of the constructor whose values, as attributes, are not their defaults."""
    found = {}
    try:
        parameters = inspect.signature(type(owner)).parameters
    except (TypeError, ValueError):  # an executor of the user's own that is no ordinary class
        return {}
    for name, parameter in parameters.items():
        if name in leave_out or not hasattr(owner, name):
            continue
        value = getattr(owner, name)
        if not _is_same(value, parameter.default):
            found[name] = value
    return found


def _is_same(value: Any, default: Any) -> bool:
    try:
        return type(value) is type(default) and bool(value == default)
    except Exception:  # arrays, and what users compare in their own way
        return False


def _version(name: str) -> str:
    return str(getattr(sys.modules[name], "__version__", "?"))


def _user() -> str:
    return os.environ.get("LOGNAME") or os.environ.get("USER") or str(os.getuid())


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:
        return "a directory that was deleted"
