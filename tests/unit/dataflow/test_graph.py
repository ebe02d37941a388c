from __future__ import annotations

from trellis.dataflow.graph import (
    AttemptCancelled,
    AttemptFailed,
    AttemptLost,
    AttemptSucceeded,
    CancelAttempt,
    CancelFuture,
    CancelRequested,
    DependencyDone,
    FailDependent,
    FailFuture,
    FinishJoin,
    JoinStarted,
    LaunchAttempt,
    Phase,
    ResolveFuture,
    TaskAbandoned,
    TaskGraph,
    TaskSubmitted,
)


def handle(graph: TaskGraph, *events: object) -> list[object]:
    actions: list[object] = []
    for event in events:
        actions += graph.handle(event)  # type: ignore[arg-type]
        graph.check_invariants()
    return actions


def test_a_task_that_needs_nothing_is_launched_at_once() -> None:
    graph = TaskGraph()
    assert handle(graph, TaskSubmitted(0)) == [LaunchAttempt(0)]
    assert graph.phase(0) is Phase.RUNNING
    assert handle(graph, AttemptSucceeded(0)) == [ResolveFuture(0)]
    assert graph.phase(0) is None


def test_a_task_is_launched_when_the_last_dependency_is_done() -> None:
    graph = TaskGraph()
    handle(graph, TaskSubmitted(0), TaskSubmitted(1), TaskSubmitted(2, (0, 1, -1)))
    assert handle(graph, DependencyDone(0), DependencyDone(-1)) == []
    assert graph.unfinished == [0, 1, 2]
    assert handle(graph, DependencyDone(1)) == [LaunchAttempt(2)]


def test_a_failed_dependency_fails_its_dependent_when_all_of_them_are_done() -> None:
    graph = TaskGraph(retries=5)
    handle(graph, TaskSubmitted(0), TaskSubmitted(1), TaskSubmitted(2, (0, 1)))
    assert handle(graph, DependencyDone(0, failed=True)) == []
    assert handle(graph, DependencyDone(1)) == [FailDependent(2)]


def test_a_dependency_that_has_failed_before_the_submission_counts_too() -> None:
    assert handle(TaskGraph(), TaskSubmitted(1, (), failed=True)) == [FailDependent(1)]
    graph = TaskGraph()
    handle(graph, TaskSubmitted(1, (-1,), failed=True))
    assert handle(graph, DependencyDone(-1)) == [FailDependent(1)]


def test_attempts_are_made_while_the_costs_do_not_exceed_the_retries() -> None:
    graph = TaskGraph(retries=1)
    handle(graph, TaskSubmitted(0))
    assert handle(graph, AttemptFailed(0, 0.5)) == [LaunchAttempt(0)]
    assert handle(graph, AttemptFailed(0, 0.5)) == [LaunchAttempt(0)]
    assert handle(graph, AttemptFailed(0, 0.01)) == [FailFuture(0)]


def test_losses_and_failures_have_allowances_of_their_own() -> None:
    graph = TaskGraph(retries=1, loss_retries=2)
    handle(graph, TaskSubmitted(0))
    for event in (AttemptLost(0), AttemptFailed(0), AttemptLost(0)):
        assert handle(graph, event) == [LaunchAttempt(0)]
        graph.check_invariants()
    assert handle(graph, AttemptLost(0)) == [FailFuture(0)]


def test_an_infinite_cost_is_never_retried() -> None:
    graph = TaskGraph(retries=1_000)
    handle(graph, TaskSubmitted(0))
    assert handle(graph, AttemptFailed(0, float("inf"))) == [FailFuture(0)]


def test_outcomes_that_come_too_late_do_nothing() -> None:
    graph = TaskGraph(retries=3)
    handle(graph, TaskSubmitted(0), AttemptSucceeded(0))
    late = [
        AttemptSucceeded(0),
        AttemptFailed(0),
        AttemptLost(0),
        JoinStarted(0),
        AttemptCancelled(0),
        TaskAbandoned(0),
    ]
    assert handle(graph, *late, CancelRequested(0), DependencyDone(0)) == []


def test_a_join_ends_with_the_last_of_its_futures() -> None:
    graph = TaskGraph()
    handle(graph, TaskSubmitted(0), TaskSubmitted(1), TaskSubmitted(2))
    assert handle(graph, JoinStarted(0, (1, 2, -1))) == []
    assert graph.phase(0) is Phase.JOINING
    assert handle(graph, DependencyDone(1, failed=True), DependencyDone(-1)) == []
    assert handle(graph, DependencyDone(2)) == [FinishJoin(0)]


def test_a_join_of_nothing_that_is_open_ends_at_once() -> None:
    graph = TaskGraph()
    handle(graph, TaskSubmitted(0))
    assert handle(graph, JoinStarted(0)) == [FinishJoin(0)]


def test_a_waiting_task_is_cancelled_at_once_and_never_runs() -> None:
    graph = TaskGraph()
    handle(graph, TaskSubmitted(0), TaskSubmitted(1, (0,)))
    assert handle(graph, CancelRequested(1)) == [CancelFuture(1)]
    assert handle(graph, DependencyDone(0)) == []


def test_a_running_task_is_cancelled_when_its_attempt_is() -> None:
    graph = TaskGraph()
    handle(graph, TaskSubmitted(0))
    assert handle(graph, CancelRequested(0)) == [CancelAttempt(0)]
    assert graph.phase(0) is Phase.RUNNING
    assert handle(graph, AttemptCancelled(0)) == [CancelFuture(0)]


def test_a_joining_task_can_be_cancelled() -> None:
    graph = TaskGraph()
    handle(graph, TaskSubmitted(0), JoinStarted(0, (-1,)))
    assert handle(graph, CancelRequested(0)) == [CancelFuture(0)]
    assert handle(graph, DependencyDone(-1)) == []


def test_an_abandoned_task_fails_wherever_it_is() -> None:
    graph = TaskGraph(retries=9)
    handle(graph, TaskSubmitted(0), TaskSubmitted(1, (0,)))
    assert handle(graph, TaskAbandoned(0), TaskAbandoned(1)) == [FailFuture(0), FailFuture(1)]


def test_a_wide_fan_in_counts_each_dependency_once() -> None:
    graph = TaskGraph()
    width = 100_000
    for i in range(width):
        graph.handle(TaskSubmitted(i))
    graph.handle(TaskSubmitted(width, range(width)))
    actions = [action for i in range(width) for action in graph.handle(DependencyDone(i))]
    assert actions == [LaunchAttempt(width)]
