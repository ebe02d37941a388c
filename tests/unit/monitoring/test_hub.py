"""What a hub takes, and what it says of the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trellis.errors import ConfigurationError, ParameterTypeError, ParameterValueError
from trellis.monitoring import MonitoringHub
from trellis.monitoring.hub import default_url


def test_parsls_parameters() -> None:
    hub = MonitoringHub("127.0.0.1", 55055, (55050, 56000), "name", "version", "sqlite:///x.db", True, False, 5)
    assert vars(hub) == {
        "hub_address": "127.0.0.1",
        "hub_port": 55055,
        "hub_port_range": (55050, 56000),
        "workflow_name": "name",
        "workflow_version": "version",
        "logging_endpoint": "sqlite:///x.db",
        "monitoring_debug": True,
        "resource_monitoring_enabled": False,
        "resource_monitoring_interval": 5,
    }


def test_where_runs_are_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert (
        MonitoringHub().database_url("runinfo")
        == default_url("runinfo")
        == f"sqlite:///{tmp_path}/runinfo/monitoring.db"
    )
    assert MonitoringHub(logging_endpoint="postgresql://host/name").database_url("runinfo") == "postgresql://host/name"


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"hub_port": "55055"}, ParameterTypeError),
        ({"hub_port": 70_000}, ParameterValueError),
        ({"hub_port_range": 55_050}, ParameterTypeError),
        ({"workflow_name": 3}, ParameterTypeError),
        ({"logging_endpoint": 3}, ParameterTypeError),
        ({"monitoring_debug": "yes"}, ParameterTypeError),
        ({"resource_monitoring_enabled": "yes"}, ParameterTypeError),
        ({"resource_monitoring_interval": -1}, ParameterValueError),
    ],
)
def test_what_cannot_be(given: dict[str, Any], error: type[Exception]) -> None:
    (name,) = given
    with pytest.raises(error, match=f"MonitoringHub: {name}"):
        MonitoringHub(**given)


def test_sqlalchemy_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"needs SQLAlchemy: pip install 'trellis-parallel\[monitoring\]'"):
        MonitoringHub()
