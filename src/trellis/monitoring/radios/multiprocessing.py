"""Public path of a radio; see ``trellis.monitoring.radios.configs`` and ``missing``."""

from trellis.monitoring.radios.configs import (
    MultiprocessingQueueRadio,
    MultiprocessingQueueRadioReceiver,
    MultiprocessingQueueRadioSender,
)

__all__ = ["MultiprocessingQueueRadio", "MultiprocessingQueueRadioReceiver", "MultiprocessingQueueRadioSender"]
