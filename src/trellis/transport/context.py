"""The zmq context of a process: what other code may know of zmq."""

from __future__ import annotations

from typing import TypeAlias

import zmq

Context: TypeAlias = "zmq.Context[zmq.Socket[bytes]]"


def new_context() -> Context:
    """A context with one I/O thread; ``term()`` it when all its endpoints are closed."""
    return zmq.Context()
