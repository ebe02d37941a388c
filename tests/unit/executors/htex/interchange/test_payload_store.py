"""Payloads at the interchange: functions go once to each manager, tasks as often as need be."""

from __future__ import annotations

import pytest

from trellis.executors.htex.interchange.payload_store import TaskPayloads
from trellis.wire.codec import Buffer, Decoder, unpack
from trellis.wire.messages import DefineFunctions, Demand, Message, Tasks, ToManager

DECODER: Decoder[Message] = Decoder(ToManager)


@pytest.fixture
def payloads() -> TaskPayloads:
    payloads = TaskPayloads()
    payloads.add_functions(DefineFunctions([7, 8, 9], [1, 1, 1]), [b"fgh"])
    payloads.add_tasks(Tasks([1, 2, 3], [7, 8, 7], [1, 1, 1]), [b"abc"])
    payloads.welcome("m")
    return payloads


def decode(frames: list[Buffer]) -> tuple[Message, list[object]]:
    message = DECODER.decode(frames[0])
    assert isinstance(message, DefineFunctions | Tasks)
    return message, list(unpack(message.sizes, frames[1:]))


def sent(payloads: TaskPayloads, manager: str, *ids: int) -> list[tuple[Message, list[object]]]:
    return [decode(frames) for frames in payloads.tasks_for(manager, list(ids))]


def test_functions_go_before_the_first_task_that_needs_them(payloads: TaskPayloads) -> None:
    assert sent(payloads, "m", 1) == [(DefineFunctions([7], [1]), [b"f"]), (Tasks([1], [7], [1]), [b"a"])]
    assert sent(payloads, "m", 2, 3) == [
        (DefineFunctions([8], [1]), [b"g"]),
        (Tasks([2, 3], [8, 7], [1, 1]), [b"b", b"c"]),
    ]
    assert sent(payloads, "m", 1) == [(Tasks([1], [7], [1]), [b"a"])]  # it was given back


def test_functions_are_sent_anew_on_a_new_connection(payloads: TaskPayloads) -> None:
    sent(payloads, "m", 1, 2)
    payloads.doubt("m")
    assert sent(payloads, "m", 3)[0] == (DefineFunctions([7], [1]), [b"f"])
    assert sent(payloads, "m", 2)[0] == (DefineFunctions([8], [1]), [b"g"])
    payloads.doubt("stranger")


def test_managers_are_told_of_functions_that_they_can_forget(payloads: TaskPayloads) -> None:
    payloads.welcome("n")
    sent(payloads, "m", 1, 2)
    sent(payloads, "n", 1)
    assert list(payloads.forget_functions([8, 9])) == [("m", [8])]
    payloads.lose("m")
    assert list(payloads.forget_functions([7])) == [("n", [7])]


def test_walltimes_and_demands_go_along_with_their_tasks_only(payloads: TaskPayloads) -> None:
    needs = Demand(memory_mb=100)
    payloads.add_tasks(Tasks([4, 5], [7, 7], [1, 1], None, [2.5, 0.0], [None, needs]), [b"de"])
    sent(payloads, "m", 1)
    assert sent(payloads, "m", 4, 5) == [
        (Tasks([4, 5], [7, 7], [1, 1], None, [2.5, 0.0], [None, needs]), [b"d", b"e"]),
    ]
    assert sent(payloads, "m", 1) == [(Tasks([1], [7], [1]), [b"a"])]


def test_nothing_is_kept_of_tasks_that_have_ended(payloads: TaskPayloads) -> None:
    payloads.add_tasks(Tasks([4], [7], [1], None, None, [Demand(gpus=1)]), [b"d"])
    assert len(payloads) == 4
    payloads.drop([1, 2, 3, 4, 99])
    assert len(payloads) == 0
    assert not payloads._demands


def test_managers_that_are_far_get_what_a_reference_stands_for() -> None:
    payloads = TaskPayloads(lambda payload: b"<" + bytes(payload) + b">")  # type: ignore[arg-type]
    payloads.add_functions(DefineFunctions([7], [1]), [b"f"])
    payloads.add_tasks(Tasks([1], [7], [1]), [b"a"])
    payloads.welcome("near")
    payloads.welcome("far", far=True)
    assert sent(payloads, "near", 1)[-1] == (Tasks([1], [7], [1]), [b"a"])
    assert sent(payloads, "far", 1)[-1] == (Tasks([1], [7], [3]), [b"<a>"])
    payloads.lose("far")
    payloads.welcome("far")
    assert sent(payloads, "far", 1)[-1] == (Tasks([1], [7], [1]), [b"a"])


def test_what_a_manager_refuses_goes_alone_and_not_for_ever(payloads: TaskPayloads) -> None:
    assert payloads.refused([1, 3]) == []
    assert [message.ids for message, _ in sent(payloads, "m", 1, 2, 3) if isinstance(message, Tasks)] == [[1], [3], [2]]
    assert payloads.refused([1]) == []
    assert payloads.refused([1, 3]) == [1]
    payloads.drop([1])
    payloads.add_tasks(Tasks([1], [7], [1]), [b"a"])
    assert payloads.refused([1]) == []
