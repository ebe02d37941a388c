"""Libraries as users declare them: functions that stay loaded, with a context."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trellis.core.kinds import Anything, Choice, Function, Instance, Items, OrNone, Table, Word
from trellis.core.validation import check_all
from trellis.core.values import MOST_COUNTED, Duration, Kind, Number
from trellis.errors import ParameterValueError
from trellis.staging.files import File

MODES = ("fork", "direct")

_SIZE = OrNone(Number(least=0))
LIBRARY_KINDS: dict[str, Kind] = {
    "name": Word(),
    "context": OrNone(Function()),
    "args": Items(Anything(), "arguments"),
    "kwargs": Table(Anything(), "arguments by name"),
    "inputs": Items(Instance("a File", File), "File"),
    "exec_mode": Choice(*MODES),
    "num_slots": OrNone(Number(least=1, most=MOST_COUNTED, whole=True)),
    "cores": _SIZE,
    "memory": _SIZE,
    "disk": _SIZE,
    "gpus": _SIZE,
    "context_timeout_s": Duration(above=0),
}


@dataclass(frozen=True)
class Library:
    """A process at the workers that runs calls, one after the other or side by side, and keeps what they share.

    Args:
        name: by which resource specifications name it: ``{"library": name}``.
        context: a function, run once when a library starts; it gives a dictionary that calls read with
            ``load_variable_from_library(name)`` or ``library_context()``.
        args, kwargs: its arguments.
        inputs: files that it finds in its directory.
        exec_mode: "fork": each call is a child process, which shares the context without copying it; "direct": calls
            run in the process itself, one at a time.
        num_slots: calls at a time in fork mode; None: as many as the library has cores.
        cores, memory, disk, gpus: what it takes of a worker (memory and disk in MB); nothing said: all but GPUs.
        context_timeout_s: seconds in which the library has to have started and loaded its context.

    Raises:
        ConfigurationError: a value has a wrong type or cannot work.
    """

    name: str
    context: Callable[..., Mapping[str, Any]] | None = None
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    inputs: Sequence[File] = ()
    exec_mode: str = "fork"
    num_slots: int | None = None
    cores: float | None = None
    memory: float | None = None
    disk: float | None = None
    gpus: float | None = None
    context_timeout_s: float = 300.0

    def __post_init__(self) -> None:
        check_all(self, LIBRARY_KINDS)
        if self.exec_mode == "direct" and self.num_slots not in (None, 1):
            raise ParameterValueError(
                f"Library: num_slots must be 1 in direct mode, not {self.num_slots}: calls run one after the other "
                "(give each library fewer cores to have more of them)"
            )
