"""Managers' answers are gathered, also when the interchange that was asked first is gone."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from trellis.errors import CommandClientBadError
from trellis.executors.htex.submit.package_requests import AskPackages, PackageRequests, PackagesAnswer
from trellis.wire.messages import Packages, PackagesRequest


def test_packages_are_gathered_from_all_managers() -> None:
    requests = PackageRequests()
    reply = Future[PackagesAnswer]()
    request = requests.ask(AskPackages(reply, 5.0), ["a", "b"]).request
    requests.on_packages(Packages("a", request, ["numpy", "zmq"], ["2.0", "27"]))
    requests.on_packages(Packages("a", request, ["numpy"], ["3.0"]))  # said again after a break
    requests.on_packages(Packages("stranger", request, [], []))
    assert not reply.done()
    requests.on_packages(Packages("b", request, [], []))
    assert reply.result(0) == PackagesAnswer({"a": {"numpy": "2.0", "zmq": "27"}, "b": {}}, [])
    assert requests.next_deadline() is None


def test_managers_that_do_not_answer_in_time_are_named() -> None:
    requests = PackageRequests()
    reply = Future[PackagesAnswer]()
    request = requests.ask(AskPackages(reply, 5.0), ["c", "a", "b"]).request
    requests.on_packages(Packages("a", request, [], []))
    assert requests.next_deadline() == 5.0
    requests.on_deadline(now=4.9)
    assert not reply.done()
    requests.on_deadline(now=5.0)
    assert reply.result(0) == PackagesAnswer({"a": {}}, ["b", "c"])
    assert requests.next_deadline() is None


def test_without_managers_the_answer_is_there_at_once() -> None:
    reply = Future[PackagesAnswer]()
    PackageRequests().ask(AskPackages(reply, 5.0), [])
    assert reply.result(0) == PackagesAnswer({}, [])


def test_what_is_open_is_asked_again() -> None:
    requests = PackageRequests()
    answered, open_ = Future[PackagesAnswer](), Future[PackagesAnswer]()
    requests.on_packages(Packages("a", requests.ask(AskPackages(answered, 5.0), ["a"]).request, [], []))
    asked = requests.ask(AskPackages(open_, 5.0), ["a"])
    assert requests.again() == [asked]
    assert type(asked) is PackagesRequest


def test_nobody_waits_for_an_interchange_that_is_gone() -> None:
    requests = PackageRequests()
    reply = Future[PackagesAnswer]()
    requests.ask(AskPackages(reply, 5.0), ["a"])
    requests.fail(CommandClientBadError("gone"))
    with pytest.raises(CommandClientBadError, match="gone"):
        reply.result(0)
    assert requests.again() == []
