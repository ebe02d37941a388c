"""``python -m trellis.monitoring.recorder``: the process that writes the record of one run from its journal.

It has the lowest priority and its own session: a burst of tasks, or Ctrl-C, is not its business. What cannot be
written now stays in the journal. It ends when the run has ended and all is written, also when the program was killed.
Each line on its standard output is a warning for the user.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import gc
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from trellis.monitoring.journal import JournalReader, remove
from trellis.monitoring.messages import NO_DATABASE, RecorderSettings
from trellis.monitoring.rows import Rows
from trellis.monitoring.store import RecordStore

logger = logging.getLogger(__name__)

# Between two looks at the journal: what a page that is shown live is behind.
_LOOK_S = 0.25
# Of the journal, in one transaction: some ten thousand tasks.
_AT_ONCE_BYTES = 2_000_000
# Between two attempts at a database that refuses.
_AGAIN_S = 1.0
# Rows are many objects and no cycles: looking for those as often as usual takes as long as making the rows.
_COLLECT_OBJECTS = 500_000
# A program that is gone, and a database that refuses: somebody else may finish the record later.
_PATIENCE_S = 60.0
_NICE = 19


class Recorder:
    """Records one run.

    Args:
        settings: what the program has said.
    """

    def __init__(self, settings: RecorderSettings) -> None:
        self._settings = settings
        self._reader = JournalReader(settings.journal)
        self._store: RecordStore | None = None
        self._rows: Rows | None = None
        self._warned = False
        self._decode = msgspec.msgpack.Decoder(list[list[object]]).decode
        self._gone_since: float | None = None

    def run(self) -> None:
        """Record until the run has ended.

        Raises:
            ArgumentError, NoSuchModuleError, ImportError: the database's URL means nothing here.
        """
        self._store = RecordStore(self._settings.url)
        self._persist(self._open_store)
        store, rows = self._store, self._rows
        assert store is not None
        assert rows is not None
        while True:
            gone = self._program_is_gone()  # before reading: what is there then is all there will be
            frames = self._reader.read(_AT_ONCE_BYTES)
            if frames:
                self._take(rows, frames)
                place = self._reader.place
                self._persist(functools.partial(store.write, rows.take(place)))
                self._reader.forget(place)
            elif rows.state != "running":
                break
            elif gone:
                self._end_lost(store, rows)
                break
            else:
                time.sleep(_LOOK_S)
        remove(self._settings.journal)

    def _program_is_gone(self) -> bool:
        return os.getppid() != self._settings.parent

    def _take(self, rows: Rows, frames: list[bytes]) -> None:
        for frame in frames:
            for entry in self._decode(frame):
                try:
                    rows.handle(entry)
                except Exception:  # of one entry; the others are sound
                    logger.exception("an entry of kind %s cannot be recorded", entry[0])

    def _open_store(self) -> None:
        assert self._store is not None
        self._store.prepare()
        self._rows, place = self._store.open_run(self._settings.run_id)
        self._reader = JournalReader(self._settings.journal, place)

    def _persist(self, act: Callable[[], None]) -> None:
        """Do something with the database, however long it refuses."""
        while True:
            try:
                act()
            except SQLAlchemyError as error:
                logger.warning("the database refuses", exc_info=True)
                self._warn(error)
                self._give_up_if_alone(error)
                time.sleep(_AGAIN_S)
            else:
                if self._warned:
                    self._warned = False
                    logger.warning("the database takes the record again")
                return

    def _warn(self, error: SQLAlchemyError) -> None:
        if not self._warned:
            self._warned = True
            cause = str(getattr(error, "orig", None) or error).splitlines()
            tell(
                f"the database {hidden(self._settings.url)} cannot be written ({cause[0] if cause else error}): "
                f"tasks go on, and what becomes of them is kept in {self._settings.journal} until it can"
            )

    def _give_up_if_alone(self, error: SQLAlchemyError) -> None:
        if not self._program_is_gone():
            return
        now = time.monotonic()
        self._gone_since = self._gone_since or now
        if now - self._gone_since > _PATIENCE_S:
            raise error

    def _end_lost(self, store: RecordStore, rows: Rows) -> None:
        """The program was killed: just now, unless this is done afterwards."""
        rows.end_lost(time.time() if self._settings.parent else None)
        self._persist(functools.partial(store.write, rows.take(self._reader.place)))
        logger.warning("the program is gone without having ended its run")

    def close(self) -> None:
        self._reader.close()
        if self._store is not None:
            self._store.close()


def tell(text: str) -> None:
    """Have the program tell its user; if it is gone, nobody is told."""
    with contextlib.suppress(OSError):
        os.write(1, text.replace("\n", " ").encode(errors="replace") + b"\n")


def hidden(url: str) -> str:
    """A URL for people: without the password."""
    from sqlalchemy import make_url

    try:
        return make_url(url).render_as_string(hide_password=True)
    except SQLAlchemyError:
        return url


def lock(journal: str) -> int | None:
    """Be the only one who records this journal; None: another is."""
    number = os.open(Path(journal) / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(number)
        return None
    except OSError:  # a file system without locks
        pass
    return number


def _give_way() -> None:
    """Take what processors have left. Linux weighs sessions against each other first, and this is one of its own."""
    os.nice(_NICE)
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(_NICE))


def main() -> int:
    """Read the settings, and record."""
    _give_way()
    gc.set_threshold(_COLLECT_OBJECTS, 10, 10)
    settings = msgspec.json.decode(sys.stdin.buffer.readline(), type=RecorderSettings)
    logging.basicConfig(
        filename=settings.log,
        level=logging.DEBUG if settings.debug else logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
    )
    os.chdir(settings.directory)
    if lock(settings.journal) is None:
        logger.info("another process records this run")
        return 0
    recorder = Recorder(settings)
    try:
        recorder.run()
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        logger.exception("no such database")
        tell(
            f"the run is not recorded: {hidden(settings.url)} cannot be a database ({error}); "
            "MonitoringHub(logging_endpoint=...) takes a URL of SQLAlchemy, such as postgresql+psycopg://user@host/name"
        )
        return NO_DATABASE
    except Exception as error:
        logger.exception("the recorder fails")
        tell(f"the run is not recorded any more ({type(error).__name__}: {error}); see {settings.log}")
        return 1
    finally:
        recorder.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
