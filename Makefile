# `make` prints what there is to do. Everything a target needs it installs: Debian packages by apt
# (as root, or through sudo), Python packages into .venv.

VENV := .venv
BIN := $(VENV)/bin
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
SOURCES := $(shell find src core bpf native meson.build pyproject.toml -type f \
	-not -path '*/__pycache__/*' 2>/dev/null)
PACKAGES := gcc make clang llvm clang-format bpftool libbpf-dev libc6-dev python3-dev python3-venv \
	curl iperf3 iproute2 iputils-ping netcat-openbsd nftables
# Shells that `make test` runs completion scripts in, beside bash.
TEST_PACKAGES := zsh fish
# What `make test-kernels` boots kernels with.
KERNEL_PACKAGES := qemu-system-x86 busybox-static cpio xz-utils kmod
# What `make bench` compares with, from Debian; the Python part is the extra `bench`.
BENCH_PACKAGES := iproute2 iptables libnetfilter-queue-dev libnfnetlink-dev nfdump pmacct softflowd
# A world of its own: its network, its /run and its processes end with it.
WORLD := $(SUDO) env NETSONDE_TRACES="$$NETSONDE_TRACES" unshare --mount --net --pid --fork --mount-proc \
	sh -c 'mount -t tmpfs tmpfs /run && exec "$$0" "$$@"' $(BIN)/python
BENCH := $(WORLD) -m
MINUTES := 2
C_FILES := core/*.h bpf/*.h bpf/*.c native/*.h native/*.c native/tests/*.h native/tests/*.c \
	native/fuzz/*.c benchmarks/*/*.h benchmarks/*/*.c
FUZZ_CC := clang -fsanitize=fuzzer,address,undefined
FUZZ_S := 10
FUZZ := -max_total_time=$(FUZZ_S) -timeout=5 -rss_limit_mb=1024 -print_final_stats=1 \
	-artifact_prefix=build/fuzz/
FUZZ_TARGETS := http-body http-query http-bytes peer-frame child-frame monitor-reply monitor-frame \
	part state kept

.PHONY: help setup demo demo-mininet test test-c test-fast test-kernel test-kernels test-lab docs fuzz soak bench bench-smoke check format abi openapi clean
.DEFAULT_GOAL := help

help: ## print this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup: $(VENV)/installed ## install what is needed, build, and install netsonde into .venv

demo: setup ## build a lab of nine hosts and watch it measure itself (about a minute)
	$(SUDO) $(BIN)/python examples/demo.py

demo-mininet: setup ## the same on Mininet with Linux bridges
	@dpkg -s mininet bridge-utils >/dev/null 2>&1 || \
		$(SUDO) apt-get install -y -q --no-install-recommends mininet bridge-utils
	$(SUDO) unshare --net /usr/bin/python3 examples/mininet/mt.py --demo

test: $(VENV)/shells test-c test-fast test-kernel test-lab ## all tests; as root none is skipped

test-c: $(VENV)/installed ## core/'s own tests, under ASan and UBSan
	PATH="$(CURDIR)/$(BIN):$$PATH" meson test -C build/wheel --suite core --print-errorlogs

test-fast: $(VENV)/installed ## no root, no network
	$(BIN)/python -m pytest -n auto tests/unit tests/golden

test-kernel: $(VENV)/installed ## the programs in the kernel
	$(SUDO) $(BIN)/python -m pytest tests/kernel

test-lab: $(VENV)/installed ## namespaces and real traffic
	$(SUDO) $(BIN)/python -m pytest tests/lab

docs: $(VENV)/installed ## run what the documentation prints, and check where it links
	$(SUDO) $(BIN)/python -m pytest tests/docs

fuzz: build/fuzz/frame build/fuzz/capture $(VENV)/installed ## fuzz parsers and daemons, FUZZ_S=10 s each
	@python3 tests/captures.py build/fuzz/seeds
	@for run in "frame frame" "capture pcap" "capture pcapng"; do \
		set -- $$run; mkdir -p build/fuzz/corpus/$$2; log=build/fuzz/$$2.log; \
		build/fuzz/$$1 $(FUZZ) build/fuzz/corpus/$$2 build/fuzz/seeds/$$2 2>$$log || \
			{ cat $$log; exit 1; }; \
		sed -n "s/^stat::number_of_executed_units: */$$2, $(FUZZ_S) s: no crash in runs: /p" $$log; \
	done
	@for target in $(FUZZ_TARGETS); do \
		mkdir -p build/fuzz/corpus/$$target; log=build/fuzz/$$target.log; \
		$(BIN)/python tests/fuzz/fuzz.py $$target $(FUZZ) -timeout=20 build/fuzz/corpus/$$target \
			>$$log 2>&1 || { grep -v '^#' $$log | tail -60; exit 1; }; \
		sed -n "s/^stat::number_of_executed_units: */$$target, $(FUZZ_S) s: no fault in runs: /p" $$log; \
	done

soak: $(VENV)/installed ## the lab under load, faults and attacks for MINUTES=2; of 30 or more the report is kept
	$(WORLD) tests/soak/soak.py --minutes $(MINUTES) $(if $(shell [ $(MINUTES) -ge 30 ] && echo long),--record)

bench: $(VENV)/bench ## measure against what netsonde replaces; writes docs/reference/benchmarks*.md
	$(BENCH) benchmarks.data_path
	$(BENCH) benchmarks.answers

bench-smoke: $(VENV)/bench ## the same with tiny sizes, in seconds, writing nothing
	$(BENCH) benchmarks.data_path --smoke
	$(BENCH) benchmarks.answers --smoke

test-kernels: $(VENV)/installed ## the same on other kernels, in a virtual machine (KERNELS="6.1 6.12")
	@missing=$$(for p in $(KERNEL_PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -n "$$missing" ]; then \
		$(SUDO) apt-get update -q && $(SUDO) apt-get install -y -q --no-install-recommends $$missing; \
	fi
	$(SUDO) $(BIN)/python tests/kernels/matrix.py $(or $(KERNELS),--record)

check: $(VENV)/installed ## linters, types, import contracts, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=src $(BIN)/lint-imports
	$(BIN)/python .ci/abi.py --check
	$(BIN)/python .ci/openapi.py --check
	$(BIN)/python .ci/house.py
	clang-format --dry-run -Werror $(C_FILES)

format: $(VENV)/installed ## put every file into its standard form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only .
	clang-format -i $(C_FILES)

abi: $(VENV)/installed ## generate the Python side of core/abi.h
	$(BIN)/python .ci/abi.py

openapi: $(VENV)/installed ## generate the OpenAPI document of /v1 from its handlers
	$(BIN)/python .ci/openapi.py

clean: ## remove what was built and installed here
	rm -rf $(VENV) build

# Only what is missing, so that a second run asks nobody for anything.
define install-debian
	@missing=$$(for p in $(1); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -n "$$missing" ]; then \
		echo "installing Debian packages:" $$missing; \
		$(SUDO) apt-get update -q && $(SUDO) apt-get install -y -q --no-install-recommends $$missing; \
	fi
endef

$(VENV)/packages:
	$(call install-debian,$(PACKAGES))
	@mkdir -p $(VENV) && touch $@

$(VENV)/shells: $(VENV)/packages
	$(call install-debian,$(TEST_PACKAGES))
	@touch $@

# Where clang's own package leaves the fuzzing runtime out, it has a package of clang's version.
build/fuzz/runtime: $(VENV)/packages
	@mkdir -p $(@D)
	@echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' >$@.c
	@$(FUZZ_CC) $@.c -o $@ 2>/dev/null || $(MAKE) build/fuzz/package
	@$(FUZZ_CC) $@.c -o $@

.PHONY: build/fuzz/package
build/fuzz/package:
	$(call install-debian,libclang-rt-$(shell clang -dumpversion | cut -d. -f1)-dev)

build/fuzz/%: native/fuzz/%.c native/pcap.c native/pcapng.c native/capture.h core/*.h build/fuzz/runtime
	$(FUZZ_CC) -g -O1 -Wall -Wextra -Werror -fno-sanitize-recover=all -fno-strict-aliasing \
		-Icore -Inative $< native/pcap.c native/pcapng.c -o $@

$(BIN)/meson: $(VENV)/packages pyproject.toml
	python3 -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check meson meson-python ninja
	@touch $@

$(VENV)/installed: $(BIN)/meson $(SOURCES)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pip install -q --disable-pip-version-check \
		--no-build-isolation --config-settings=build-dir=build/wheel '.[dev]'
	@touch $@

$(VENV)/bench: $(VENV)/installed
	$(call install-debian,$(BENCH_PACKAGES))
	@# It comes as source and builds with tools that are not ours, so apart from --no-build-isolation.
	$(BIN)/pip install -q --disable-pip-version-check 'netfilterqueue>=1.1'
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pip install -q --disable-pip-version-check \
		--no-build-isolation --config-settings=build-dir=build/wheel '.[bench]'
	@touch $@
