"""An oracle of simulations: no task waits in vain. Never interferes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.simulation.oracles import LivenessViolation
from tests.simulation.simulated import MAX_DELAY_S, Stage
from tests.simulation.simulated_interchange import SimulatedInterchange
from tests.simulation.simulated_manager import SimulatedManager
from trellis.executors.htex.interchange.state import REBALANCE_S

# News of an idle worker, asking back, what comes back, and the task itself travel one after the other; when the
# answer is that just then nothing waited, once more.
LIMIT_S = REBALANCE_S + 10 * MAX_DELAY_S
_PERIOD_S = 0.1


class Idleness:
    """Looks again and again whether tasks wait in one place while workers elsewhere, that may have them, are idle.

    Only managers count to which nothing bad has happened.
    """

    def __init__(self, stage: Stage, interchange: SimulatedInterchange, managers: Sequence[SimulatedManager]) -> None:
        self._stage = stage
        self._interchange = interchange
        self._managers = managers
        self._waiting_since: dict[str, float] = {}

    def watch(self) -> None:
        """Look now, and then periodically.

        Raises:
            LivenessViolation: tasks wait for too long while a worker is idle.
        """
        now = self._stage.world.now
        self._waiting_since = {place: self._waiting_since.get(place, now) for place in self._waiting_places()}
        for place, since in self._waiting_since.items():
            for manager in self._undisturbed() if now - since > LIMIT_S else []:
                if self._interchange.state.managers[manager.name].takes_tasks and manager.idle_s > LIMIT_S:
                    raise LivenessViolation(f"tasks wait at {place} since {since:g}, while {manager.name} is idle")
        self._stage.world.after(_PERIOD_S, self.watch)

    def _waiting_places(self) -> list[str]:
        # Tasks that wait for a worker that starts wait rightly, as far as the interchange can know; and so do tasks
        # that need more than a worker, and those beside them.
        places = [manager.name for manager in self._undisturbed() if manager.queue and manager.is_complete]
        state = self._interchange.state
        places = [name for name in places if self._are_plain(state.managers[name].tasks)]
        if self._interchange.alive and state.waiting and self._are_plain(state.waiting):
            places.append("the interchange")
        return places

    def _are_plain(self, ids: Iterable[int]) -> bool:
        plans = self._stage.ledger.plans
        return all(plans[id_].demand is None for id_ in ids)

    def _undisturbed(self) -> list[SimulatedManager]:
        if not self._interchange.alive:
            return []
        known, ledger = self._interchange.state.managers, self._stage.ledger
        disturbed = ledger.disturbed | ledger.slept
        return [
            manager
            for manager in self._managers
            if manager.alive and manager.name in known and manager.name not in disturbed and not manager.misses_a_task
        ]
