"""What kind of process this is, as far as that decides whether apps can be called in it. Changes nothing."""

from __future__ import annotations

import sys

# What the main module of a process has that runs tasks. Set by those processes, some of which have no Trellis.
WORKER_MARK = "_trellis_worker"


def is_worker() -> bool:
    """Whether this process runs tasks for a program elsewhere."""
    return hasattr(sys.modules.get("__main__"), WORKER_MARK)


def no_kernel_here() -> str:
    """Why there is no kernel in this process, and what to do."""
    if is_worker():
        return (
            "apps cannot be called in an app that runs on a worker: the configuration is loaded in the user's program. "
            "Call them there, or make this app a join_app, whose body runs there and may call apps"
        )
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is not None and multiprocessing.parent_process() is not None:
        return (
            "no configuration is loaded in this process, which multiprocessing has started: apps can be called in the "
            "process that has called trellis.load(). Call the app there instead of a multiprocessing pool, or call "
            "trellis.load() in this process too"
        )
    return "no configuration is loaded: call trellis.load() first"


def in_forked_child(what: str) -> str:
    """Why ``what`` cannot be had in a process that was forked by the one that has the kernel, and what to do."""
    return (
        f"{what}: this process is a forked child of the one that has called trellis.load(), and has none of its "
        "threads. Call apps in that process (they take the place of multiprocessing), or call trellis.load() here"
    )
