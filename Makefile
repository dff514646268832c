# make run    build everything, start Narthex on config/, leave it running
# make stop   stop it
# make test   build what the tests need, run every test
# make build  the agent at $(TARGET)/release/narthex, the plugins at $(TARGET)/plugins/
# make lint   formatting and lints, warnings denied
# make torture     kill the server a hundred times under load; nothing may be lost
# make bench-tsdb  the store beside Prometheus's on the same load; BENCH="--targets 1000" changes it

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.SILENT:
.DEFAULT_GOAL := build

TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
export CARGO_TARGET_DIR := $(TARGET)
ADDRESS := 127.0.0.1:9090
LOG := data/narthex.log
PID := data/narthex.pid

.PHONY: run stop build agent plugins test lint side-by-side torture bench-tsdb

run: build stop
	mkdir -p config/plugins data
	for plugin in $(TARGET)/plugins/*.wasm; do
		cmp -s "$$plugin" "config/plugins/$${plugin##*/}" || cp "$$plugin" config/plugins/
	done
	: > $(LOG)
	nohup $(TARGET)/release/narthex --config.file config/prometheus.yml \
		--storage.tsdb.path data --web.listen-address $(ADDRESS) --web.enable-lifecycle \
		< /dev/null >> $(LOG) 2>&1 &
	echo $$! > $(PID)
	for _ in {1..300}; do
		if grep -q '^Narthex .* is ready' $(LOG); then
			grep -A 40 '^Narthex .* is ready' $(LOG) | sed '/^$$/q'
			echo "Its log is in $(LOG); make stop ends it."
			exit 0
		fi
		kill -0 $$(cat $(PID)) 2> /dev/null || { cat $(LOG) >&2; rm -f $(PID); exit 1; }
		sleep 0.1
	done
	echo "Narthex is not ready after 30 s; its log is in $(LOG)" >&2
	exit 1

stop:
	test -f $(PID) || exit 0
	pid=$$(cat $(PID))
	rm -f $(PID)
	[[ "$$(readlink /proc/$$pid/exe 2> /dev/null)" == *narthex* ]] || exit 0
	kill $$pid
	for _ in {1..200}; do kill -0 $$pid 2> /dev/null || exit 0; sleep 0.1; done
	echo "process $$pid does not end" >&2
	exit 1

build: agent plugins

agent:
	echo "Building the agent (the first time this takes some minutes)"
	cargo build --release -p narthex

plugins:
	plugins/build.sh

test: plugins
	tools=$$(tests/get-tools.sh)
	NARTHEX_TEST_TOOLS=$$tools cargo test --workspace

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

side-by-side: agent
	cargo build --release -p narthex-side-by-side

torture: side-by-side
	$(TARGET)/release/narthex-side-by-side torture --narthex $(TARGET)/release/narthex $(TORTURE)

bench-tsdb: side-by-side
	tools=$$(tests/get-tools.sh)
	$(TARGET)/release/narthex-side-by-side tsdb --narthex $(TARGET)/release/narthex --tools $$tools $(BENCH)
