from __future__ import annotations

from typing import Any

from trellis.core.foreign import can_call, is_foreign, overridden
from trellis.executors.threads import ThreadPoolExecutor


class Mine(ThreadPoolExecutor):
    @property
    def label(self) -> str:  # type: ignore[override]
        return "mine"

    @label.setter
    def label(self, value: str) -> None:
        pass


def test_what_fits_a_signature() -> None:
    def two(a: Any, b: Any = None) -> None:
        pass

    assert [can_call(two, *range(n)) for n in range(4)] == [False, True, True, False]
    assert can_call(print, 1, 2, 3)
    assert can_call(type("NoSignature", (), {"__call__": lambda *a: 0, "__signature__": 7})(), 1)


def test_methods_and_properties_of_subclasses_are_foreign_and_ours_are_not() -> None:
    assert overridden(Mine(), ["label", "launch", "nothing"]) == ["label"]
    assert not is_foreign(ThreadPoolExecutor(), "launch")


def test_what_was_put_on_the_object_is_foreign() -> None:
    pool = ThreadPoolExecutor()
    pool.launch = lambda attempt: None  # type: ignore[method-assign]
    assert is_foreign(pool, "launch")
