"""Whether this host can talk to itself."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from trellis.errors import ConfigurationError
from trellis.executors.common.loopback import check_loopback


def test_a_host_that_talks_to_itself_passes() -> None:
    check_loopback("htex", "127.0.0.1", "")


@pytest.mark.parametrize("part", ["create_server", "create_connection"])
def test_one_that_does_not_is_told_what_to_try(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))

    monkeypatch.setattr(socket, part, refuse)
    with pytest.raises(ConfigurationError, match=r"executor htex: .* loopback address 127.0.0.1 .*; give that$"):
        check_loopback("htex", "127.0.0.1", "; give that")
