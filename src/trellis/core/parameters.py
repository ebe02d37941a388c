"""Kinds of parameters that several parts of the package have. Pure."""

from __future__ import annotations

import functools
import inspect
import os
import re
from dataclasses import dataclass
from typing import Any

from trellis.core.kinds import Choice, Either, Function, Instance, Items, OrNone, Path, Text, Word
from trellis.core.radios import RadioConfig
from trellis.core.values import Kind, Span, ValueRefused

MONITORING_RADIO = OrNone(Instance("a RadioConfig", RadioConfig))

# Labels of executors name directories of the run, and stand in commands.
_LABEL = re.compile(r"[\w+@=,:-][\w .+@=,:-]*")
_LABEL_BYTES = 100


@dataclass(frozen=True)
class Label(Kind):
    """The name of an executor."""

    def __call__(self, value: Any) -> str:
        if not isinstance(value, str):
            raise ValueRefused(self, wrong_type=True)
        label = Text()(value)
        if not _LABEL.fullmatch(label) or len(os.fsencode(label)) > _LABEL_BYTES or label == "all":
            raise ValueRefused(self)
        return label

    def __str__(self) -> str:
        return (
            "a name of letters, digits, spaces and any of _ . + @ = , : - that begins with no space and no dot, has "
            f"at most {_LABEL_BYTES} bytes, and is not 'all'"
        )


class Host(Word):
    """The name or the address of a host."""

    def __call__(self, value: Any) -> str:
        host = super().__call__(value)
        try:
            if ":" not in host and host != "*":
                host.encode("idna")  # what a look-up does first
        except UnicodeError:
            raise ValueRefused(self) from None
        return host

    def __str__(self) -> str:
        return "the name or address of a host"


class Variable(Text):
    """The name of a variable of the environment."""

    def __call__(self, value: Any) -> str:
        text = super().__call__(value)
        if not text or "=" in text:
            raise ValueRefused(self)
        return text

    def __str__(self) -> str:
        return "a text that is not empty and has no '='"


class Period(Span):
    """A time that stays as it is given."""

    def __call__(self, value: Any) -> Any:
        super().__call__(value)
        return value


class PlainFunction(Function):
    """A function whose result is its result: none that is async."""

    def __call__(self, value: Any) -> Any:
        function = super().__call__(value)
        while isinstance(function, functools.partial):
            function = function.func
        for candidate in (function, type(function).__call__):
            if inspect.iscoroutinefunction(candidate) or inspect.isasyncgenfunction(candidate):
                advice = "an async function cannot be an app; write a plain one that calls asyncio.run(…)"
                raise ValueRefused(self, wrong_type=True, advice=advice)
        return value


class Iterables(Kind):
    """What can be iterated over."""

    def __call__(self, value: Any) -> Any:
        try:
            iter(value)
        except Exception:
            raise ValueRefused(self, wrong_type=True) from None
        return value

    def __str__(self) -> str:
        return "an iterable"


PROVIDER = Instance(
    "an ExecutionProvider",
    methods=(
        "submit",
        "status",
        "cancel",
        "label",
        "status_polling_interval",
        "nodes_per_block",
        "init_blocks",
        "min_blocks",
        "max_blocks",
        "parallelism",
    ),
)
KERNEL = Instance("a DataFlowKernel", methods=("submit_app",))
ITERABLES = Items(Iterables(), "iterables")
STORAGE_ACCESS = OrNone(Items(Instance("a Staging", methods=("can_stage_in", "can_stage_out")), "Staging objects"))
EXECUTORS = Either(Text(empty=False), Items(Text(empty=False), "labels of executors", least=1))
NAMES = OrNone(Items(Text(empty=False), "names"))
CHECKPOINT_KINDS: dict[str, Kind] = {
    "checkpoint_files": OrNone(Items(Path(), "paths")),
    "checkpoint_mode": OrNone(Choice("task_exit", "periodic", "dfk_exit", "manual")),
    "checkpoint_period": OrNone(Period()),
}
