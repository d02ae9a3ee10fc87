# make demo   the whole method on a small dataset; report in out/demo
# make test   all tests
# make bench  the benchmarks of bench/bench_*.py; tables and plot in bench/results, figures in docs/performance.md
# make bench-once   each benchmark once, in two minutes: that they still run
# make fuzz   every fuzz target and the reader of datasets, SECONDS=60 each
# make lint   formatting, linting and types
# make docs   the site of all pages, in build/docs/html; needs no network once its tools are installed
# make wheel, sdist, test-wheel   what is released, in dist/; the wheel tried without a compiler
# make cross     the core for other systems, compiled
# make lint-ci   workflows, forms and CITATION.cff
# make coverage  how much of the codecs, formats, keys and kernels the tests see
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

# Or each of some thousand processes of the tests would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

CROSS := x86_64-windows-gnu aarch64-windows-gnu x86_64-macos aarch64-macos aarch64-linux-musl \
         s390x-linux-gnu
MANYLINUX := manylinux_2_17_$(shell uname -m)

.PHONY: demo test test-fast test-c bench bench-once stages fuzz lint docs format wheel sdist test-wheel cross lint-ci coverage clean

demo: $(VENV)/.demo
	$(BIN)/dsguard demo --out out/demo

test: $(VENV)/.dev test-c
	$(BIN)/pytest -n auto --dist worksteal --durations=15

# What one runs while writing; all of it is `make test`.
test-fast: $(VENV)/.dev
	$(BIN)/pytest -n auto --dist worksteal -m "not slow"

# The core alone, under the address and undefined-behaviour sanitizers; fuzz targets run over
# their corpora.
test-c: $(VENV)/.cmake
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

stages: $(VENV)/.bench
	$(CMAKE) -B build/bench > build/bench.log || (cat build/bench.log; false)
	$(BIN)/cmake --build build/bench --target stages

bench-once: stages
	$(BIN)/pytest -c bench/pytest.ini --rootdir=. bench --override-ini addopts= --benchmark-disable

bench: stages
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

# The core needs so little of libc that gcc's wheel runs wherever glibc is 2.17 or newer; auditwheel
# refuses to name it so if that changes. The wheel is made of the sdist, which so has all it needs.
wheel: $(VENV)/.release
	rm -rf build/dist dist/*.whl
	$(BIN)/python -m build --outdir build/dist .
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/auditwheel repair --plat $(MANYLINUX) \
	    --wheel-dir dist build/dist/*.whl
	$(BIN)/abi3audit --strict --summary dist/*.whl
	$(BIN)/twine check --strict dist/*.whl

sdist: $(VENV)/.release
	rm -f dist/*.tar.gz
	$(BIN)/python -m build --sdist --outdir dist .
	$(BIN)/twine check --strict dist/*.tar.gz

test-wheel: wheel
	$(BIN)/python tools/test_wheel.py dist/*.whl $(PYTHONS)

# That it compiles, without a warning; nothing of it runs here.
cross: $(VENV)/.release
	export ZIG_GLOBAL_CACHE_DIR=$(CURDIR)/build/zig; for target in $(CROSS); do \
	    $(CMAKE) -B build/cross/$$target -DCMAKE_SYSTEM_NAME=Generic -DCMAKE_C_FLAGS=-Werror \
	        -DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY \
	        "-DCMAKE_C_COMPILER=$(CURDIR)/$(BIN)/python-zig;cc;-c;-target;$$target" \
	    && $(BIN)/cmake --build build/cross/$$target --target dsg_core || exit 1; done

lint-ci: $(VENV)/.release
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms \
	    .github/ISSUE_TEMPLATE/fault.yml .github/ISSUE_TEMPLATE/wish.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.readthedocs .readthedocs.yaml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff
	$(BIN)/zizmor --offline --persona=pedantic .github

# Of what all else stands on, by the tests of those parts; the floor is in pyproject.toml.
coverage: $(VENV)/.dev
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest tests/codecs tests/formats tests/keys tests/kernels \
	    tests/test_api.py tests/test_malformed.py
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

$(BIN)/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/pip $(NATIVE)
	$(BIN)/pip install --quiet -c constraints-dev.txt -e '.[demo]'
	touch $@

# What builds the core; it can do so while all else is installed.
$(VENV)/.cmake: $(BIN)/pip
	$(BIN)/pip install --quiet -c constraints-dev.txt cmake ninja
	mkdir -p build
	touch $@

$(VENV)/.dev: $(VENV)/.cmake $(NATIVE)
	$(BIN)/pip install --quiet -c constraints-dev.txt -e '.[dev]'
	mkdir -p build
	touch $@ $(VENV)/.demo

$(VENV)/.release: $(BIN)/pip $(NATIVE)
	$(BIN)/pip install --quiet -c constraints-dev.txt -e '.[release]'
	touch $@

$(VENV)/.bench: $(VENV)/.dev
	$(BIN)/pip install --quiet -c constraints-dev.txt -e '.[bench]'
	touch $@

$(VENV)/.docs: $(BIN)/pip $(NATIVE)
	$(BIN)/pip install --quiet -c constraints-dev.txt -e '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) build dist out
