"""TaskVine's tuning parameters, by the names that they have there. Values only."""

from __future__ import annotations

from collections.abc import Iterable

# What the embedded engine acts upon, and what each does.
EMBEDDED = {
    "wait-for-workers": "no task starts before so many workers are there",
    "temp-replica-count": "workers that keep each temporary file",
    "disconnect-slow-worker-factor": "a task that takes so many times its category's mean is started elsewhere",
    "worker-source-max-transfers": "files that a worker passes on at a time",
    "file-source-max-transfers": "transfers from one URL at a time",
}


def complaint(given: Iterable[str], known: Iterable[str] = EMBEDDED) -> str:
    """What to tell the user of names that do nothing; empty when there are none."""
    unknown = sorted(set(given) - set(known))
    if not unknown:
        return ""
    return f"tune_parameters: {', '.join(unknown)} does nothing with this engine; it knows {', '.join(sorted(known))}"
