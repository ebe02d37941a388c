"""What ``ps`` and ``top`` show of Trellis' processes."""

from __future__ import annotations

import setproctitle


def show_as(title: str) -> None:
    """Show this process as ``trellis: title``.

    Its name in the kernel, of which 15 characters are kept, is ``trellis-title``: Slurm's proctrack/linuxproc does not
    see processes whose name there has a space, and would neither suspend them nor kill them at the end of their job.
    """
    setproctitle.setproctitle(f"trellis: {title}")
    setproctitle.setthreadtitle(f"trellis-{title.replace(' ', '-')}")
