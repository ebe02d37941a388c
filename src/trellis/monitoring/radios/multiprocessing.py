"""Public path of stand-ins; they are made in ``trellis.monitoring.missing``."""

from trellis.monitoring.missing import (
    MultiprocessingQueueRadio,
    MultiprocessingQueueRadioReceiver,
    MultiprocessingQueueRadioSender,
)

__all__ = ["MultiprocessingQueueRadio", "MultiprocessingQueueRadioReceiver", "MultiprocessingQueueRadioSender"]
