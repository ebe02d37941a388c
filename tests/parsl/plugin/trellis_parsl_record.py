"""Pytest plugin in the process that runs Parsl's tests: writes down what becomes of each, as it happens.

A line of JSON for each thing, so that it is known how far a run came that never ended.
"""

import json
import os
import sys

import pytest

_END_CHARACTERS = 3000


class _Record:
    def __init__(self, path, slow, each_has_its_own):
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115  for the whole process
        self._slow = slow
        self._each_has_its_own = each_has_its_own  # each file of tests loads its own kernel, if any
        self._file_before = ""
        self._outcome = self._words = ""
        self._seconds = 0.0

    def _write(self, what, test, **more):
        print(json.dumps({"what": what, "test": test, **more}), file=self._file, flush=True)

    def pytest_collectreport(self, report):
        if report.failed:
            self._write("unimportable", report.nodeid, words=report.longreprtext[-_END_CHARACTERS:])

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config, items):
        for item in items:
            self._write("collected", item.nodeid)
        kept = [
            item for item in items if item.nodeid not in self._slow and item.nodeid.split("::")[0] not in self._slow
        ]
        if left_out := [item for item in items if item not in set(kept)]:
            config.hook.pytest_deselected(items=left_out)
        items[:] = kept

    def pytest_runtest_logstart(self, nodeid):
        file = nodeid.partition("::")[0]
        if file != self._file_before:
            self._file_before = file
            self._end_kernel()
        self._write("begun", nodeid)
        self._outcome, self._words, self._seconds = "passed", "", 0.0

    def _end_kernel(self):
        """End what tests that failed have left: it would make all others fail."""
        module = sys.modules.get("trellis.dataflow.dflow") if self._each_has_its_own else None
        kernel = module and module.DataFlowKernelLoader._dfk
        if kernel:
            kernel.cleanup()
            module.DataFlowKernelLoader.clear()

    def pytest_runtest_logreport(self, report):
        self._seconds += report.duration
        if report.failed:
            self._outcome = "failed"
            self._words += report.longreprtext[-_END_CHARACTERS:]
        elif report.skipped and self._outcome == "passed":
            self._outcome = "skipped"

    def pytest_runtest_logfinish(self, nodeid):
        self._write(self._outcome, nodeid, words=self._words, seconds=round(self._seconds, 2))

    def pytest_sessionfinish(self, exitstatus):
        self._write("ended", "", code=int(exitstatus))


def pytest_configure(config):
    slow = set(filter(None, os.environ["TRELLIS_PARSL_SLOW"].split("\n")))
    each_has_its_own = config.getoption("config", None) == ["local"]
    config.pluginmanager.register(_Record(os.environ["TRELLIS_PARSL_RECORD"], slow, each_has_its_own))
