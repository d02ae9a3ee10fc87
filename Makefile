# make demo   the whole method on a small dataset; report in out/demo
# make test   all tests
# make bench  the benchmarks of bench/bench_*.py; tables and plot in bench/results, figures in docs/performance.md
# make fuzz   every fuzz target and the reader of datasets, SECONDS=60 each
# make lint   formatting, linting and types
# make docs   the site of all pages, in build/docs/html; needs no network once its tools are installed
# Each makes the virtual environment .venv and installs what it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
C_FILES := $(wildcard csrc/*.[ch] csrc/*/*.[ch])
NATIVE := CMakeLists.txt pyproject.toml constraints-dev.txt $(C_FILES) \
          $(wildcard src/dsguard/_core.*.h src/dsguard/_core.*.c)
SANITIZED = $(CMAKE) -B build/sanitized -DDSG_SANITIZE=address,undefined > build/sanitized.log \
            || (cat build/sanitized.log; false)
FUZZ_TARGETS := png trace decode reveal round_trip compress spread
SECONDS ?= 60
CMAKE = $(BIN)/cmake -S . -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja

.PHONY: demo test test-c bench fuzz lint docs format clean

demo: $(VENV)/.demo
	$(BIN)/dsguard demo --out out/demo

test: $(VENV)/.dev test-c
	$(BIN)/pytest

# The core alone, under the address and undefined-behaviour sanitizers; fuzz targets run over
# their corpora.
test-c: $(VENV)/.dev
	$(SANITIZED)
	$(BIN)/cmake --build build/sanitized
	CTEST_OUTPUT_ON_FAILURE=1 $(BIN)/cmake --build build/sanitized --target test

# With clang (CC=clang) libFuzzer runs the C targets; what it finds on the way stays in build/fuzz.
fuzz: $(VENV)/.dev
	$(SANITIZED)
	$(BIN)/cmake --build build/sanitized
	for target in $(FUZZ_TARGETS); do \
	    (mkdir -p build/fuzz/$$target && cd build/fuzz && ../sanitized/fuzz_$$target \
	        -max_total_time=$(SECONDS) -seed=$$$$ $$target ../../csrc/fuzz/corpus/$$target) \
	        || exit 1; done
	$(BIN)/python -m tests.fuzz.run --seconds $(SECONDS) --seed $$$$

bench: $(VENV)/.bench
	$(CMAKE) -B build/bench > build/bench.log || (cat build/bench.log; false)
	$(BIN)/cmake --build build/bench --target stages
	$(BIN)/pytest -c bench/pytest.ini --rootdir=. bench --benchmark-json=build/bench/results.json
	$(BIN)/python bench/report.py build/bench/results.json bench/results/performance

lint: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/clang-format --dry-run --Werror $(C_FILES)
	$(BIN)/mypy

docs: $(VENV)/.docs
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -d build/docs/doctrees docs build/docs/html
	@echo build/docs/html/index.html

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

$(VENV)/.bench: $(VENV)/.dev
	$(BIN)/pip install --quiet -c constraints-dev.txt -e '.[bench]'
	touch $@

$(VENV)/.docs: $(BIN)/pip $(NATIVE)
	$(BIN)/pip install --quiet -c constraints-dev.txt -e '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) build out
