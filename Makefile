.DEFAULT_GOAL := help
.PHONY: help run test test-fleet simulate replay bench fmt lint

help: ## this list
	@sed -n 's/^\([a-z-]*\): .*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

run: ## build and serve a demo on SQLite; prints its address
	cargo run --release --locked -- serve --demo

test: ## install what the tests need, run them all, hold the service to its OpenAPI document
	tests/install-deps.sh
	cargo test --workspace --locked
	tests/schemathesis/run.sh

test-fleet: ## of those, only the fleet under faults: minutes; FLEET=name runs the scenarios whose names have it
	tests/install-deps.sh
	cargo test --locked --test fleet -- --nocapture $(FLEET)

# Optimized, which takes as long to build as it saves, and much less when built again.
SIMULATION = cargo test --locked --config profile.dev.package.facility-summary.opt-level=1 --test simulation -- --nocapture
SCHEDULES ?= 6000

simulate: ## of those, only the simulated fleet, under SCHEDULES random schedules, and with each rule of the protocol broken
	SCHEDULES=$(SCHEDULES) $(SIMULATION)

replay: ## one of these schedules, step by step: SEED=n, and MUTANT=Name to break a rule
	SEED=$(SEED) MUTANT=$(MUTANT) $(SIMULATION) no_answer

bench: ## measure, and print the figures beside what they are compared to
	load-tests/bench.sh

fmt: ## format the code
	cargo fmt
	cargo fmt --manifest-path load-tests/Cargo.toml

lint: ## format check, and clippy with warnings as errors
	cargo fmt --check
	cargo fmt --check --manifest-path load-tests/Cargo.toml
	cargo clippy --workspace --all-targets --locked -- -D warnings
