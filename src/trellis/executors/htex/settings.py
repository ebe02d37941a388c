"""What the submit side and the interchange tell each other when the interchange starts. Plain values."""

from __future__ import annotations

from typing import Literal

import msgspec

# So long after a restart managers have to come back: they try to connect again within a second, but a loaded host, or a
# thousand of them at once, may take some.
RECOVERY_S = 10.0

# The two ways of selection that the interchange knows by name are faster there than calls of an object.
NamedSelection = Literal["random", "block_id"]


class Settings(msgspec.Struct):
    """What the interchange has to know. Port ranges are ``low <= port < high``."""

    client_address: str
    client_ports: tuple[int, int]
    worker_address: str
    worker_ports: tuple[int, int]
    cert_dir: str | None
    logdir: str
    debug: bool
    heartbeat_threshold_s: float
    selection: NamedSelection
    import_paths: list[str]
    shared_dir: str | None = None  # for large payloads, when all processes are on this host
    heartbeat_period_s: float = 30.0  # how often the submit side looks whether a silent interchange lives
    resuming: bool = False  # another interchange was there before: its tasks come first, then ``ResumeEnd``
    client_name: str = ""  # the submit side's; nobody else is listened to at its port. Empty: whoever speaks
    log_config: str | None = None  # file with a user's own way of logging; None: a log in ``logdir``
    selector: bytes | None = None  # a user's own ManagerSelector, serialized; it takes the place of ``selection``
    recorded: bool = False  # managers say what tasks have used
    sample_every_s: float = 0.0  # and look so often at those that run; 0: never


class Ports(msgspec.Struct):
    """What the submit side has to know of the interchange."""

    client: int
    worker: int
