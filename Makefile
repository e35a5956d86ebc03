.DEFAULT_GOAL := help
.PHONY: help run demo-adopt test test-web test-fleet test-fleet-random test-starts test-adopt simulate replay fuzz bench fmt lint

help: ## this list
	@sed -n 's/^\([a-z-]*\): .*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 20

# The tests wait for the service far more than they compute: eight at a time take half as long as two. The scenarios of the fleet run
# one at a time; a second one gets its servers ready meanwhile.
export RUST_TEST_THREADS ?= 8
FLEET_TESTS = RUST_TEST_THREADS=2 cargo test --locked --test fleet

# Optimized: a schedule takes a fifth of the time so.
SIMULATION = cargo test --locked --config profile.dev.package.facility-summary.opt-level=1 --test simulation -- --nocapture

run: ## build and serve a demo on SQLite; prints its address
	cargo run --profile demo --locked -- serve --demo

demo-adopt: ## the database of a hospital, for docs/adopt.md; runs until Ctrl-C, and leaves nothing
	tests/install-deps.sh
	examples/adopt/demo.sh

test: ## install what the tests need, run them all, hold the service to its OpenAPI document and to HTTP, and the client for browsers to both
	tests/install-deps.sh
	cargo test --workspace --locked --lib --bins --test structure --test api --test adopt
	$(FLEET_TESTS)
	SCHEDULES=$(or $(SCHEDULES),30000) $(SIMULATION)
	tests/schemathesis/run.sh
	tests/schemathesis/roles.sh
	tests/redbot/run.sh
	web/test.sh

test-web: ## of those, only the client for browsers: its parts, the whole against the service, and in Chromium
	tests/install-deps.sh
	web/test.sh

test-fleet: ## of those, only the fleet under faults: minutes; FLEET=name runs the scenarios whose names have it
	tests/install-deps.sh
	$(FLEET_TESTS) -- --nocapture $(FLEET)

test-fleet-random: ## not part of those: a fleet whose directory moves, in random rounds for MINUTES (10), from SEED on, of a KIND (all zones removals banks lists figures), with FACILITIES
	tests/install-deps.sh
	MINUTES=$(MINUTES) SEED=$(SEED) KIND=$(KIND) FACILITIES=$(FACILITIES) SECONDS=$(SECONDS) FAULTS=$(FAULTS) \
	    $(FLEET_TESTS) -- --ignored --nocapture random_rounds

test-adopt: ## of those, only the service beside other owners' databases, whose programs write for SECONDS (600); SCHEMA=name of those in tests/adopt, or by_triggers, by_rebuild
	tests/install-deps.sh
	ADOPT_SECONDS=$(or $(SECONDS),600) cargo test --locked --test adopt -- --nocapture $(SCHEMA)

test-starts: ## not of those: STARTS first replicas (1000), each under a trouble of its own beside busy processes; SEED=n is the first
	tests/install-deps.sh
	STARTS=$(STARTS) SEED=$(SEED) cargo test --locked --test starts -- --nocapture

simulate: ## of those, only the simulated fleet: SCHEDULES random schedules (100000; 30000 in `make test`), and each rule of the protocol broken (MUTANT=Name: only that)
	$(SIMULATION)

replay: ## one of these schedules, step by step: SEED=n, and MUTANT=Name to break a rule
	SEED=$(SEED) MUTANT=$(MUTANT) $(SIMULATION) no_answer

fuzz: ## feed a parser random input: TARGET=events, headers, queries, tokens or import, for SECONDS (600); what fails is kept in fuzz/artifacts
	@cargo fuzz --version >/dev/null 2>&1 || { echo "cargo-fuzz is missing; install it: cargo install cargo-fuzz --locked"; exit 1; }
	@c++ --version >/dev/null 2>&1 || { echo "a C++ compiler is missing, libFuzzer needs one; on Debian: apt-get install g++"; exit 1; }
	@test -f fuzz/fuzz_targets/$(TARGET).rs || { echo "say which: make fuzz TARGET=events (or headers, queries, tokens, import) SECONDS=600"; exit 1; }
	mkdir -p fuzz/found/$(TARGET)
	cargo fuzz run --sanitizer none $(TARGET) fuzz/found/$(TARGET) fuzz/corpus/$(TARGET) -- \
		-dict=fuzz/dictionaries/$(TARGET).dict -max_total_time=$(or $(SECONDS),600) -max_len=4096 -timeout=10

bench: ## measure, and print the figures beside what they are compared to
	load-tests/bench.sh

fmt: ## format the code
	cargo fmt
	cargo fmt --manifest-path load-tests/Cargo.toml
	cargo fmt --manifest-path fuzz/Cargo.toml

lint: ## format check, clippy with warnings as errors, and what dependencies may be
	cargo fmt --check
	cargo fmt --check --manifest-path load-tests/Cargo.toml
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy --test simulation --test starts --test access_cost --locked -- -D warnings # not among all targets
	tests/deny/run.sh
