"""The text of batch scripts: what those of all batch systems have in common. Pure functions, no files, no processes."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from trellis.core.values import Span

# A path that stands in a directive as it is: no batch system reads anything else into it.
_PLAIN_PATH = re.compile(r"[\w./+,=@~-]+")

# Variables without which an interpreter may not start, or not find what the submitting one finds.
_INHERITED = ("LD_LIBRARY_PATH", "PYTHONPATH")


@dataclass(frozen=True)
class JobRequest:
    """A job that is about to be submitted."""

    name: str  # no other job of the user has it
    launched: str  # what the launcher made of the executor's command
    tasks_per_node: int
    script_path: str
    environment: str = ""  # lines that bring the submitting interpreter's surroundings along
    output_suffix: str = ""  # of the output's paths, where the system makes several files

    @property
    def stdout_path(self) -> str:
        return f"{self.script_path}.out{self.output_suffix}"

    @property
    def stderr_path(self) -> str:
        return f"{self.script_path}.err{self.output_suffix}"

    @property
    def log_path(self) -> str:
        """Where some batch systems put words of their own."""
        return f"{self.script_path}.log"

    @property
    def has_plain_paths(self) -> bool:
        """False: a batch system might read a host, a variable or an end into its paths, so the script itself sees to
        its output."""
        return _PLAIN_PATH.fullmatch(self.script_path) is not None

    @property
    def exit_code_path(self) -> str:
        """Where the script leaves its exit code, for batch systems that forget ended jobs."""
        return f"{self.script_path}.ec"


class Walltime(Span):
    """``HH:MM:SS`` or ``D-HH:MM:SS``; a ``timedelta`` becomes such a text."""

    def __call__(self, value: Any) -> Any:
        seconds = super().__call__(value)
        return value if isinstance(value, str) else format_walltime(seconds)


def parse_walltime(walltime: str) -> int:
    """Give the seconds of ``HH:MM:SS`` or ``D-HH:MM:SS``."""
    return Span()(walltime)


def format_walltime(seconds: int) -> str:
    """Give ``HH:MM:SS``, with as many hours as it takes: the form that all batch systems understand."""
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def asked_walltime(options: str, pattern: str, *, single_s: int = 1, last_s: int = 1) -> int | None:
    """Give the seconds that the last of ``options`` (lines of a script's head) asks for which match ``pattern``.

    Its group is a time such as ``90``, ``30:00``, ``1:30:00`` or ``1-12:00``. None: no option does, or not so that it
    can be told.

    Args:
        options: The user's, which come after the provider's own, and win.
        pattern: A regular expression with one group.
        single_s: Seconds that one number alone stands for.
        last_s: Seconds that the last of several stands for.
    """
    found = re.findall(pattern, options, re.MULTILINE)
    match = re.fullmatch(r"(?:(\d+)-)?(\d+(?::\d+){0,2})", found[-1]) if found else None
    if match is None:
        return None
    parts = [int(part) for part in match[2].split(":")]
    if match[1] is not None:
        hours, minutes, seconds = (*parts, 0, 0)[:3]
        return ((int(match[1]) * 24 + hours) * 60 + minutes) * 60 + seconds
    if len(parts) == 1:
        return parts[0] * single_s
    total = 0
    for part in parts:
        total = 60 * total + part
    return total * last_s


def unique_name(job_name: str, stamp: int) -> str:
    """Give a name for a job and its files, without characters that a batch system or a shell may choke on."""
    return f"{re.sub(r'[^A-Za-z0-9_.+-]', '_', job_name)}.{stamp}"


def short_name(name: str) -> str:
    """Give a name of 15 characters, which is what old batch systems allow; it ends as ``name`` does, in its stamp."""
    return f"parsl{re.sub('[^0-9]', '', name)[-10:]:0>10}"


def render_directives(prefix: str, options: Iterable[str | None]) -> str:
    """Give one line for each option that is not None, such as ``#SBATCH --nodes=2``."""
    return "".join(f"{prefix} {option}\n" for option in options if option is not None)


def render_environment(executable: str, environ: Mapping[str, str]) -> str:
    """Give the lines that make a job find the submitting interpreter's programs, libraries and modules.

    The command of the block names its interpreter itself. These lines are for what tasks call by name, and for batch
    systems that do not pass the environment on; what the job has got already goes first.
    """
    lines = [f'export PATH={shlex.quote(posixpath.dirname(executable))}:"$PATH"']
    given = {name: environ[name] for name in _INHERITED if environ.get(name)}
    lines += [f'[ -n "${{{name}:-}}" ] || export {name}={shlex.quote(value)}' for name, value in given.items()]
    return "\n".join(lines)


def render_redirection(request: JobRequest) -> str:
    """Give the line for batch systems that would bring the output only when the job has ended."""
    return f"exec >>{shlex.quote(request.stdout_path)} 2>>{shlex.quote(request.stderr_path)}\n"


def render_body(request: JobRequest, worker_init: str, other_signals: str = "") -> str:
    """Give the part of a batch script that follows the directives of the batch system.

    It passes SIGTERM on to what it runs, waits for that to end, and leaves its exit code and its seconds in a file.
    ``other_signals`` are those that the system sends before it kills; they are passed on as SIGTERM.
    """
    return _BODY.format(
        job_name=shlex.quote(request.name),
        environment=request.environment,
        # Quoted twice: the text of a trap is read again when the trap is taken.
        on_exit=shlex.quote(f"echo $? $SECONDS >{shlex.quote(request.exit_code_path)}"),
        worker_init=worker_init,
        signals=f"TERM {other_signals}".strip(),
        # They come to the block as well, which is not to die of them.
        ignore=f"trap '' {other_signals}\n" if other_signals else "",
        launched=request.launched,
    )


# Some systems signal the script only, others all that runs. A shell with a trap waits for its current command, so the
# block runs in the background: then the signal goes on at once. Inside the block the trap keeps the shell until its
# command has ended. Group $$ exists only when this shell leads it; otherwise there is a shell of the batch system
# above, and the block and its commands are signalled one by one. A command that the block was about to start then is
# told afterwards: the shell in the block would wait for its end first. No other is told twice: that may mean "at once".
_BODY = """\
export JOBNAME={job_name}
{environment}
trap {on_exit} EXIT
{worker_init}
trellis_commands() {{ echo " "$(ps -o pid= --ppid $trellis_block)" "; }}
trellis_stop() {{
    trap '' {signals}
    trellis_block=$!
    [ -n "$trellis_block" ] || exit 143
    trellis_told=$(trellis_commands)
    kill -TERM -- -$$ 2>/dev/null || kill -TERM $trellis_block $trellis_told
    while kill -0 $trellis_block 2>/dev/null; do
        sleep 0.1
        for trellis_pid in $(trellis_commands); do
            case "$trellis_told" in *" $trellis_pid "*) continue ;; esac
            trellis_told="$trellis_told$trellis_pid "
            kill -TERM $trellis_pid
        done
    done 2>/dev/null
    wait $trellis_block
    exit 143
}}
trap trellis_stop {signals}
(
{ignore}trap 'exit 143' TERM
{launched}
) &
trellis_block=$!
wait $trellis_block
exit $?
"""
