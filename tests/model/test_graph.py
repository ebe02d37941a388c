"""TaskGraph against a model that knows the whole truth, in any order of events."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from trellis.dataflow import graph as g


class GraphMachine(RuleBasedStateMachine):
    """The model keeps, for each key, whether its future is done and failed, and for each task what it was told."""

    @initialize(retries=st.integers(0, 2), loss_retries=st.integers(0, 2))
    def begin(self, retries: int, loss_retries: int) -> None:
        self.retries = retries
        self.loss_retries = loss_retries
        self.graph = g.TaskGraph(retries, loss_retries)
        self.losses: dict[int, int] = {}
        self.needs: dict[int, set[int]] = {}  # of tasks that are not launched, and of joins
        self.bad: set[int] = set()  # tasks that have seen a failed dependency
        self.costs: dict[int, float] = {}
        self.running: set[int] = set()
        self.joining: set[int] = set()
        self.final: dict[int, bool] = {}  # task -> failed; its future is done, its dependents may not know
        self.announced: set[int] = set()  # keys whose DependencyDone was said
        self.failed_foreign: dict[int, bool] = {}
        self.next_foreign = -1
        self.launches: dict[int, int] = {}

    def say(self, event: g.Event) -> None:
        for action in self.graph.handle(event):
            self.check_action(action)
        self.graph.check_invariants()

    def check_action(self, action: g.Action) -> None:
        task_id = action.task_id
        assert task_id not in self.final, f"{action} for a task that is final"
        match action:
            case g.LaunchAttempt():
                assert not self.needs.get(task_id), "launched with open dependencies"
                assert task_id not in self.bad, "launched although a dependency has failed"
                assert self.costs[task_id] <= self.retries
                assert self.losses.get(task_id, 0) <= self.loss_retries
                self.running.add(task_id)
                self.launches[task_id] = self.launches.get(task_id, 0) + 1
            case g.FailDependent():
                assert not self.needs[task_id], "failed before all dependencies were done"
                assert task_id in self.bad
                self.end(task_id, failed=True)
            case g.FinishJoin():
                assert task_id in self.joining
                assert not self.needs[task_id]
                self.end(task_id, failed=task_id in self.bad)
            case g.ResolveFuture():
                self.end(task_id, failed=False)
            case g.FailFuture() | g.CancelFuture():
                self.end(task_id, failed=True)
            case g.CancelAttempt():
                assert task_id in self.running

    def end(self, task_id: int, failed: bool) -> None:
        self.final[task_id] = failed
        self.running.discard(task_id)
        self.joining.discard(task_id)
        self.needs.pop(task_id, None)

    def pick(self, data: st.DataObject, some: set[int] | dict[int, bool]) -> int | None:
        return data.draw(st.sampled_from(sorted(some))) if some else None

    def some_keys(self, data: st.DataObject) -> tuple[set[int], bool]:
        """Open keys, and whether one that is done already has failed; like a call with these futures."""
        known = sorted({*self.final, *self.failed_foreign} - self.announced) + sorted(self.costs)[-6:]
        known += sorted(self.failed_foreign)[:3]
        # Several at once, and mostly such as are still open.
        count = data.draw(st.integers(0, min(4, len(known))))
        chosen = {data.draw(st.sampled_from(known)) for _ in range(count)}
        done = {key for key in chosen if key in self.final or key in self.announced}
        failed = any(self.final.get(key, self.failed_foreign.get(key, False)) for key in done)
        return chosen - done, failed

    @rule(data=st.data())
    def submit(self, data: st.DataObject) -> None:
        keys, failed = self.some_keys(data)
        task_id = len(self.costs)
        self.costs[task_id] = 0
        self.needs[task_id] = set(keys)
        if failed:
            self.bad.add(task_id)
        self.say(g.TaskSubmitted(task_id, tuple(keys), failed))

    @rule(will_fail=st.booleans())
    def foreign_future_appears(self, will_fail: bool) -> None:
        self.failed_foreign[self.next_foreign] = will_fail
        self.next_foreign -= 1

    @rule(data=st.data())
    def future_is_done(self, data: st.DataObject) -> None:
        key = self.pick(data, {*self.final, *self.failed_foreign} - self.announced)
        if key is None:
            return
        failed = self.final[key] if key >= 0 else self.failed_foreign[key]
        self.announced.add(key)
        for task_id, needs in self.needs.items():
            if key in needs:
                needs.discard(key)
                if failed:
                    self.bad.add(task_id)
        self.say(g.DependencyDone(key, failed))

    @rule(data=st.data(), outcome=st.sampled_from(["good", "bad", "hopeless", "lost", "join"]))
    def attempt_ends(self, data: st.DataObject, outcome: str) -> None:
        task_id = self.pick(data, self.running)
        if task_id is None:
            return
        self.running.discard(task_id)
        if outcome == "good":
            self.say(g.AttemptSucceeded(task_id))
        elif outcome == "join":
            keys, failed = self.some_keys(data)
            keys.discard(task_id)
            self.needs[task_id] = set(keys)
            self.joining.add(task_id)
            self.bad |= {task_id} if failed else set()
            self.say(g.JoinStarted(task_id, tuple(keys)))
        elif outcome == "lost":
            self.losses[task_id] = self.losses.get(task_id, 0) + 1
            self.say(g.AttemptLost(task_id))
            assert (task_id in self.running) == (self.losses[task_id] <= self.loss_retries)
        else:
            cost = 1.0 if outcome == "bad" else float("inf")
            self.costs[task_id] += cost
            self.say(g.AttemptFailed(task_id, cost))
        assert task_id in self.final or task_id in self.running or task_id in self.joining

    @rule(data=st.data(), executor_can=st.booleans())
    def cancel(self, data: st.DataObject, executor_can: bool) -> None:
        task_id = self.pick(data, set(self.costs))
        if task_id is None:
            return
        was_running, was_final = task_id in self.running, task_id in self.final
        self.say(g.CancelRequested(task_id)) if not was_final else None
        if was_running and executor_can:
            self.say(g.AttemptCancelled(task_id))
        assert (task_id in self.final) == (was_final or not was_running or executor_can)

    @rule(data=st.data())
    def late_or_doubled_event(self, data: st.DataObject) -> None:
        task_id = self.pick(data, self.final)
        if task_id is None:
            return
        kinds = [g.AttemptSucceeded, g.AttemptFailed, g.AttemptLost, g.CancelRequested, g.TaskAbandoned]
        kind = data.draw(st.sampled_from(kinds))
        assert list(self.graph.handle(kind(task_id))) == []

    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        task_id = self.pick(data, set(self.costs) - set(self.final))
        if task_id is not None:
            self.say(g.TaskAbandoned(task_id))
            assert task_id in self.final

    @invariant()
    def the_machine_knows_who_is_unfinished(self) -> None:
        if hasattr(self, "graph"):
            assert set(self.graph.unfinished) == set(self.costs) - set(self.final)

    def teardown(self) -> None:
        """Liveness: when every future gets done and every attempt ends, nobody is left."""
        if not hasattr(self, "graph"):
            return
        while len(self.final) < len(self.costs) or {*self.final, *self.failed_foreign} - self.announced:
            for task_id in sorted(self.running):
                self.running.discard(task_id)
                self.say(g.AttemptSucceeded(task_id))
            keys = {*self.final, *self.failed_foreign} - self.announced
            if not keys:
                break  # joins that wait for each other in a circle
            for key in sorted(keys):
                failed = self.final[key] if key >= 0 else self.failed_foreign[key]
                self.announced.add(key)
                for task_id, needs in self.needs.items():
                    if key in needs:
                        needs.discard(key)
                        self.bad |= {task_id} if failed else set()
                self.say(g.DependencyDone(key, failed))
        stuck = set(self.costs) - set(self.final)
        assert all(self.needs[task_id] & stuck for task_id in stuck), "a task is left although it waits for nothing"


TestGraph = GraphMachine.TestCase
TestGraph.settings = settings(max_examples=150, stateful_step_count=60)
