"""Variables and cores of one task, put in force around it in its worker."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

from trellis.wire.codec import Buffer

CPUS_VARIABLE = "TRELLIS_CPUS"  # cores to bind to; not seen by the task
_END = b"\0"  # which no variable of an environment can contain


def dump_environment(variables: Mapping[str, str]) -> bytes:
    return _END.join(os.fsencode(f"{name}={value}") for name, value in variables.items())


def load_environment(data: Buffer) -> dict[str, str]:
    pairs = (os.fsdecode(pair).partition("=") for pair in bytes(data).split(_END) if pair)
    return {name: value for name, _, value in pairs}


def bind(cpus: str) -> None:
    """Run on these cores only (numbers, with commas between); so do threads and processes started from now on."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, map(int, cpus.split(",")))


@contextlib.contextmanager
def in_force(variables: dict[str, str]) -> Iterator[None]:
    """Set variables, bind to cores; afterwards all is as it was before, whatever the task did to them."""
    cpus = variables.pop(CPUS_VARIABLE, None)
    before = {name: os.environ.get(name) for name in variables}
    cores = os.sched_getaffinity(0) if cpus is not None and hasattr(os, "sched_getaffinity") else None
    try:
        os.environ.update(variables)
        if cpus is not None:
            bind(cpus)
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if cores is not None:
            os.sched_setaffinity(0, cores)
