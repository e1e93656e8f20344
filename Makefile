# Two commands do all: `make demo` shows the main job, `make test` checks everything.
# Whatever they need beyond Rust, Python and a C compiler is installed into .venv and .tools here.

CARGO  ?= cargo
PYTHON ?= python3
VENV   := .venv
PIP    := $(VENV)/bin/pip --quiet --disable-pip-version-check
PYTEST := $(VENV)/bin/python -m pytest -q
BUILT  := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)

.PHONY: demo test build release clients java format lint tidy deny unit oracles e2e soak fuzz bench clean

demo: clients build
	$(VENV)/bin/python compat/demo.py --cairn $(BUILT)/debug/cairn --aws $(VENV)/bin/aws

test: format lint tidy deny unit oracles e2e
	@echo "all checks passed"

build:
	$(CARGO) build --locked

release:
	$(CARGO) build --locked --release

# The real clients, pinned, in a virtual environment of the project's own.
clients: $(VENV)/.installed

$(VENV)/.installed: compat/requirements.txt
	@# Debian keeps what makes virtual environments in a package of its own.
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); apt-get update --quiet=2; \
		apt-get install --yes --quiet=2 --no-install-recommends python3-venv && $(PYTHON) -m venv $(VENV); }
	$(PIP) install -r compat/requirements.txt
	touch $@

# Java for AWS's own processing library: Debian's where it may be installed; without one its suite is skipped.
java:
	@command -v java >/dev/null && command -v mvn >/dev/null || { \
		[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
		apt-get install --yes --quiet=2 --no-install-recommends default-jdk-headless maven >/dev/null 2>&1; } || \
		echo "no JVM or no Maven here: AWS's processing library will not be run"

format:
	$(CARGO) fmt --all --check

lint:
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

tidy:
	$(CARGO) run --locked --quiet -p xtask -- tidy

# Licences and sources of every dependency; advisories too, where their database can be reached.
DENY := $(or $(shell command -v cargo-deny),$(CURDIR)/.tools/bin/cargo-deny)

deny: $(DENY)
	$(DENY) --log-level error check licenses bans sources
	@if said=$$($(DENY) --log-level error check advisories 2>&1); then echo "advisories ok"; \
	elif echo "$$said" | grep -q 'failed to fetch advisory database'; then \
		echo "advisories skipped: their database cannot be reached from here"; \
	else echo "$$said"; exit 1; fi

$(CURDIR)/.tools/bin/cargo-deny:
	$(CARGO) install --locked --quiet --root $(CURDIR)/.tools --version 0.20.2 cargo-deny

unit:
	$(CARGO) test --locked --workspace

# Foreign implementations as judges of parts: botocore of the codec and the signatures, awscli of the digests.
oracles: clients
	$(CARGO) build --locked --workspace --examples
	CAIRN_TARGET=$(BUILT)/debug $(PYTEST) compat/wire compat/sigv4 compat/trail

# Foreign clients against the real binary.
e2e: clients java build
	$(CARGO) build --locked -p cairn-processing --examples
	@# Two at a time, each with servers of its own: most of the time goes into waiting and into clients that start.
	CAIRN_BIN=$(BUILT)/debug/cairn $(PYTEST) --numprocesses 2 --dist loadfile compat/e2e

# New seeds of the simulation for half of SECONDS; then load, SIGKILL, restart and the checks of compat/crash for SECONDS, from SEED on; with SECONDS=0 that seed only.
SECONDS ?= 60

soak: clients build
	CAIRN_SOAK_SECONDS=$$(($(SECONDS) / 2)) $(CARGO) test --locked --quiet -p cairn-trail --test it simulation::soak -- --ignored --nocapture
	$(VENV)/bin/python compat/crash/rounds.py --cairn $(BUILT)/debug/cairn --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

# libFuzzer over every target, or TARGET alone, for SECONDS in all. What it keeps besides the seeds lies under the build's
# folder; an input that fails, under fuzz/regressions, where `make unit` runs it from then on. Coverage is instrumented by
# flags that the stable compiler keeps for itself.
FUZZ_TARGETS := $(or $(TARGET),$(basename $(notdir $(wildcard fuzz/libfuzzer/targets/*.rs))))
FUZZ_BUILT   := $(abspath $(BUILT))/libfuzzer
FUZZ         := RUSTC_BOOTSTRAP=1 $(CURDIR)/.tools/bin/cargo-fuzz

fuzz: $(CURDIR)/.tools/bin/cargo-fuzz
	$(FUZZ) build --fuzz-dir fuzz/libfuzzer --sanitizer none --target-dir $(FUZZ_BUILT)
	@for target in $(FUZZ_TARGETS); do \
		mkdir -p $(FUZZ_BUILT)/corpus/$$target fuzz/regressions/$$target; \
		$(FUZZ) run --fuzz-dir fuzz/libfuzzer --sanitizer none --target-dir $(FUZZ_BUILT) $$target \
			$(FUZZ_BUILT)/corpus/$$target fuzz/corpus/$$target fuzz/regressions/$$target -- \
			-max_total_time=$$(( $(SECONDS) / $(words $(FUZZ_TARGETS)) + 1 )) -max_len=4096 -timeout=20 \
			-artifact_prefix=$(CURDIR)/fuzz/regressions/$$target/ -print_final_stats=1 || exit 1; \
	done

$(CURDIR)/.tools/bin/cargo-fuzz:
	$(CARGO) install --locked --quiet --root $(CURDIR)/.tools --version 0.13.2 cargo-fuzz

# Everything, or PARTS of it; the numbers are kept in the build's folder as well.
bench: clients release
	$(CARGO) build --locked --release -p cairn --example load
	$(CARGO) build --locked --release -p cairn-core --example bench_policy --example bench_rules --example bench_filter_patterns
	$(CARGO) build --locked --release -p cairn-processing --example bench_processing
	$(VENV)/bin/python compat/bench.py --cairn $(BUILT)/release/cairn --load $(BUILT)/release/examples/load \
		--json $(BUILT)/bench.json $(if $(PARTS),--parts $(PARTS))

clean:
	rm -rf $(VENV) .tools target
