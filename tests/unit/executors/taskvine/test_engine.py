"""Which engine is used, and why."""

from __future__ import annotations

import pytest

from trellis.errors import ConfigurationError
from trellis.executors.taskvine import engine as engines
from trellis.executors.taskvine.tuning import EMBEDDED, complaint


@pytest.mark.parametrize("installed", [True, False])
def test_the_embedded_engine_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    monkeypatch.setattr(engines, "is_installed", lambda: installed)
    assert engines.choose_engine("embedded")[0].name == "embedded"


@pytest.mark.parametrize(("installed", "engine"), [(True, "ndcctools"), (False, "embedded")])
def test_auto_takes_the_real_one_where_it_is(monkeypatch: pytest.MonkeyPatch, installed: bool, engine: str) -> None:
    monkeypatch.setattr(engines, "is_installed", lambda: installed)
    chosen, reason = engines.choose_engine("auto")
    assert chosen.name == engine
    assert "installed" in reason


def test_the_real_one_is_not_replaced_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "is_installed", lambda: False)
    with pytest.raises(ConfigurationError, match=r"engine='ndcctools'.*ndcctools.*engine='embedded'"):
        engines.choose_engine("ndcctools")


def test_tuning_names_that_do_nothing_are_told() -> None:
    text = complaint(["wait-for-workers", "wait-for-godot"])
    assert "wait-for-godot" in text
    for name in EMBEDDED:
        assert name in text


def test_known_tuning_names_are_no_reason_for_words() -> None:
    assert complaint(EMBEDDED) == ""
