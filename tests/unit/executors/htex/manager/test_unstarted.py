"""What a manager has announced and has in its own hands, as another process sees it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trellis.executors.htex.manager.unstarted import Unstarted


@pytest.fixture
def unstarted() -> Iterator[Unstarted]:
    unstarted = Unstarted(10)
    yield unstarted
    unstarted.close()


def test_at_first_there_is_nothing(unstarted: Unstarted) -> None:
    assert unstarted.read() == []


def test_what_is_about_to_be_put_is_there_until_it_is_put(unstarted: Unstarted) -> None:
    unstarted.prepare([5, 0, 7])
    assert unstarted.read() == [5, 0, 7]
    unstarted.put(1)
    assert unstarted.read() == [0, 7]
    unstarted.put(3)
    assert unstarted.read() == []


def test_what_is_taken_back_is_there_until_it_is_put_again(unstarted: Unstarted) -> None:
    unstarted.take_back(1)
    unstarted.take_back(2)
    assert unstarted.read() == [1, 2]
    unstarted.prepare([2, 3])
    assert sorted(unstarted.read()) == [1, 2, 3]
    unstarted.put(2)
    assert unstarted.read() == [1]


def test_when_there_is_no_room_the_oldest_are_forgotten(unstarted: Unstarted) -> None:
    for task in range(25):
        unstarted.take_back(task)
    assert 24 in unstarted.read()
    assert len(unstarted.read()) <= 10


def test_another_process_sees_it(unstarted: Unstarted) -> None:

    child = os.fork()
    if not child:
        unstarted.prepare([3, 4])
        unstarted.put(1)
        unstarted.take_back(2**62)
        os._exit(0)
    os.waitpid(child, 0)

    assert unstarted.read() == [4, 2**62]


class Model(RuleBasedStateMachine):
    """A manager that may be killed between any two of its steps."""

    def __init__(self) -> None:
        super().__init__()
        self.unstarted = Unstarted(400)
        self.next_task = 0
        self.slice: list[int] = []  # announced, about to be put
        self.put = 0
        self.queue: list[int] = []
        self.back: list[int] = []

    def teardown(self) -> None:
        self.unstarted.close()

    @rule(new=st.integers(0, 5), again=st.integers(0, 5))
    @precondition(lambda self: self.put == len(self.slice))
    def prepare(self, new: int, again: int) -> None:
        fresh = list(range(self.next_task, self.next_task + new))
        self.next_task += new
        self.slice, self.back = self.back[:again] + fresh, self.back[again:]
        self.put = 0
        self.unstarted.prepare(self.slice)

    @rule()
    @precondition(lambda self: self.put < len(self.slice))
    def put_one(self) -> None:
        self.queue.append(self.slice[self.put])
        self.put += 1
        self.unstarted.put(self.put)

    @rule()
    def a_worker_takes_one(self) -> None:
        self.queue = self.queue[1:]

    @rule()
    @precondition(lambda self: self.put == len(self.slice))
    def take_all_back(self) -> None:
        for task in self.queue:
            self.unstarted.take_back(task)
        self.back += self.queue
        self.queue = []

    @invariant()
    def agrees(self) -> None:
        assert sorted(self.unstarted.read()) == sorted([*self.slice[self.put :], *self.back])


TestUnstarted = Model.TestCase
TestUnstarted.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
