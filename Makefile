PYTHON ?= python3.11
BIN := .venv/bin
# Each file in one process, so that its fixtures are made once.
PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: docs demo test lint format bench test-slow test-cluster test-installs test-oldest
demo: .venv/ready
	$(BIN)/bonaface demo

test: lint
	$(BIN)/pytest $(PARALLEL)

# What trains, starts programs or a browser, or takes seconds.
test-slow: .venv/ready
	$(BIN)/pytest $(PARALLEL) -m "slow and not cluster"

lint: .venv/ready
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

format: .venv/ready
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .

# The documentation site, into build/site.
docs: .venv/ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

bench: .venv/ready
	for file in benchmarks/*.py; do echo "== $$file" && $(BIN)/python $$file || exit 1; done

# What starts a Ray cluster or several training processes.
test-cluster: .venv/ready
	$(BIN)/pytest -m cluster

# The wheel in a fresh environment for each install that the README names.
test-installs: .venv/ready
	tests/installs.sh

# The oldest versions that pyproject.toml allows, without what needs a browser.
test-oldest: .venv/ready
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-oldest
	VIRTUAL_ENV=.venv-oldest $(BIN)/uv pip install --quiet --resolution lowest-direct --editable ".[dev]"
	.venv-oldest/bin/pytest $(PARALLEL) -m "not cluster" -W default

.venv/ready: requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv || python3 -m venv .venv
	$(BIN)/python -m pip install --quiet uv
	VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --requirement requirements.txt
	VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --no-deps --editable .
	touch $@
