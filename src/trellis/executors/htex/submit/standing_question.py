"""A question where a task is, and what the interchange, and then the manager that has it, have answered so far."""

from __future__ import annotations

from concurrent.futures import Future

from trellis.wire.questions import StandingAtManager, StandingReply


class StandingQuestion(Future[StandingAtManager | None]):
    """Waited for by who asks; the client's thread tells what has come. None: the interchange has said all.

    Who stops waiting cancels it, and reads what is there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.known: StandingReply | None = None

    def hear(self, reply: StandingReply) -> bool:
        """The interchange has answered; True when that was all."""
        self.known = reply
        if reply.manager:
            return False
        self._end(None)
        return True

    def hear_manager(self, answer: StandingAtManager) -> bool:
        """A manager has answered; True when it is the one that has the task, and that was all."""
        if self.known is None or self.known.manager != answer.manager:
            return False
        self._end(answer)
        return True

    def _end(self, answer: StandingAtManager | None) -> None:
        if self.set_running_or_notify_cancel():
            self.set_result(answer)

    def wait(self, timeout_s: float) -> StandingAtManager | None:
        """What the manager says; None if there is nothing, or nothing in time. ``known`` is what there is then.

        Raises:
            CommandClientBadError: the interchange is gone.
        """
        try:
            return self.result(timeout_s)
        except TimeoutError:
            self.cancel()
            return None
