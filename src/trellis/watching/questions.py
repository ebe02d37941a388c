"""What can be asked of a run by its socket: a line of JSON there, a line of JSON back. Types only.

The first line that comes back is a ``Hello``, at once; the second is ``{"ok": ...}`` or ``{"error": "..."}``.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

FORMAT = 1
# Of a line that asks; what comes back may be long.
MOST_BYTES = 1_000_000

Seconds = Annotated[float, msgspec.Meta(gt=0, le=60)]


class AskFacts(msgspec.Struct, tag="facts", tag_field="ask", forbid_unknown_fields=True):
    """Which run is this? Gives ``RunFacts``."""


class AskStatus(msgspec.Struct, tag="status", tag_field="ask", forbid_unknown_fields=True):
    """How is the run? Gives ``RunStatus``."""

    timeout_s: Seconds = 1.0


class AskTasks(msgspec.Struct, tag="tasks", tag_field="ask", forbid_unknown_fields=True):
    """Which tasks are there? Gives ``TaskList``."""

    states: list[str] | None = None
    apps: list[str] | None = None
    failed: bool = False
    limit: Annotated[int, msgspec.Meta(ge=0)] | None = None


class AskExplain(msgspec.Struct, tag="explain", tag_field="ask", forbid_unknown_fields=True):
    """Why is a task where it is? Gives ``Explanation``."""

    task: int
    timeout_s: Seconds = 1.0


class AskCancel(msgspec.Struct, tag="cancel", tag_field="ask", forbid_unknown_fields=True):
    """Cancel these tasks, and all of these apps that are not final. Gives ``Cancellation``."""

    tasks: list[int] = []
    apps: list[str] = []


Question = AskFacts | AskStatus | AskTasks | AskExplain | AskCancel


class Hello(msgspec.Struct):
    """Who answers."""

    trellis: str  # version
    format: int
    run_id: str


class Answer(msgspec.Struct, omit_defaults=True):
    """What there is to say; ``error``: why not."""

    ok: Any = None
    error: str = ""
