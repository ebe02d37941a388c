"""What a launcher is. Users subclass it for systems of their own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from trellis.core.foreign import can_call
from trellis.core.kinds import Flag
from trellis.core.validation import check


class Launcher(ABC):
    """Turns the command that one node shall run into the text of a bash script for the whole block.

    Args:
        debug: The script tells on its standard error what it does.
    """

    # True: the command runs on the very host where the script runs, so it reaches that host's loopback addresses.
    same_host: bool = False

    def __init__(self, debug: bool = True) -> None:
        self.debug: bool = check(type(self).__name__, "debug", debug, Flag())

    @abstractmethod
    def __call__(self, command: str, tasks_per_node: int, nodes_per_block: int, script_dir: str = "") -> str:
        """Give the script that runs ``command`` ``tasks_per_node`` times on each of ``nodes_per_block`` nodes.

        ``script_dir`` is where a launcher may put further files; it is empty when there is no such place.
        """

    def script(self, command: str, tasks_per_node: int, nodes_per_block: int, script_dir: str = "") -> str:
        """What providers call: a launcher of three arguments, as those for Parsl are, is not told of ``script_dir``."""
        arguments: tuple[Any, ...] = (command, tasks_per_node, nodes_per_block)
        if can_call(self, *arguments, script_dir):
            arguments = (*arguments, script_dir)
        return self(*arguments)

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in vars(self).items() if not name.startswith("_"))
        return f"{type(self).__name__}({settings})"
