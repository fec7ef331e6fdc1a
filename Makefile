# Each target is one line; what it needs installs itself (.ci/setup says what and why).
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test serve web lint fmt bench docs setup setup-test test-rust test-python test-web test-unit verify-media verify-switch verify-load verify-quality verify-web pictures coverage-rust fuzz fuzz-rust fuzz-python mutants pins wheel ci
export UV_PYTHON_DOWNLOADS := never
export UV_LINK_MODE := copy
RUN := .ci/uv run --no-sync

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: setup ## set up, run a call that switches and a group call, print the verdicts and where the report is
	$(RUN) meeshy simulate demo

RUST_TESTS ?= test-rust
test: setup-test $(RUST_TESTS) test-web test-python ## set up and pass all tests

serve: setup ## run the media server in development mode (Ctrl-C ends it)
	$(RUN) meeshy serve

web: ## build the web client into meeshy_sfu/web (needs Node 20 or newer)
	@.ci/web must

lint: setup ## formatting, types, import contracts, stub, clippy, tree rules
	.ci/lint

fmt: setup ## format Rust and Python
	cargo fmt --all && $(RUN) ruff check -q --fix-only . && $(RUN) ruff format -q .

bench: ## CPU per forwarded packet against the raw kernel limit, in one run
	cargo run --release --locked -q -p meeshy-sfu-bench

docs: setup ## check that the documentation says what the program does
	$(RUN) pytest tests/docs

verify-web: setup-test ## the page in Chromium: twenty calls that switch there and back, controls, comebacks
	MEESHY_TEST_WEB_REPEATS=20 $(RUN) pytest tests/web -q

verify-media: setup-test ## the full figures: 50-bot mesh, join storm, impairment, churn, interop
	$(RUN) python scripts/verify_media.py

verify-load: setup ## the full figures of load tests: verdicts beside busy neighbours, emulated jitter, every fault of the self-test
	$(RUN) python scripts/verify_load.py

verify-quality: ## 10,000 switches of encodings per codec and link in virtual time, under a model decoder
	MEESHY_TEST_QUALITY_SWITCHES=$${QUALITY_SWITCHES:-10000} cargo test --release --locked -q -p meeshy-sfu-proto --test router_quality -- --nocapture

verify-switch: setup ## the full figures of calls that switch: 200 changes each way, churn with deaths, storm
	$(RUN) python scripts/verify_switch.py

test-rust:
	cargo test --workspace --locked -q

test-python:
	PYTEST_ARGS='$(PYTEST_ARGS)' .ci/test-python

test-web: ## the web client: formatting, types, lint, wire types that are up to date, unit tests
	@.ci/web test

test-unit: setup ## the tests without sockets, in less than a minute
	$(RUN) pytest tests/unit -q -n $$(nproc)

pictures: setup ## renew the pictures of the README from real runs
	$(RUN) python scripts/pictures.py

coverage-rust: ## the Rust tests with line coverage (installs cargo-tarpaulin once)
	.ci/coverage-rust

setup: ## Python environment and release build of the extension
	@.ci/setup core

setup-test:
	@.ci/setup test

fuzz: fuzz-rust fuzz-python ## everything that reads what others send, long; prints inputs per second

fuzz-rust: ## FUZZ_INPUTS of each target of the media core, a tenth where each is a handshake or a call
	MEESHY_TEST_FUZZ_INPUTS=$${FUZZ_INPUTS:-10000000} cargo test --release --locked -q -p meeshy-sfu-proto \
	  --test fuzz_regressions -- --nocapture --test-threads=1 mutations
	MEESHY_TEST_FUZZ_INPUTS=$${FUZZ_INPUTS:-10000000} cargo test --release --locked -q -p meeshy-sfu-io -p meeshy-sfu-worker \
	  --lib -- --nocapture --test-threads=1 fuzz

fuzz-python: setup ## readers of outside input in Python: FUZZ_PYTHON_INPUTS of each, prints inputs per second
	MEESHY_TEST_FUZZ_INPUTS=$${FUZZ_PYTHON_INPUTS:-100000} $(RUN) python -m tests.fuzz

mutants: setup ## small faults put into a copy of the code: which of them no test notices (MUTANTS_ALL=1 for all)
	.ci/mutants $(AREAS)

pins: ## renew requirements/dev.txt (names, versions, hashes; no registry address)
	.ci/uv lock -q && .ci/uv export -q --frozen --all-extras --all-groups --no-emit-project --no-header --no-annotate -o requirements/dev.txt

wheel: setup ## a wheel with the shipping profile in dist/
	.ci/uv build -q --wheel -C=--profile=dist

ci: ## what CI runs
	CI=true bash .ci/run
