"""Questions get their answers, also when the one who was asked first is gone."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from trellis.errors import CommandClientBadError
from trellis.executors.htex.submit.pending_requests import PackagesAnswer, Questions
from trellis.wire.messages import Packages, PackagesRequest, StatusReply, StatusRequest


def reply_to(request: int) -> StatusReply:
    return StatusReply(request, 0, 0, [], [])


def test_answers_go_to_those_who_asked() -> None:
    questions = Questions()
    first, second = Future[StatusReply](), Future[StatusReply]()
    one, two = questions.ask_status(first), questions.ask_status(second)
    questions.on_status(reply_to(two.request))
    assert second.result(0) == reply_to(two.request)
    assert not first.done()
    questions.on_status(reply_to(99))  # nobody asked
    questions.on_status(reply_to(one.request))
    assert first.done()


def test_packages_are_gathered_from_all_managers() -> None:
    questions = Questions()
    reply = Future[PackagesAnswer]()
    request = questions.ask_packages(reply, ["a", "b"], deadline=5.0).request
    questions.on_packages(Packages("a", request, ["numpy", "zmq"], ["2.0", "27"]))
    questions.on_packages(Packages("a", request, ["numpy"], ["3.0"]))  # said again after a break
    questions.on_packages(Packages("stranger", request, [], []))
    assert not reply.done()
    questions.on_packages(Packages("b", request, [], []))
    assert reply.result(0) == PackagesAnswer({"a": {"numpy": "2.0", "zmq": "27"}, "b": {}}, [])
    assert questions.next_deadline() is None


def test_managers_that_do_not_answer_in_time_are_named() -> None:
    questions = Questions()
    reply = Future[PackagesAnswer]()
    request = questions.ask_packages(reply, ["c", "a", "b"], deadline=5.0).request
    questions.on_packages(Packages("a", request, [], []))
    assert questions.next_deadline() == 5.0
    questions.on_deadline(now=4.9)
    assert not reply.done()
    questions.on_deadline(now=5.0)
    assert reply.result(0) == PackagesAnswer({"a": {}}, ["b", "c"])
    assert questions.next_deadline() is None


def test_without_managers_the_answer_is_there_at_once() -> None:
    reply = Future[PackagesAnswer]()
    Questions().ask_packages(reply, [], deadline=5.0)
    assert reply.result(0) == PackagesAnswer({}, [])


def test_what_is_open_is_asked_again() -> None:
    questions = Questions()
    answered, status, packages = Future[StatusReply](), Future[StatusReply](), Future[PackagesAnswer]()
    questions.on_status(reply_to(questions.ask_status(answered).request))
    asked = [questions.ask_status(status), questions.ask_packages(packages, ["a"], deadline=5.0)]
    assert questions.again() == asked
    assert [type(question) for question in asked] == [StatusRequest, PackagesRequest]


def test_nobody_waits_for_an_interchange_that_is_gone() -> None:
    questions = Questions()
    status, packages = Future[StatusReply](), Future[PackagesAnswer]()
    questions.ask_status(status)
    questions.ask_packages(packages, ["a"], deadline=5.0)
    questions.fail(CommandClientBadError("gone"))
    for reply in (status, packages):
        with pytest.raises(CommandClientBadError, match="gone"):
            reply.result(0)
    assert questions.again() == []
