"""Temporary files that go through the manager: pieces go on, and nobody waits for what will not come."""

from __future__ import annotations

from typing import Any

from trellis.executors.taskvine.embedded.manager.relay import Relay
from trellis.wire.vine import FileChunk, SendFile

PIECE = 2**20


class Bed:
    def __init__(self, **holders: set[str]) -> None:
        self.holders = holders
        self.said: list[Any] = []
        self.relay = Relay(
            lambda name: self.holders.get(name, set()),
            lambda worker, request: self.said.append((worker, request)),
            lambda worker, chunk, data: self.said.append((worker, chunk, bytes(data))),
        )

    def new(self) -> list[Any]:
        said, self.said = self.said, []
        return said


def test_a_piece_goes_there_and_back_once_for_all_who_want_it() -> None:
    it = Bed(t={"a", "b"})
    request = SendFile("t", 0, PIECE)
    assert it.relay.request("x", request)
    assert it.relay.request("y", request)
    assert it.new() == [("a", request)]
    chunk = FileChunk("t", 0, 3)
    assert not it.relay.on_chunk("a", chunk, b"abc")
    assert it.new() == [("x", chunk, b"abc"), ("y", chunk, b"abc")]
    assert not it.relay.on_chunk("a", chunk, b"abc")  # the answer to somebody else's question
    assert it.new() == []


def test_all_of_a_file_comes_from_one_worker() -> None:
    it = Bed(t={"b"})
    it.relay.request("x", SendFile("t", 0, PIECE))
    it.holders["t"] = {"a", "b"}
    it.relay.request("x", SendFile("t", PIECE, PIECE))
    assert [worker for worker, _ in it.new()] == ["b", "b"]
    it.relay.request("x", SendFile("t", 0, PIECE))  # it begins anew
    it.relay.on_chunk("b", FileChunk("t", 0, 1), b"x")
    it.new()
    it.relay.forgotten(["t"])
    it.relay.request("x", SendFile("t", PIECE * 2, PIECE))
    assert [worker for worker, _ in it.new()] == ["a"]


def test_what_nobody_has_is_no_answer() -> None:
    it = Bed(t={"x"})
    assert not it.relay.request("x", SendFile("t", 0, PIECE))  # it has it itself
    assert not it.relay.request("x", SendFile("other", 0, PIECE))
    assert it.new() == []


def test_who_waits_for_a_worker_that_left_is_told() -> None:
    it = Bed(t={"a"})
    for worker in ("x", "y"):
        it.relay.request(worker, SendFile("t", 0, PIECE))
    it.new()
    it.relay.worker_left("y")
    it.relay.worker_left("a")
    assert it.new() == [("x", FileChunk("t", 0, 0, error="the worker that had it is gone"), b"")]


def test_a_worker_that_cannot_send_it_is_told_of() -> None:
    it = Bed(t={"a"})
    it.relay.request("x", SendFile("t", 0, PIECE))
    chunk = FileChunk("t", 0, 0, error="somebody has written to it")
    assert it.relay.on_chunk("a", chunk, b"")
    assert it.new()[1:] == [("x", chunk, b"")]
