"""What all messages have in common. No I/O here."""

from __future__ import annotations

import msgspec


class Message(msgspec.Struct, array_like=True, gc=False):
    """Base of all messages. Treated as values: nobody changes one."""
