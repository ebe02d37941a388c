"""Variables and cores of one task, and that nothing of them stays."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trellis.executors.htex.worker.task_environment import dump_environment, in_force, load_environment

# What a variable of an environment can be.
_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
_NAMES = _TEXT.filter(lambda text: text and "=" not in text)


@given(variables=st.dictionaries(_NAMES, _TEXT))
def test_environments_come_as_they_were_sent(variables: dict[str, str]) -> None:
    assert load_environment(dump_environment(variables)) == variables
    assert load_environment(memoryview(dump_environment(variables))) == variables


def test_variables_are_set_and_afterwards_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFORE", "old")
    monkeypatch.delenv("NEW", raising=False)
    with in_force({"BEFORE": "new", "NEW": "1"}):
        assert (os.environ["BEFORE"], os.environ["NEW"]) == ("new", "1")
        os.environ["BEFORE"] = "of the task"
        del os.environ["NEW"]
    assert os.environ["BEFORE"] == "old"
    assert "NEW" not in os.environ


def test_also_when_the_task_fails() -> None:
    with pytest.raises(ZeroDivisionError), in_force({"NEW": "1"}):
        1 / 0  # noqa: B018
    assert "NEW" not in os.environ


def test_cores_are_bound_and_given_back() -> None:
    before = os.sched_getaffinity(0)
    one = min(before)
    with in_force({"TRELLIS_CPUS": str(one)}):
        assert os.sched_getaffinity(0) == {one}
        assert "TRELLIS_CPUS" not in os.environ
    assert os.sched_getaffinity(0) == before
