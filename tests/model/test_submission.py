"""The submit side's machine against a set: whatever is reported, in any order, each task ends once."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from trellis.executors.htex.submit.submission import (
    MOST_DEATHS,
    CancelRequested,
    Event,
    Fail,
    GiveUp,
    InterchangeDied,
    Resolve,
    ResultsArrived,
    Resume,
    SendCancel,
    SendTasks,
    Submission,
    SubmissionEnded,
    TasksFailed,
    TasksSubmitted,
)

# Reports name tasks that wait, that have ended, and that never were; some twice.
REPORTED = st.lists(st.integers(0, 15), min_size=1, max_size=6)


class SubmissionModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.machine = Submission()
        self.next_id = 0
        self.ended: dict[int, str] = {}
        self.lost = False
        self.deaths = 0  # since a result was new
        self.unwanted: set[int] = set()

    def handle(self, event: Event) -> None:
        waiting = self.waiting
        for action in self.machine.handle(event):
            match action:
                case Resolve(ids, positions):
                    assert isinstance(event, ResultsArrived)
                    assert [event.ids[position] for position in positions] == list(ids)
                    self.deaths = 0
                    self.end(ids, "result")
                case Fail(ids, cause):
                    assert cause == "first loss" if self.lost else isinstance(event, TasksFailed)
                    self.end(ids, "failure")
                case SendTasks():
                    assert not self.lost
                case SendCancel(ids):
                    assert not self.lost
                    assert set(ids) <= waiting
                case Resume(ids, unwanted):
                    assert not self.lost
                    assert ids == sorted(self.waiting)
                    assert unwanted == sorted(self.waiting & self.unwanted)
                case GiveUp(cause):
                    assert cause == "first loss"
                    self.lost = True

    def end(self, ids: object, how: str) -> None:
        for id_ in list(ids):  # type: ignore[call-overload]
            assert id_ < self.next_id, "nobody submitted it"
            assert id_ not in self.ended, "it has ended already"
            self.ended[id_] = how

    @property
    def waiting(self) -> set[int]:
        return set(range(self.next_id)) - set(self.ended)

    @rule(count=st.integers(1, 3))
    def submit(self, count: int) -> None:
        ids = range(self.next_id, self.next_id + count)
        self.next_id += count
        self.handle(TasksSubmitted(ids))
        assert self.lost == (not self.waiting.issuperset(ids))

    @rule(ids=REPORTED)
    def results(self, ids: list[int]) -> None:
        self.handle(ResultsArrived(ids))
        assert not self.waiting.intersection(ids)

    @rule(ids=REPORTED)
    def failures(self, ids: list[int]) -> None:
        self.handle(TasksFailed(ids, "lost"))
        assert not self.waiting.intersection(ids)

    @rule(ids=REPORTED)
    def cancel(self, ids: list[int]) -> None:
        before = self.waiting
        self.unwanted |= before.intersection(ids)
        self.handle(CancelRequested(ids))
        assert self.waiting == before

    @rule(sure=st.integers(0, 9))
    def lose_the_connection(self, sure: int) -> None:
        if sure == 0:
            cause = "second loss" if self.lost else "first loss"
            self.lost = True
            self.handle(SubmissionEnded(cause))
            assert not self.waiting

    @rule()
    def interchange_dies(self) -> None:
        was_lost, self.deaths = self.lost, self.deaths + 1
        self.handle(InterchangeDied("second loss" if was_lost else "first loss"))
        assert self.lost == (was_lost or self.deaths == MOST_DEATHS)

    @invariant()
    def agrees(self) -> None:
        self.machine.check_invariants()
        assert self.machine.outstanding == len(self.waiting)


TestSubmission = SubmissionModel.TestCase
TestSubmission.settings = settings(settings(), max_examples=100, stateful_step_count=40)
