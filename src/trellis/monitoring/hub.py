"""How a run is to be recorded: what ``Config(monitoring=...)`` takes. Records nothing itself."""

from __future__ import annotations

import importlib.util
import os

from trellis.core.kinds import Flag, Items, OrNone, Text
from trellis.core.validation import check_all, knows_former_names
from trellis.core.values import Duration, Kind, Number
from trellis.errors import ConfigurationError

_PORT = Number(least=0, most=65_535, whole=True)
_KINDS: dict[str, Kind] = {
    "hub_address": OrNone(Text(lines=False)),
    "hub_port": OrNone(_PORT),
    "hub_port_range": OrNone(Items(_PORT, "two ports", least=2)),
    "workflow_name": OrNone(Text(lines=False)),
    "workflow_version": OrNone(Text(lines=False)),
    "logging_endpoint": OrNone(Text(lines=False)),
    "monitoring_debug": Flag(),
    "resource_monitoring_enabled": Flag(),
    "resource_monitoring_interval": Duration(least=0),
}


class MonitoringHub:
    """Has a run recorded in a database, whose tables are those of Parsl's monitoring.

    A process of its own writes it, beside the program. Messages of executors come over the connections that they have
    anyway, so there is no address and there are no ports to configure.

    Args:
        hub_address, hub_port, hub_port_range: accepted for Parsl's sake; nothing listens there.
        workflow_name: name of the run in the database. None: that of the program's file.
        workflow_version: a version of it. None: when the run begins.
        logging_endpoint: URL of the database, as SQLAlchemy takes it, for example
            ``"postgresql+psycopg://user:password@host/database"``. None: the SQLite file ``monitoring.db`` in
            ``Config.run_dir``, for all its runs.
        monitoring_debug: say more in the log of that process, ``monitoring/recorder.log`` in the run directory.
        resource_monitoring_enabled: record what tasks use, and where they run.
        resource_monitoring_interval: seconds between two looks at what a running task uses; 0: no look is taken, only
            what it has used in all is recorded.

    Raises:
        ParameterTypeError: a parameter has the wrong type.
        ParameterValueError: it has a value that cannot work.
        ConfigurationError: SQLAlchemy is not installed.
    """

    @knows_former_names()
    def __init__(
        self,
        hub_address: str | None = None,
        hub_port: int | None = None,
        hub_port_range: tuple[int, int] | None = (55050, 56000),
        workflow_name: str | None = None,
        workflow_version: str | None = None,
        logging_endpoint: str | None = None,
        monitoring_debug: bool = False,
        resource_monitoring_enabled: bool = True,
        resource_monitoring_interval: float = 30,
    ) -> None:
        self.hub_address = hub_address
        self.hub_port = hub_port
        self.hub_port_range = hub_port_range
        self.workflow_name = workflow_name
        self.workflow_version = workflow_version
        self.logging_endpoint = logging_endpoint
        self.monitoring_debug = monitoring_debug
        self.resource_monitoring_enabled = resource_monitoring_enabled
        self.resource_monitoring_interval = resource_monitoring_interval
        check_all(self, _KINDS)
        if importlib.util.find_spec("sqlalchemy") is None:
            raise ConfigurationError("MonitoringHub needs SQLAlchemy: pip install 'trellis-parallel[monitoring]'")

    def database_url(self, run_dir: str) -> str:
        """Where runs with this ``Config.run_dir`` are recorded."""
        return self.logging_endpoint or default_url(run_dir)

    def __repr__(self) -> str:
        return f"<MonitoringHub into {self.logging_endpoint or 'monitoring.db'}>"


def default_url(run_dir: str) -> str:
    """The database of the runs in a directory, when nothing else was said."""
    return f"sqlite:///{os.path.abspath(run_dir)}/monitoring.db"
