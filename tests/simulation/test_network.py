"""What connections of a simulation do when they break, and how messages are spoilt."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from tests.simulation import damage
from tests.simulation.network import Connection, World
from trellis.errors import BadMessage
from trellis.wire.codec import Decoder, encode_header, pack, unpack
from trellis.wire.messages import FromManager, Heartbeat, Results


class Side:
    """One that notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.closed = False

    def on_message(self, connection: Connection, message: Any) -> None:
        self.heard.append(message)

    def on_closed(self, connection: Connection) -> None:
        self.closed = True


def run(world: World) -> None:
    while world.next_tick is not None:
        world.step()


def torn(seed: int) -> tuple[Side, Side, Connection]:
    """A connection that breaks while ten messages are under way each to the other side."""
    world, server, client = World(seed), Side(), Side()
    connection = Connection(world, server, client, "client", 0.5)
    for number in range(10):
        connection.to_server(number)
        connection.to_client(number)
    connection.tear(0.1, 0.2)
    connection.to_server(10)  # the client has not noticed
    connection.to_client(10)
    run(world)
    return server, client, connection


def test_what_is_under_way_when_a_connection_is_torn_arrives_in_part_is_lost_or_is_left_in_order() -> None:
    seen = set()
    for seed in range(100):
        server, client, connection = torn(seed)
        assert server.closed
        assert client.closed
        assert client.heard == []
        arrived, left = server.heard, connection.left
        assert arrived == list(range(len(arrived)))
        assert left == list(range(11))[11 - len(left) :]
        assert len(arrived) + len(left) <= 11
        seen.add((bool(arrived), bool(left), len(arrived) + len(left) < 11))
    assert seen >= {(True, True, True), (True, False, True), (False, True, True), (True, True, False)}


def test_who_has_ended_leaves_nothing_behind() -> None:
    world, server, client = World(1), Side(), Side()
    connection = Connection(world, server, client, "client", 0.5)
    connection.to_server("last words")
    connection.close_by_client()
    run(world)
    assert (server.heard, server.closed, connection.left) == (["last words"], True, [])


def read(frames: list[Any]) -> None:
    """As a receiver does that opens what tasks carry."""
    message = Decoder(FromManager).decode(frames[0] if frames else b"")
    unpack(getattr(message, "sizes", []), frames[1:])


RESULTS = Results("m", [1, 2], [], [0, 0], [0.0, 0.0], [0.1, 0.1], [1, -1], 3)


@pytest.mark.parametrize("spoil", [damage.truncate, damage.confuse, damage.spoil_payload])
def test_what_is_spoilt_makes_no_sense(spoil: Any) -> None:
    _, payloads = pack([b"1", (b"2",)])
    for message, frames in ((RESULTS, payloads), (Heartbeat(), [])):
        for seed in range(50):
            spoilt = spoil([encode_header(message), *frames], Random(seed))
            with pytest.raises(BadMessage):
                read(spoilt)


def test_of_what_is_confused_the_tasks_can_be_told() -> None:
    message = [encode_header(Results("m", [7], [], [0], [0.0], [0.1], [0], 3))]
    decoder: Decoder[FromManager] = Decoder(FromManager)
    told = {tuple(decoder.tasks_in(damage.confuse(message, Random(seed))[0], Results)) for seed in range(50)}
    assert told == {(), (7,)}  # none when it is their list that is confused
