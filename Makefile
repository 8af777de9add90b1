# The project's commands; each works alone on a fresh Debian 12 machine. `make help` lists them. The build itself is
# CMake's (CMakeLists.txt, CMakePresets.json); this only puts set-up, configure, build and run in a row.
SHELL := /bin/bash
.DEFAULT_GOAL := build
.NOTPARALLEL:
.PHONY: help setup venv configure build test demo bench fuzz soak torch-suite gpu-pack gpu-test gpu-bench install clean

PRESET ?= dev
JOBS ?= $(shell nproc)
TEST_JOBS ?= $(JOBS)
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 1800
BUILD_DIR := $(if $(filter dev,$(PRESET)),build,build-$(PRESET))

help:
	@echo 'make build    install what is missing, configure, build everything into build/'
	@echo 'make test     the same, then run all tests'
	@echo 'make demo     the same for what the main job needs, then run it (at most 2 minutes)'
	@echo 'make bench    the same, then run the benchmarks of README'
	@echo 'make fuzz     install clang, build the fuzz targets, run each for FUZZ_SECONDS of CPU time (now $(FUZZ_SECONDS));'
	@echo '              goes on where it was; FUZZ_TARGETS, FUZZ_JOBS, FUZZ_FRESH=1: see tests/fuzz/run.sh'
	@echo 'make soak     the long forms of the tests, in parts that can be resumed (SOAK_ARGS="--list", "--parts chaos,sim",'
	@echo '              "--minutes 60", "--table"); fuzz parts want `make fuzz` to have been run once'
	@echo 'make install  build, then install below PREFIX (now $(PREFIX))'
	@echo 'make venv     the Python environment .venv (REGROUP_TORCH=torch==X.Y.Z picks the torch)'
	@echo 'make torch-suite  PyTorch'"'"'s own test of backends under the name regroup (SUITE_ARGS="--ranks 4", names of tests)'
	@echo 'make gpu-test on a machine with a GPU and nvcc 13: build for it, run PART=kernels, plans, kills, nccl or ucx on it; gpu-pack makes build/gpu-deps.tar.gz, which'
	@echo '              such a machine may take the Debian packages from (REGROUP_GPU_DEPS=FILE)'
	@echo 'make gpu-bench  the same machine: kernels beside the device'"'"'s own copy, ranks that share it, recovery (or PART=kernels, ranks, recovery), into bench/results'
	@echo 'make clean    remove the build folders'
	@echo 'Settings: PRESET=dev|release|minimal|asan|tsan (now $(PRESET)), JOBS (now $(JOBS)), TEST_JOBS,'
	@echo '          DEMO_ARGS, BENCH_ARGS, CTEST_ARGS, REGROUP_NO_APT=1 (no package is checked or installed)'

setup:
	@tools/setup/apt.sh

venv:
	@tools/setup/python.sh

configure: setup
	@cmake --preset $(PRESET)

build: configure
	@cmake --build --preset $(PRESET) -j $(JOBS)

test: build
	@ctest --preset $(PRESET) -j $(TEST_JOBS) $(CTEST_ARGS)

demo: configure
	@cmake --build --preset $(PRESET) -j $(JOBS) --target demo
	@if [[ ! -x $(BUILD_DIR)/bin/digits_demo ]]; then \
	  echo 'make demo: error: $(BUILD_DIR)/bin/digits_demo was not built: is examples/ complete?' >&2; exit 1; fi
	@$(BUILD_DIR)/bin/digits_demo $(DEMO_ARGS)

bench: build
	@if [[ ! -f bench/run.sh ]]; then echo 'make bench: error: there is no bench/run.sh' >&2; exit 1; fi
	@BUILD_DIR=$(BUILD_DIR) bash bench/run.sh $(BENCH_ARGS)

fuzz:
	@tools/setup/apt.sh tools/setup/apt-packages.txt tools/setup/apt-fuzz.txt
	@cmake --preset fuzz
	@cmake --build --preset fuzz -j $(JOBS)
	@tests/fuzz/run.sh build-fuzz $(FUZZ_SECONDS) $(FUZZ_TARGETS)

soak: build
	@tests/soak/soak.py $(BUILD_DIR) $(SOAK_ARGS)

torch-suite: setup
	@tests/python/run.sh $(CURDIR)/$(BUILD_DIR)/python --install-only
	@cd $(BUILD_DIR)/python && $(CURDIR)/.venv/bin/python -B $(CURDIR)/tests/torch_suite/suite.py $(SUITE_ARGS)

gpu-pack:
	@tools/gpu/pack.sh build/gpu-deps.tar.gz

gpu-test:
	@tools/gpu/test.sh $(or $(PART),kernels)

gpu-bench:
	@tools/gpu/bench.sh $(PART)

install: build
	@cmake --install $(BUILD_DIR) --prefix $(PREFIX)

clean:
	@rm -rf build build-release build-minimal build-asan build-tsan build-fuzz build-gpu
