"""Where Parsl's programs look for the HighThroughputExecutor; it lives in ``trellis.executors.htex``."""
