"""Payloads at the interchange: functions go once to each manager, tasks as often as need be."""

from __future__ import annotations

import pytest

from trellis.executors.htex.interchange.payload_store import Cargo
from trellis.wire.codec import Buffer, Decoder, unpack
from trellis.wire.messages import DefineFunctions, Demand, Message, Tasks, ToManager

DECODER: Decoder[Message] = Decoder(ToManager)


@pytest.fixture
def cargo() -> Cargo:
    cargo = Cargo()
    cargo.add_functions(DefineFunctions([7, 8, 9], [1, 1, 1]), [b"fgh"])
    cargo.add_tasks(Tasks([1, 2, 3], [7, 8, 7], [1, 1, 1]), [b"abc"])
    cargo.welcome("m")
    return cargo


def decode(frames: list[Buffer]) -> tuple[Message, list[object]]:
    message = DECODER.decode(frames[0])
    assert isinstance(message, DefineFunctions | Tasks)
    return message, list(unpack(message.sizes, frames[1:]))


def sent(cargo: Cargo, manager: str, *ids: int) -> list[tuple[Message, list[object]]]:
    return [decode(frames) for frames in cargo.tasks_for(manager, list(ids))]


def test_functions_go_before_the_first_task_that_needs_them(cargo: Cargo) -> None:
    assert sent(cargo, "m", 1) == [(DefineFunctions([7], [1]), [b"f"]), (Tasks([1], [7], [1]), [b"a"])]
    assert sent(cargo, "m", 2, 3) == [
        (DefineFunctions([8], [1]), [b"g"]),
        (Tasks([2, 3], [8, 7], [1, 1]), [b"b", b"c"]),
    ]
    assert sent(cargo, "m", 1) == [(Tasks([1], [7], [1]), [b"a"])]  # it was given back


def test_functions_are_sent_anew_on_a_new_connection(cargo: Cargo) -> None:
    sent(cargo, "m", 1, 2)
    cargo.doubt("m")
    assert sent(cargo, "m", 3)[0] == (DefineFunctions([7], [1]), [b"f"])
    assert sent(cargo, "m", 2)[0] == (DefineFunctions([8], [1]), [b"g"])
    cargo.doubt("stranger")


def test_managers_are_told_of_functions_that_they_can_forget(cargo: Cargo) -> None:
    cargo.welcome("n")
    sent(cargo, "m", 1, 2)
    sent(cargo, "n", 1)
    assert list(cargo.forget_functions([8, 9])) == [("m", [8])]
    cargo.lose("m")
    assert list(cargo.forget_functions([7])) == [("n", [7])]


def test_walltimes_and_demands_go_along_with_their_tasks_only(cargo: Cargo) -> None:
    needs = Demand(memory_mb=100)
    cargo.add_tasks(Tasks([4, 5], [7, 7], [1, 1], None, [2.5, 0.0], [None, needs]), [b"de"])
    sent(cargo, "m", 1)
    assert sent(cargo, "m", 4, 5) == [
        (Tasks([4, 5], [7, 7], [1, 1], None, [2.5, 0.0], [None, needs]), [b"d", b"e"]),
    ]
    assert sent(cargo, "m", 1) == [(Tasks([1], [7], [1]), [b"a"])]


def test_nothing_is_kept_of_tasks_that_have_ended(cargo: Cargo) -> None:
    cargo.add_tasks(Tasks([4], [7], [1], None, None, [Demand(gpus=1)]), [b"d"])
    assert len(cargo) == 4
    cargo.drop([1, 2, 3, 4, 99])
    assert len(cargo) == 0
    assert not cargo._demands


def test_managers_that_are_far_get_what_a_reference_stands_for() -> None:
    cargo = Cargo(lambda payload: b"<" + bytes(payload) + b">")  # type: ignore[arg-type]
    cargo.add_functions(DefineFunctions([7], [1]), [b"f"])
    cargo.add_tasks(Tasks([1], [7], [1]), [b"a"])
    cargo.welcome("near")
    cargo.welcome("far", far=True)
    assert sent(cargo, "near", 1)[-1] == (Tasks([1], [7], [1]), [b"a"])
    assert sent(cargo, "far", 1)[-1] == (Tasks([1], [7], [3]), [b"<a>"])
    cargo.lose("far")
    cargo.welcome("far")
    assert sent(cargo, "far", 1)[-1] == (Tasks([1], [7], [1]), [b"a"])


def test_what_a_manager_refuses_goes_alone_and_not_for_ever(cargo: Cargo) -> None:
    assert cargo.refused([1, 3]) == []
    assert [message.ids for message, _ in sent(cargo, "m", 1, 2, 3) if isinstance(message, Tasks)] == [[1], [3], [2]]
    assert cargo.refused([1]) == []
    assert cargo.refused([1, 3]) == [1]
    cargo.drop([1])
    cargo.add_tasks(Tasks([1], [7], [1]), [b"a"])
    assert cargo.refused([1]) == []
