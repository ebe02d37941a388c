# Every target works as the first command after a clone; nothing is installed outside .venv.
# make bench BENCH="--quick --systems trellis parsl-tuned" passes options on.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: venv demo test test-slurm test-gridengine test-taskvine test-monitoring test-parsl test-network test-browser fuzz mutants check bench clean

venv: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[monitoring,postgresql,dashboard]' \
		--requirement requirements-dev.txt
	touch $(STAMP)

demo: venv
	$(BIN)/trellis demo

# Most tests wait for processes: four at a time, also on two cores.
test: venv
	$(BIN)/pytest -n 4

# Real batch systems from Debian's packages: root only. make test-slurm TESTS="-k walltime" passes options on to pytest.
test-slurm: venv
	$(BIN)/python -m tests.real.slurm.bed $(TESTS)

test-gridengine: venv
	$(BIN)/python -m tests.real.gridengine.bed $(TESTS)

# Recorded runs in a real PostgreSQL, and beside those that Parsl records.
test-monitoring: venv
	$(BIN)/python -m tests.real.monitoring.bed $(TESTS)

# The real TaskVine in a root directory of Debian 13, which is kept where TRELLIS_TASKVINE_ROOT says.
test-taskvine: venv
	$(BIN)/python -m tests.real.taskvine.bed $(TESTS)

# Parsl's own tests on Trellis, held against tests/parsl/expected.toml: releases of Parsl come into TRELLIS_PARSL_CACHE,
# or the user's cache directory. make test-parsl TESTS="--config htex_local --release 2025.1.13 -k walltime" runs some.
test-parsl: venv
	$(BIN)/python -m tests.parsl.run $(TESTS)

# A second host (a namespace of the network), and a cable that is cut: skipped unless root.
test-network: venv
	TRELLIS_TEST_BED=network $(BIN)/pytest tests/real/network $(TESTS)

# Every page of the dashboard in a real Chromium from Debian's packages. TRELLIS_SCREENSHOTS=DIR keeps pictures of them.
test-browser: venv
	$(BIN)/python -m tests.real.browser.bed $(TESTS)

# A million malformed messages. make fuzz FUZZ="--frames 10000 --seed 2" passes options on.
fuzz: venv
	$(BIN)/python -m tests.fuzz.run $(FUZZ)

# Every parameter of the documents made to do nothing, and the test that is named there run: it must fail. Minutes.
# make mutants MUTANTS="TaskVineFactoryConfig" takes those of one class.
mutants: venv
	$(BIN)/python -m tests.mutants.run $(MUTANTS)

check: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
# Its limit on pyzmq would bring back a release that encrypts many times slower, for all systems.
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps executorlib
	$(BIN)/python -m benchmarks $(BENCH)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis runinfo trellis-demo
