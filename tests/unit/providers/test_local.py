"""LocalProvider's constructor; its jobs are in tests/integration."""

from __future__ import annotations

from typing import Any

import pytest

from trellis.core.interfaces import Provider
from trellis.errors import BadLauncher, ConfigurationError, ParameterTypeError
from trellis.launchers import SimpleLauncher, SingleNodeLauncher, WrappedLauncher
from trellis.providers import LocalProvider
from trellis.providers.local.local import LocalProvider as AtItsOldPath


def test_the_defaults() -> None:
    provider: Provider = LocalProvider()
    assert isinstance(provider, AtItsOldPath)
    names = ("nodes_per_block", "init_blocks", "min_blocks", "max_blocks", "parallelism", "worker_init", "cmd_timeout")
    assert [getattr(provider, name) for name in names] == [1, 1, 0, 1, 1, "", 30]
    assert isinstance(provider.launcher, SingleNodeLauncher)
    assert (provider.label, provider.status_polling_interval, provider.script_dir) == ("local", 1, None)


def test_the_settings_are_kept() -> None:
    launcher = SimpleLauncher()
    provider = LocalProvider(2, launcher, 3, 1, 4, "module load x", 7, 0.5)
    assert repr(provider) == (
        f"LocalProvider(nodes_per_block=2, launcher={launcher!r}, init_blocks=3, min_blocks=1, max_blocks=4, "
        "worker_init='module load x', cmd_timeout=7, parallelism=0.5, script_dir=None)"
    )


def test_each_provider_has_a_launcher_of_its_own() -> None:
    assert LocalProvider().launcher is not LocalProvider().launcher


def test_its_blocks_are_on_this_host_when_its_launcher_says_so() -> None:
    assert LocalProvider().same_host
    assert not LocalProvider(launcher=WrappedLauncher("ssh other")).same_host


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"launcher": "srun"}, BadLauncher),
        ({"launcher": lambda command: command}, BadLauncher),
        ({"worker_init": None}, ParameterTypeError),
        ({"cmd_timeout": "30"}, ParameterTypeError),
        ({"cmd_timeout": 0}, ConfigurationError),
        ({"nodes_per_block": 0}, ConfigurationError),
        ({"init_blocks": -1}, ConfigurationError),
        ({"min_blocks": 2}, ConfigurationError),
        ({"max_blocks": -1}, ConfigurationError),
        ({"parallelism": -1}, ConfigurationError),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        LocalProvider(**settings)
