"""When a batch system is asked for the status of jobs. Pure: no I/O, threads or clock here."""

from __future__ import annotations

# A provider that does not answer is asked half as often each time, but at least this often (or at its own interval).
LONGEST_BACKOFF_S = 300.0
# While there are blocks without a manager that were just submitted, or have just begun to run, it is asked this often,
# or ten times as often as else if that is less: most faults show in the first seconds.
YOUNG_POLL_S = 5.0


class PollSchedule:
    """The times of one provider's questions. One question is about all jobs.

    Args:
        interval_s: Between two questions, when nothing is special.
        now: The time of the start.
    """

    def __init__(self, interval_s: float, now: float) -> None:
        self._interval_s = interval_s
        self._last = now  # the last question, or the start
        self.last_asked = float("-inf")
        self.unanswered = 0  # questions in a row

    def asked(self, now: float, *, answered: bool) -> None:
        """A question was put."""
        self._last = self.last_asked = now
        self.unanswered = 0 if answered else self.unanswered + 1

    def next(self, young_since: float | None, *, soon: bool) -> float:
        """Time of the next question.

        Args:
            young_since: Since when there is a block that may fail any moment; None: there is none.
            soon: There is news, for example a manager has disconnected.
        """
        interval = self._interval_s
        if self.unanswered:
            # The exponent is limited too: a float ends at about 2**1000.
            return self._last + min(interval * 2.0 ** min(self.unanswered, 30), max(interval, LONGEST_BACKOFF_S))
        if soon:
            # Many managers may disconnect one after the other: spare the batch system.
            return self.last_asked + interval / 10
        regular = self._last + interval
        if young_since is None:
            return regular
        return min(regular, max(self._last, young_since) + max(YOUNG_POLL_S, interval / 10))
