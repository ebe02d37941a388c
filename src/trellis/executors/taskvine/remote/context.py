"""What a library keeps for its calls. No imports: this is loaded in every library and every task that asks."""

from __future__ import annotations

from typing import Any

_context: dict[str, Any] = {}


def library_context() -> dict[str, Any]:
    """What the context function of this library gave, as a dictionary; empty outside of libraries.

    In fork mode each call has it as it was when the library started, without a copy; in direct mode all calls of a
    library share it, and see what others have changed in it.
    """
    return _context


def load_variable_from_library(name: str) -> Any:
    """An entry of ``library_context()``; the name is TaskVine's.

    Raises:
        KeyError: the library's context has no such entry, or there is no library.
    """
    try:
        return _context[name]
    except KeyError:
        there = ", ".join(sorted(_context)) or "nothing"
        raise KeyError(f"{name!r} is not in the context of this library; there is {there}") from None


def keep(context: dict[str, Any]) -> None:
    """Keep the context; called by the library itself."""
    _context.clear()
    _context.update(context)
