"""What the submit side tells a manager's process, and what manager and factory answer when they start. Plain values."""

from __future__ import annotations

import msgspec


class VineSettings(msgspec.Struct):
    """What a manager has to know, whichever engine it is of. Times in seconds; ports are ``low <= port < high``."""

    client_address: str
    client_ports: tuple[int, int]
    worker_address: str  # to listen at; "*": everywhere
    worker_ports: tuple[int, int]
    any_port: bool  # another port will do when these are in use
    cert_dir: str  # keys for the submit side
    password_file: str | None  # for workers; None: no authentication, and loopback only
    logdir: str
    debug: bool
    import_paths: list[str]
    heartbeat_period_s: float
    heartbeat_threshold_s: float
    worker_timeout_s: float  # idle workers end after so long
    peer_transfers: bool
    autolabel: str  # "fixed", or how labels are found
    autolabel_window: int
    wait_for_workers: int
    tune: dict[str, float]
    project_name: str | None = None
    scheduler: str = "files"  # or "time", "worst", "rand"
    recorded: bool = False  # what becomes of files is told
    sample_every_s: float = 0.0  # between two looks at the tasks that run; 0: none
    client_name: str = ""  # the submit side's; nobody else is listened to at its port. Empty: whoever speaks


class VinePorts(msgspec.Struct):
    """What the submit side has to know of the manager."""

    client: int
    worker: int


class FactoryReady(msgspec.Struct):
    """A factory has started, whichever engine it is of."""

    pid: int
