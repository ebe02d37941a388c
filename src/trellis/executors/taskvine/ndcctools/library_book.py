"""Libraries of the real TaskVine that hold one function of ours, which runs all calls. Knows no sockets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trellis.executors.taskvine.ndcctools import mapping, member
from trellis.executors.taskvine.ndcctools.adapter import TaskVine
from trellis.executors.taskvine.ndcctools.file_book import FileBook
from trellis.executors.taskvine.remote import guard
from trellis.wire.codec import Payload, payload_buffers
from trellis.wire.vine import ON_IMPORT_PATH, LibrarySpec, Mount, Resources

# A function that a library does not have from its start travels with its calls, when it is no larger than this.
_MOST_WITH_CALL_BYTES = 32_768
# Functions that a library gets at its start, together.
_MOST_AT_START_BYTES = 16 * 2**20
# A library that took calls before may end so many times in a row, without a call in between, before calls fail.
_MOST_FAILURES = 3

_FAILED = re.compile(r"Library (\S+) failed on worker ([^\n]*)\n(?:[^\n]*check the library log file (\S+))?")
# Written when a library did not even hear that its time is over.
_LATE = "Timeout ("
# Lines that TaskVine's library writes of itself: none of them says what went wrong.
_CHATTER = re.compile(r"\d\d/\d\d/\d\d [\d:.]+ .*|.* DaskVineWarning: .*|\s*warnings\.warn\(f\"DaskVine.*")


class LibraryBook:
    """Libraries by name. They are made when the first call names them: by then functions are known.

    Args:
        vine: where they are installed.
        files: of the submit side.
        import_paths: of the user's program.
        runner_path: file of the runner, which goes along.
    """

    FUNCTION = "trellis_call"

    def __init__(self, vine: TaskVine, files: FileBook, import_paths: list[str], runner_path: str) -> None:
        self._vine = vine
        self._files = files
        self._import_paths = import_paths
        self._runner_path = runner_path
        self._specs: dict[str, tuple[LibrarySpec, Payload]] = {}
        self._known: dict[str, set[int]] = {}  # functions that each installed library has from its start
        self._keep: list[Any] = []  # TaskVine uses them without owning them
        self._worked: set[str] = set()
        self._failures: dict[str, int] = {}
        self._last_words: dict[str, str] = {}  # of those that ended, and in which no call has ended since
        self._wanted: set[str] = set()  # what tasks have named; empty: tasks that are no calls
        self._warned: set[str] = set()

    def declare(self, spec: LibrarySpec, arguments: Payload) -> None:
        self._specs[spec.name] = (spec, arguments)

    def complaint(self, name: str) -> str:
        """Why calls of this library cannot run; empty when they can."""
        if name in self._specs:
            return ""
        return f"there is no library {name}; there is {', '.join(sorted(self._specs)) or 'none'}"

    def resources(self, name: str) -> Resources:
        """What a library takes of a worker.

        Raises:
            KeyError: there is no such library.
        """
        return self._specs[name][0].resources

    def spec(self, name: str) -> LibrarySpec | None:
        """What was said of a library."""
        entry = self._specs.get(name)
        return None if entry is None else entry[0]

    def installed(self) -> list[str]:
        """Names of those that TaskVine knows."""
        return list(self._known)

    def trouble(self, name: str) -> str:
        """How the library ended that was the last to end, when no call has ended in it since."""
        return self._last_words.get(name, "")

    def warn(self, name: str) -> str:
        """A task names this library (or none): what the user should know of that, once; mostly nothing.

        TaskVine 7.14.5 and its workers do not agree on which of several instances at a worker runs a call. When one is
        ended to make room for something else, a call may be lost that TaskVine believes to be in the other.
        """
        if name in self._wanted:
            return ""
        self._wanted.add(name)
        several = {
            library
            for library in self._wanted & self._specs.keys()
            if (spec := self._specs[library][0]).resources.cores and spec.slots <= spec.resources.cores
        }
        new = several - self._warned if len(self._wanted) > 1 else set()
        self._warned |= new
        return " ".join(
            f"Library {library} may have several instances at a worker, and not everything that runs there is a call "
            "of it. TaskVine may end an instance to make room, and lose a call with it: give the library slots for "
            "all its calls at a worker ('num_slots' of library_config), or an executor of its own."
            for library in sorted(new)
        )

    def install(
        self, name: str, functions: Mapping[int, bytes], packs: Mapping[int, Sequence[Mount]], fit: Any
    ) -> None:
        """Have TaskVine start it where calls are waiting; a second time does nothing.

        Args:
            functions: all that are known.
            packs: what those of them need to be loaded, as far as tasks have said it.
            fit: file of the script that fits environments to their place.

        Raises:
            KeyError: its context function is not known.
        """
        if name in self._known:
            return
        spec, arguments = self._specs[name]
        context = functions[spec.context_function] if spec.context_function >= 0 else b""
        at_start: dict[int, bytes] = {}
        room = _MOST_AT_START_BYTES
        for number, data in functions.items():
            # Without its packages a function would not load, or with what else there is by their names.
            if number == spec.context_function or number not in packs:
                continue
            room -= len(data)
            if room > 0:
                at_start[number] = data
        alias = member.load_alias()
        buffers = tuple(bytes(buffer) for buffer in payload_buffers(arguments))
        setup = [alias.trellis_context, [at_start, context, buffers, spec.context_timeout_s], {}]
        library = self._vine.new_library(name, alias.trellis_call, spec.exec_mode, setup)
        library.add_input(self._vine.file(self._runner_path, "workflow", True), "trellis_runner.py")
        library.add_input(self._vine.file(guard.__file__, "workflow", True), "trellis_guard.py")
        library.add_input(self._vine.file(member.__file__, "workflow", True), f"{member.NAME}.py")
        inputs = {mapping.mount_path(mount): mount for mount in spec.inputs}
        inputs |= {mapping.mount_path(mount): mount for number in at_start for mount in packs[number]}
        on_path = [path for path, mount in inputs.items() if mount.path == ON_IMPORT_PATH]
        library.set_command(mapping.library_command(spec, on_path))
        if spec.environment >= 0:
            library.add_input(self._files.get(spec.environment), mapping.ENVIRONMENT, mount_symlink=True)
            library.add_input(fit, mapping.FIT)
        for path, mount in inputs.items():
            library.add_input(self._files.get(mount.file), path, mount_symlink=path in on_path)
        for setter, values in mapping.library_calls(spec, self._import_paths):
            getattr(library, setter)(*values)
        self._vine.install_library(library)
        self._keep.append(library)
        self._known[name] = set(at_start)

    def has(self, name: str, number: int) -> bool:
        """Whether an installed library has this function, and its packages, from its start."""
        return number in self._known[name]

    def how_to_send(self, name: str, number: int, data: bytes, packed: bool) -> tuple[bytes | None, bool]:
        """What of a function travels with a call, and whether the function lies in a file beside it.

        ``packed``: it needs packages, which are found in the call's sandbox: only the call itself can load it.
        """
        if self.has(name, number):
            return None, False
        if not packed and len(data) <= _MOST_WITH_CALL_BYTES:
            return data, False
        return None, True

    def worked(self, name: str) -> None:
        """A call has ended in it."""
        self._worked.add(name)
        self._failures.pop(name, None)
        self._last_words.pop(name, None)

    def failed(self, words: str) -> dict[str, tuple[str, bool]]:
        """What TaskVine wrote of libraries that ended: the reason by name, and whether their calls are to fail."""
        ends: dict[str, tuple[str, bool]] = {}
        for name, worker, log in _FAILED.findall(words):
            if name not in self._specs:
                continue
            count = self._failures[name] = self._failures.get(name, 0) + 1
            hopeless = name not in self._worked or count >= _MOST_FAILURES
            words = _log_end(log)
            if _LATE in words:
                timeout_s = self._specs[name][0].context_timeout_s
                words = f"its context was not there after {timeout_s:g} s (context_timeout_s); {words}"
            ends[name] = (f"library {name} ended on worker {worker}: {words}", hopeless)
            self._last_words[name] = f"it ended on worker {worker}: {words}"
            if hopeless:
                del self._failures[name]
        return ends


def _log_end(path: str) -> str:
    try:
        text = Path(path).read_text(errors="replace") if path else ""
    except OSError as error:
        return f"its log {path} cannot be read: {error.strerror}"
    lines = [line for line in text.splitlines() if not _CHATTER.fullmatch(line)]
    return "its output ends with:\n" + "\n".join(lines)[-2_000:] if lines else "it wrote nothing"
