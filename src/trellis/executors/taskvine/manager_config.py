"""What users say of a TaskVine manager. Values only: nothing is opened here, and nothing changes them later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trellis.core.kinds import Anything, Choice, Flag, OrNone, Path, Table, Text
from trellis.core.parameters import NAMES, Host, Variable
from trellis.core.validation import answers_misspelt_names, check, check_all
from trellis.core.values import MOST_COUNTED, Kind, Number
from trellis.errors import ParameterValueError
from trellis.executors.taskvine.library import LIBRARY_KINDS, Library

DEFAULT_PORT = 9123
VINE_DEFAULT_PORT = DEFAULT_PORT  # Parsl's name
SCHEDULERS = ("files", "time", "worst", "rand")
ALGORITHMS = ("max-xput", "bucketing", "max")
_LIBRARY_KEYS = ("num_slots", "cores", "memory", "disk", "gpus", "exec_mode", "context_timeout_s")


@answers_misspelt_names
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
        check_all(self, _KINDS)
        unknown = set(self.library_config or ()) - set(_LIBRARY_KEYS)
        if unknown:
            raise ParameterValueError(
                f"{owner}: library_config has no {', '.join(sorted(unknown))}; there are {', '.join(_LIBRARY_KEYS)}"
            )
        if self.library_config is not None:
            self.library_config = {
                name: check(owner, f"library_config[{name!r}]", value, LIBRARY_KINDS[name])
                for name, value in self.library_config.items()
            }
            try:
                Library("library_config", **self.library_config)
            except ParameterValueError as error:
                raise ParameterValueError(f"{owner}: library_config: {error}") from None


_COUNT = OrNone(Number(least=0, most=MOST_COUNTED, whole=True))

_KINDS: dict[str, Kind] = {
    "port": Number(least=0, most=65535, whole=True),
    "address": OrNone(Host()),
    "project_name": OrNone(Text(empty=False, lines=False)),
    "project_password_file": OrNone(Path()),
    "env_vars": OrNone(Table(Text(), "texts by names of variables", key=Variable())),
    "init_command": Text(),
    "env_pack": OrNone(Path()),
    "app_pack": Flag(),
    "extra_pkgs": NAMES,
    "max_retries": _COUNT,
    "library_config": OrNone(Table(Anything(), "what libraries take")),
    "shared_fs": Flag(),
    "autolabel": Flag(),
    "autolabel_algorithm": Choice(*ALGORITHMS),
    "autolabel_window": _COUNT,
    "autocategory": Flag(),
    "enable_peer_transfers": Flag(),
    "wait_for_workers": _COUNT,
    "tune_parameters": OrNone(Table(Number(), "numbers by names of parameters")),
    "vine_log_dir": OrNone(Path()),
    "scheduler": Choice(*SCHEDULERS),
}
