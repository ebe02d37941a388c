"""Whatever ends a manager, what has not started there does not fail with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.failures.losses import ENDS, WARM_UP, WORKERS, lose

# A worker has one task that it runs, and while its manager dies it may end that and take another, which nobody hears.
MOST_FAILED = 3 * WORKERS


@pytest.mark.parametrize("end", ENDS)
def test_what_has_not_started_does_not_fail(end: str, tmp_path: Path) -> None:
    losses = lose(end, WARM_UP, tmp_path)
    assert losses.never_started <= WORKERS  # one each, which it had just taken
    assert losses.failed <= MOST_FAILED
    assert losses.repeated == 0


def test_what_had_started_is_tried_again_from_the_allowance_for_losses(tmp_path: Path) -> None:
    assert lose("SIGKILL", WARM_UP, tmp_path, retries=1).failed == 0
