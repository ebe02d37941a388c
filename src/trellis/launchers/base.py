"""What a launcher is. Users subclass it for systems of their own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from trellis.core.foreign import can_call
from trellis.core.kinds import Flag
from trellis.core.validation import check, knows_former_names


class Launcher(ABC):
    """Turns the command that one node shall run into the text of a bash script for the whole block.

    Args:
        debug: The script tells on its standard error what it does.
    """

    # True: the command runs on the very host where the script runs, so it reaches that host's loopback addresses.
    same_host: bool = False
    # True: what is run stands in the script as it is, so with ``debug`` bash can tell of it.
    traced: bool = False

    @knows_former_names()
    def __init__(self, debug: bool = True) -> None:
        self.debug: bool = check(type(self).__name__, "debug", debug, Flag())

    @abstractmethod
    def __call__(self, command: str, tasks_per_node: int, nodes_per_block: int, script_dir: str = "") -> str:
        """Give the script that runs ``command`` ``tasks_per_node`` times on each of ``nodes_per_block`` nodes.

        ``script_dir`` is where a launcher may put further files; it is empty when there is no such place.
        """

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in vars(self).items() if not name.startswith("_"))
        return f"{type(self).__name__}({settings})"


def block_script(
    launcher: Callable[..., Any], command: str, tasks_per_node: int, nodes_per_block: int, script_dir: str = ""
) -> str:
    """What providers put into their scripts: the text that a launcher gives, or another function in its place.

    One of three arguments, as those for Parsl are, is not told of ``script_dir``.

    Raises:
        TypeError: it gave no text.
    """
    arguments: tuple[Any, ...] = (command, tasks_per_node, nodes_per_block)
    if can_call(launcher, *arguments, script_dir):
        arguments = (*arguments, script_dir)
    text = launcher(*arguments)
    if not isinstance(text, str):
        name = getattr(launcher, "__name__", type(launcher).__name__)
        raise TypeError(f"the launcher {name} must give the text of a script, not {text!r}")
    return f"set -x\n{text}" if getattr(launcher, "traced", False) and getattr(launcher, "debug", True) else text


def takes_a_block(launcher: Callable[..., Any]) -> bool:
    """Whether it can be called as ``block_script`` does."""
    return can_call(launcher, "", 1, 1) or can_call(launcher, "", 1, 1, "")


def stays_here(launcher: object) -> bool:
    """Whether the command runs on the host of the script.

    What a user's subclass makes of the command, nobody knows, unless it says ``same_host`` itself.
    """
    if "same_host" in getattr(launcher, "__dict__", ()):
        return bool(launcher.same_host)  # type: ignore[attr-defined]
    for owner in type(launcher).__mro__:
        if "same_host" in vars(owner):
            return bool(vars(owner)["same_host"])
        if "__call__" in vars(owner):
            return False
    return False
