"""``docs/protocol.md`` says what the code does."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.wire.examples import ALL
from trellis.executors.htex.worker.board import MAX_MESSAGE_BYTES
from trellis.transport.endpoint import MAX_FRAME_BYTES
from trellis.transport.service import TURN
from trellis.wire import codec, describe, stream
from trellis.wire.messages import PROTOCOL_VERSION

DOCUMENT = Path(__file__).parents[2] / "docs" / "protocol.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")


def test_tables_are_up_to_date() -> None:
    again = describe.insert(TEXT, describe.render_tables())
    assert again == TEXT, "run: python -m trellis.wire.describe docs/protocol.md"


def test_every_message_is_described() -> None:
    for type_ in ALL:
        assert f"### {type_.__struct_config__.tag}: {type_.__name__}\n" in TEXT


def test_fields_are_shown_with_place_type_default_and_comment() -> None:
    tables = describe.render_tables()
    assert "| 4 | `priorities` | `list[Finite] \\| None` | `None` | lower is sooner; None: all are 0 |" in tables
    assert "| 7 | `active` | `bool` |  | takes tasks; False when held or draining |" in tables
    assert "*interchange → manager, manager → interchange.*" not in tables  # the ways in one order everywhere
    assert "*manager → interchange, interchange → manager.* Still there." in tables


def test_limits_are_those_of_the_code() -> None:
    section = TEXT.partition("## Limits")[2].partition("## ")[0]
    limits = [
        codec.MAX_HEADER_BYTES,
        codec.MAX_BATCH,
        MAX_FRAME_BYTES,
        codec.INLINE_LIMIT_BYTES,
        TURN,
        MAX_MESSAGE_BYTES,
    ]
    assert re.findall(r"^\| [^|]+ \| ([\d,]+)", section, re.MULTILINE) == [f"{limit:,}" for limit in limits]


def test_protocol_number_is_the_current_one() -> None:
    assert f"the protocol's number, now {PROTOCOL_VERSION}." in TEXT


def test_stream_frames_are_described() -> None:
    kinds = {name: value for name, value in vars(stream).items() if name.isupper() and type(value) is int}
    kinds = {name: value for name, value in kinds.items() if not name.startswith("_")}
    section = TEXT.partition("little-endian")[2].partition("## ")[0]
    assert {name: int(kind) for kind, name in re.findall(r"^\| (\d+) ([A-Z]+) \|", section, re.MULTILINE)} == kinds
    sizes = [int(size) for size in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)]
    assert sum(sizes) == stream.HEAD.size


def test_only_what_is_between_the_marks_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "page.md"
    path.write_text(f"before\n{describe.BEGIN}\nold\n{describe.END}\nafter\n")
    monkeypatch.setattr(sys, "argv", ["describe", str(path)])
    describe.main()
    tables = describe.render_tables()
    assert path.read_text() == f"before\n{describe.BEGIN}\n\n{tables}\n{describe.END}\nafter\n"


@pytest.mark.parametrize(
    "document",
    ["", describe.BEGIN, describe.END + describe.BEGIN, describe.BEGIN + describe.END + describe.BEGIN],
)
def test_a_document_without_its_marks_is_refused(document: str) -> None:
    with pytest.raises(ValueError, match="mark"):
        describe.insert(document, "tables")
