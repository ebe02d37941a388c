"""Names of Parsl's that Trellis does not have: a program may import them, and is told when it uses one."""

from __future__ import annotations

from typing import Any

from trellis.errors import NotInTrellis


def not_in_trellis(name: str, instead: str) -> NotInTrellis:
    """The error for the use of ``name``; ``instead`` says what a program may do."""
    return NotInTrellis(f"{name} is not available in this version of Trellis: {instead}")


def missing(name: str, module: str, instead: str) -> Any:
    """A stand-in for the class ``name``: a class by the same name, which cannot be made."""

    def refuse(cls: type, *_args: Any, **_kwargs: Any) -> Any:
        raise not_in_trellis(name, instead)

    doc = f"Parsl's {name}, which Trellis does not have; making one raises NotInTrellis."
    return type(name, (), {"__new__": refuse, "__module__": module, "__doc__": doc})
