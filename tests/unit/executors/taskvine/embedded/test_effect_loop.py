"""Effects are performed in their order, also those that are asked for meanwhile."""

from __future__ import annotations

import pytest

from trellis.executors.taskvine.embedded.effect_loop import EffectLoop


class Asking:
    """Asks for an effect more while its first one is performed, and wants it performed at once."""

    def __init__(self, *asked: str) -> None:
        self._asked = [*asked]
        self.done: list[str] = []
        self.loop = EffectLoop(self._take, self._perform)

    def _take(self) -> list[str]:
        asked, self._asked = self._asked, []
        return asked

    def _perform(self, effect: str) -> None:
        if effect == "ask":
            self._asked.append("later")
            self.loop()
        if effect == "fail":
            raise OSError("no room")
        self.done.append(effect)


def test_what_is_asked_meanwhile_comes_after_what_was_asked_before() -> None:
    it = Asking("ask", "second")
    it.loop()
    assert it.done == ["ask", "second", "later"]


def test_an_effect_that_fails_does_not_block_those_of_later_calls() -> None:
    it = Asking("fail")
    with pytest.raises(OSError, match="no room"):
        it.loop()
    it._asked.append("next")
    it.loop()
    assert it.done == ["next"]
