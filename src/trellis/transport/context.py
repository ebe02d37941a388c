"""The zmq context of a process: what other code may know of zmq."""

from __future__ import annotations

from typing import TypeAlias

import zmq

Context: TypeAlias = "zmq.Context[zmq.Socket[bytes]]"

# As plain numbers: with each use of its enumerations in ``&`` zmq makes a new member of one.
_EVENTS = int(zmq.EVENTS)
_POLLIN = int(zmq.POLLIN)


def new_context() -> Context:
    """A context with one I/O thread; ``term()`` it when all its endpoints are closed."""
    return zmq.Context()


def is_readable(socket: zmq.Socket[bytes]) -> bool:
    """Whether there is a message now."""
    return bool(int(socket.getsockopt(_EVENTS)) & _POLLIN)
