"""Descriptors that are used again, and managers that come back."""

from __future__ import annotations

from trellis.executors.common.connections import Connections


def test_the_end_of_a_connection_is_the_end_of_its_manager() -> None:
    connections = Connections()
    assert not connections.knows("a", 7)
    assert connections.note("a", 7) == []
    assert connections.knows("a", 7)
    assert connections.closed([7]) == ["a"]
    assert connections.closed([7]) == []


def test_who_speaks_on_another_connection_has_lost_the_first() -> None:
    connections = Connections()
    connections.note("a", 7)
    assert connections.note("a", 8) == ["a"]
    assert connections.closed([7]) == []  # news of what is known
    assert connections.closed([8]) == ["a"]


def test_a_descriptor_is_used_again_by_somebody_else() -> None:
    connections = Connections()
    connections.note("a", 7)
    assert connections.closed([7]) == ["a"]
    assert connections.note("b", 7) == []
    assert connections.note("a", 8) == []
    assert connections.closed([7]) == ["b"]
    assert connections.closed([8]) == ["a"]


def test_the_descriptor_of_one_whose_name_was_handed_over_in_silence_is_used_again() -> None:
    connections = Connections()
    connections.note("a", 7)
    assert connections.note("b", 7) == ["a"]
    assert connections.note("a", 8) == []
    assert connections.closed([7]) == ["b"]


def test_a_manager_takes_the_descriptor_of_another_that_has_just_ended() -> None:
    connections = Connections()
    connections.note("a", 7)
    connections.note("b", 8)
    assert sorted(connections.note("b", 7)) == ["a", "b"]
    assert connections.closed([7]) == ["b"]


def test_last_words_that_are_read_after_the_news_of_an_end_hide_no_other_end() -> None:
    connections = Connections()
    connections.note("a", 7)
    assert connections.closed([7]) == ["a"]
    connections.note("a", 7)
    assert connections.note("b", 7) == ["a"]
    assert connections.closed([7]) == ["b"]


def test_last_words_of_a_witness_that_was_never_heard_before_hide_no_other_end() -> None:
    connections = Connections()
    assert connections.closed([7]) == []
    connections.note("witness", 7)
    assert connections.note("b", 7) == ["witness"]
    assert connections.closed([7]) == ["b"]


def test_last_words_do_not_end_the_connection_that_has_the_descriptor_now() -> None:
    connections = Connections()
    connections.note("a", 7)
    assert connections.closed([7]) == ["a"]
    assert connections.note("b", 7) == []
    assert connections.note("a", 7) == []
    assert connections.knows("b", 7)
    assert connections.note("a", 8) == []
    assert connections.closed([7]) == ["b"]
