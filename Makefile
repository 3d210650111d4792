# Two commands set up everything by themselves: make demo, make test.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
PYTEST_FLAGS ?=
# Test files go to as many processes as there are cores.
PARALLEL := -n auto --dist worksteal

.PHONY: demo test test-host test-device check format docs clean

demo: $(STAMP)
	$(BIN)/edgekit demo --output demo-out

# Hundreds of tests start a Python of their own: without bytecode files each compiles edgekit again.
test test-host test-device: export PYTHONDONTWRITEBYTECODE :=

# The three Pythons run side by side; the output of the devices' tests is printed as one block at the end.
test: $(STAMP)
	$(MAKE) --no-print-directory -j2 test-host test-device

test-host: $(STAMP)
	$(BIN)/pytest $(PARALLEL) $(PYTEST_FLAGS)

# The device side under real Python 3.7 and 3.9; skipped, with the reason, where these are absent.
test-device:
	scripts/test-device.sh

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format .

# The site in build/site; a broken link or a page that is not listed is an error.
docs: $(VENV)/.docs-stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

$(VENV)/.docs-stamp: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group docs
	touch $@

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) is not on PATH; name another: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[host,coco,cluster,serve,fast,video]' --group dev
	touch $@

clean:
	rm -rf $(VENV) .venv-py* build demo-out .mypy_cache .ruff_cache .pytest_cache
