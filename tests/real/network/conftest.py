"""A second host can be made by root only, and not in every container."""

from __future__ import annotations

import subprocess

import pytest

from tests.real.network.cable import Cable


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    try:
        with Cable():
            return
    except (OSError, subprocess.SubprocessError) as error:
        for item in items:
            item.add_marker(pytest.mark.skip(reason=f"needs root, and the command ip (package iproute2): {error}"))
