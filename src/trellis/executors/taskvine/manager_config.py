"""What users say of a TaskVine manager. Values only: nothing is opened here, and nothing changes them later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trellis.core.validation import check_at_least, check_type
from trellis.errors import ConfigurationError
from trellis.executors.taskvine.library import Library

DEFAULT_PORT = 9123
SCHEDULERS = ("files", "time", "worst", "rand")
ALGORITHMS = ("max-xput", "bucketing", "max")
_LIBRARY_KEYS = ("num_slots", "cores", "memory", "disk", "gpus", "exec_mode", "context_timeout_s")


@dataclass
class TaskVineManagerConfig:
    """How tasks are managed. Sizes in MB.

    Args:
        port: where workers connect; 0: any free one. The default is taken when it is free, and any other when not.
        address: how workers reach this host; None: by loopback when all of them run here, else by its main address.
        project_name: under which workers and factories find the manager.
        project_password_file: file with the secret that all parties must know; None: one is made for each run.
        env_vars: set in the environment of each task.
        init_command: shell text in front of each task's command; it ends with ``&&`` or ``;``.
        env_pack: packaged environment for tasks: a ``.tar.gz`` in conda-pack's layout, a directory, or a name.
        app_pack: find and pack what each app imports.
        extra_pkgs: packages for ``app_pack`` beyond those that are found.
        max_retries: how often a task that had too little memory or disk is run again, and how often one under which
            its worker ended; None: without limit.
        library_config: of the library that serverless apps run in: ``num_slots``, ``cores``, ``memory``, ``disk``,
            ``gpus``, ``exec_mode`` ("fork" or "direct"), ``context_timeout_s``.
        shared_fs: workers see this host's files: nothing is transferred.
        autolabel: find out what tasks of a category need by measuring.
        autolabel_algorithm: "max-xput", "bucketing" or "max".
        autolabel_window: tasks of a category that are measured before labels are used; None: 25.
        autocategory: the category of a task is its function's name.
        enable_peer_transfers: workers pass files on to each other.
        wait_for_workers: no task starts before so many workers are there.
        tune_parameters: TaskVine's tuning parameters by name.
        vine_log_dir: where logs go; None: a directory below the run directory.

        scheduler: which worker gets a task: "files" (most of its inputs), "time" (the fastest), "worst" (most that is
            free), "rand".

    Raises:
        ConfigurationError: a value has a wrong type or cannot work; the message names the field.
    """

    port: int = DEFAULT_PORT
    address: str | None = None
    project_name: str | None = None
    project_password_file: str | None = None
    env_vars: Mapping[str, str] | None = None
    init_command: str = ""
    env_pack: str | None = None
    app_pack: bool = False
    extra_pkgs: Sequence[str] | None = None
    max_retries: int | None = 1
    library_config: Mapping[str, Any] | None = None
    shared_fs: bool = False
    autolabel: bool = False
    autolabel_algorithm: str = "max-xput"
    autolabel_window: int | None = None
    autocategory: bool = True
    enable_peer_transfers: bool = True
    wait_for_workers: int | None = None
    tune_parameters: Mapping[str, float] | None = None
    vine_log_dir: str | None = None
    scheduler: str = "files"

    def __post_init__(self) -> None:
        owner = type(self).__name__
        for name, types in _TYPES.items():
            check_type(owner, name, getattr(self, name), *types)
        if not 0 <= self.port < 65536:
            raise ConfigurationError(f"{owner}: port must be from 0 to 65535, not {self.port}")
        for name in ("max_retries", "autolabel_window", "wait_for_workers"):
            if getattr(self, name) is not None:
                check_at_least(owner, name, getattr(self, name), 0)
        if self.autolabel_algorithm not in ALGORITHMS:
            known = ", ".join(map(repr, ALGORITHMS))
            raise ConfigurationError(
                f"{owner}: autolabel_algorithm must be one of {known}, not {self.autolabel_algorithm!r}"
            )
        if self.scheduler not in SCHEDULERS:
            known = ", ".join(map(repr, SCHEDULERS))
            raise ConfigurationError(f"{owner}: scheduler must be one of {known}, not {self.scheduler!r}")
        unknown = set(self.library_config or ()) - set(_LIBRARY_KEYS)
        if unknown:
            raise ConfigurationError(
                f"{owner}: library_config has no {', '.join(sorted(unknown))}; there are {', '.join(_LIBRARY_KEYS)}"
            )
        try:
            Library("library_config", **(self.library_config or {}))
        except ConfigurationError as error:
            raise ConfigurationError(f"{owner}: library_config: {error}") from None


_TYPES: dict[str, tuple[type | None, ...]] = {
    "port": (int,),
    "address": (str, None),
    "project_name": (str, None),
    "project_password_file": (str, None),
    "env_vars": (dict, None),
    "init_command": (str,),
    "env_pack": (str, None),
    "app_pack": (bool,),
    "extra_pkgs": (list, tuple, None),
    "max_retries": (int, None),
    "library_config": (dict, None),
    "shared_fs": (bool,),
    "autolabel": (bool,),
    "autolabel_algorithm": (str,),
    "autolabel_window": (int, None),
    "autocategory": (bool,),
    "enable_peer_transfers": (bool,),
    "wait_for_workers": (int, None),
    "tune_parameters": (dict, None),
    "vine_log_dir": (str, None),
    "scheduler": (str,),
}
