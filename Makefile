PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: demo test lint format bench
demo: .venv/ready
	$(BIN)/bonaface demo

test: .venv/ready
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports && $(BIN)/pytest -n 2

lint: .venv/ready
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

format: .venv/ready
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .

bench: .venv/ready
	for file in benchmarks/*.py; do echo "== $$file" && $(BIN)/python $$file || exit 1; done

.venv/ready: requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv || python3 -m venv .venv
	$(BIN)/python -m pip install --quiet uv
	VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --requirement requirements.txt
	VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --no-deps --editable .
	touch $@
