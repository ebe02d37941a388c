"""The HighThroughputExecutor: submit side, interchange, managers, workers."""
