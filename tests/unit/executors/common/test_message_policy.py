"""Who is heard, where answers go, and what a bad message costs."""

from __future__ import annotations

import logging

import pytest

from trellis.errors import BadMessage
from trellis.executors.common.message_policy import Client, Peers, header_of

LOGGER = logging.getLogger("trellis.test")


def test_only_the_client_by_its_name_is_heard_and_answered() -> None:
    client = Client("the submit side", LOGGER)
    assert not client.hears(b"somebody")
    assert client.peer is None
    assert client.hears(b"the submit side")
    assert not client.hears(b"somebody")
    assert client.peer == b"the submit side"


def test_without_a_name_whoever_spoke_last_is_answered() -> None:
    client = Client("", LOGGER)
    assert client.hears(b"one")
    assert client.hears(b"two")
    assert client.peer == b"two"


def test_a_bad_peer_is_given_up_with_the_reason_that_it_is_told(caplog: pytest.LogCaptureFixture) -> None:
    assert Peers("worker", LOGGER).give_up("w", BadMessage("no ids")) == "it sent a bad message: no ids"
    assert "worker w is given up: no ids" in caplog.text


def test_a_message_has_a_header() -> None:
    assert header_of([b"header", b"more"]) == b"header"
    with pytest.raises(BadMessage, match="an empty message"):
        header_of([])
