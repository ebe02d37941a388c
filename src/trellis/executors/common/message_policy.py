"""Who counts as the client of a service, and what a bad message costs its sender: the same for every service. No I/O.

The client is the connection that has the name which the service was told at its start; a service that was told none
takes whoever speaks. Nobody else is heard on that socket. A bad message of the client costs no more than the tasks that
it is about, each of which is refused with the reason: the client itself is our own submit side.

A peer that works for the service (a manager, a worker) and sends a bad message is given up and told so, since nothing
that it says later can be relied on: its tasks go elsewhere, or fail as if it had died. The interchange makes one
exception: a report of how tasks ended that its sender has, when these can be told, costs them and no others.
"""

from __future__ import annotations

import logging

from trellis.errors import BadMessage
from trellis.executors.common.bad_messages import BadMessages
from trellis.wire.codec import Buffer


class Client:
    """The submit side, as a service sees it.

    Args:
        name: of its connection; empty: whoever speaks.
    """

    def __init__(self, name: str, logger: logging.Logger) -> None:
        self._name = name.encode()
        self._bad_messages = BadMessages(logger, "a message of the submit side is refused%s: %s")
        self.peer: bytes | None = None  # to whom answers go

    def hears(self, peer: bytes) -> bool:
        """Whether a message of this connection counts; if so, answers go there from now on."""
        if self._name and peer != self._name:
            return False
        self.peer = peer
        return True

    def refuse(self, error: BadMessage) -> None:
        """Note a bad message; whoever calls this refuses the tasks that it is about."""
        self._bad_messages.note("", error)


class Peers:
    """Processes that work for a service.

    Args:
        kind: what one is called.
    """

    def __init__(self, kind: str, logger: logging.Logger) -> None:
        self._bad_messages = BadMessages(logger, f"{kind} %s is given up: %s")

    def give_up(self, name: str, error: BadMessage) -> str:
        """Note a bad message; gives the reason for which its sender is given up, and that it is told."""
        self._bad_messages.note(name, error)
        return f"it sent a bad message: {error}"


def header_of(frames: list[Buffer]) -> Buffer:
    """The first frame of a message.

    Raises:
        BadMessage: there is none.
    """
    if not frames:
        raise BadMessage("an empty message")
    return frames[0]
