# make demo   the whole method on a small dataset; report in out/demo
# make test   all tests
# make lint   formatting, linting and types
# Each makes the virtual environment .venv and installs what it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NATIVE := CMakeLists.txt pyproject.toml constraints-dev.txt $(wildcard csrc/*.[ch]) \
          $(wildcard src/dsguard/_core.*.h src/dsguard/_core.*.c)
C_FILES := $(wildcard csrc/*.[ch] csrc/tests/*.c)

.PHONY: demo test test-c lint format clean

demo: $(VENV)/.demo
	$(BIN)/dsguard demo --out out/demo

test: $(VENV)/.dev test-c
	$(BIN)/pytest

# The core alone, under the address and undefined-behaviour sanitizers.
test-c: $(VENV)/.dev
	$(BIN)/cmake -S . -B build/sanitized -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja \
	    -DDSG_SANITIZE=address,undefined > build/sanitized.log || (cat build/sanitized.log; false)
	$(BIN)/cmake --build build/sanitized
	build/sanitized/test_core

lint: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/clang-format --dry-run --Werror $(C_FILES)
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/clang-format -i $(C_FILES)

$(BIN)/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/pip $(NATIVE)
	$(BIN)/pip install --quiet -c constraints-dev.txt -e '.[demo]'
	touch $@

$(VENV)/.dev: $(BIN)/pip $(NATIVE)
	$(BIN)/pip install --quiet -c constraints-dev.txt -e '.[dev]'
	mkdir -p build
	touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) build out
