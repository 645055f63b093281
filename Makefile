# All targets set up what they need. PYTHON names the interpreter that makes the environment.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
LAB    ?= (sweep or not sweep)
READY  := $(VENV)/.ready
FUZZER := $(VENV)/.fuzzer
LOCK   := CUSTOM_COMPILE_COMMAND="make lock" $(VENV)/lock/bin/pip-compile --quiet --strip-extras \
	--generate-hashes --allow-unsafe --no-emit-index-url --no-emit-find-links --no-emit-trusted-host

.PHONY: demo test check format lint types layers lab fuzz fuzzer sweep measure clean lock

demo: $(READY)  ## the main job on real processes; KEEP=1 leaves the fleet up
	$(BIN)/python -m tests.demo $(if $(KEEP),--keep)

test: $(READY)  ## all tests but the longer sweeps
	$(BIN)/python -m pytest -n 3 --dist worksteal $(ARGS)

check: format lint types layers test  ## what CI runs

format: $(READY)
	$(BIN)/ruff format --check .

lint: $(READY)
	$(BIN)/ruff check .

types: $(READY)
	$(BIN)/mypy

layers: $(READY)
	$(BIN)/python -m pytest -q tests/test_layers.py

lab: $(READY)  ## every kill point, power cut, error and partition; prints what was tried
	status=0; \
	$(BIN)/python -m pytest -n 4 --dist load --maxschedchunk 1 -p tests.lab.tally \
		-m '$(LAB) and not alone' tests/lab $(ARGS) || status=$$?; \
	$(BIN)/python -m pytest -s -p tests.lab.tally -m 'alone' tests/lab $(ARGS) || status=$$?; \
	exit $$status

fuzz: $(FUZZER)  ## a million inputs that nobody chose, for all that reads what others send
	$(BIN)/python -m tests.fuzz

fuzzer: $(FUZZER)  ## what `make fuzz` and its tests need besides; not built for every machine

sweep: $(READY)  ## the longer tests outside of the lab
	$(BIN)/python -m pytest -n 3 --dist worksteal -m 'sweep and not alone' tests --ignore=tests/lab $(ARGS)

measure: $(READY)  ## load, floods and footprint: needs the machine for itself
	$(BIN)/python -m pytest -s -p tests.lab.tally -m alone tests/sweeps $(ARGS)

lock:  ## resolve requirements.lock and fuzz.lock anew from pyproject.toml and fuzz.in
	$(PYTHON) -m venv $(VENV)/lock
	$(VENV)/lock/bin/pip install --quiet pip-tools
	$(LOCK) --extra coordinator --extra dev --output-file requirements.lock pyproject.toml
	$(LOCK) --output-file fuzz.lock fuzz.in

$(READY): pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

$(FUZZER): $(READY) fuzz.lock
	$(BIN)/python -m pip install --quiet --require-hashes -r fuzz.lock
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
