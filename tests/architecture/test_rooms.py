"""ARCHITECTURE.md names every file of the rooms, and neither it nor its neighbours name one that is not there."""

from __future__ import annotations

import re

import pytest

from tests.architecture import rooms
from tests.architecture.source import ROOT, SOURCE

# A path with a folder, in backticks or as the target of a link; or a file of the folder that a table is about.
_PATH = re.compile(r"`((?:[\w-]+/)+[\w.-]+\.(?:py|md|svg|json))(?:::\w+)?`")
PAGES = ["ARCHITECTURE.md", "docs/where-to-change.md", "docs/protocol.md", "docs/security.md", "CONTRIBUTING.md"]


def test_the_rooms_are_as_the_page_says() -> None:
    page = rooms.PAGE.read_text(encoding="utf-8")
    said = rooms.chapter_in(page)
    assert said == rooms.chapter().strip("\n"), "run: python -m tests.architecture.rooms"


def test_every_folder_of_ours_is_a_room() -> None:
    assert rooms.folders() == sorted(rooms.ROOMS)


@pytest.mark.parametrize("page", [page for page in PAGES if (ROOT / page).exists()])
def test_files_that_pages_name_are_there(page: str) -> None:
    named = set(_PATH.findall((ROOT / page).read_text(encoding="utf-8")))
    places = (ROOT, SOURCE, SOURCE.parent)
    assert sorted(path for path in named if not any((place / path).exists() for place in places)) == []
