# Darkroom.  `make help` lists the targets.
#
#     base -> kernels -> ops -> model      libdarkroom.a     the engine: it knows no Kafka, no protobuf and no libvips
#     base -> scheduler                    libscheduler.a    which jobs run together
#     proto, worker                        libworker.a       jobs, Kafka, pictures
#     worker/program/main.c                darkroom          the program
#
# Everything that is built goes under build/: build/release/darkroom is the program.
#
# This file says what the program is made of.  How each part is built, tested and measured stands in mk/, a file for each subject.
#
# Variables for the command line, for example `make CUDA=0 V=1 build`:
#
#     CONFIG=release        or asan, ubsan, tsan: a sanitizer.  Each has a folder of its own under build/
#     CUDA=0                build without the GPU backend, also where the CUDA toolkit is found
#     CUDA_HOME=FOLDER      the CUDA toolkit to use
#     RDKAFKA=newest        build with the librdkafka that `make librdkafka` makes, in a folder of its own
#     CFLAGS="-O2 -g"       how to optimise
#     V=1                   show whole commands

CONFIG  ?= release
RDKAFKA ?=
CC      ?= gcc
CFLAGS  ?= -O2 -g
BUILD   := build/$(CONFIG)$(RDKAFKA:%=-%)

# What the program and its tests need from Debian 12.  After a change here the next make installs what is missing.
PACKAGES := gcc g++ make pkg-config libdnnl-dev libjansson-dev libutf8proc-dev librdkafka-dev \
            libprotobuf-c-dev protobuf-c-compiler libvips-dev libpango1.0-dev libpng-dev zlib1g-dev libmicrohttpd-dev \
            libcurl4-openssl-dev libssl-dev libcmocka-dev

.DEFAULT_GOAL := build
.DELETE_ON_ERROR:
.SECONDARY:

include mk/config.mk   # compiler and linker flags
include mk/toolkit.mk  # finds the libraries and the CUDA toolkit, and fetches what is missing

# --- What the program is made of -------------------------------------------------------

# The engine.  The host loops in kernels/*_isa.c are compiled once for each instruction set, and one is chosen at run time
# (kernels/isa.h).  All other files are compiled for any x86-64.
ISA_SOURCES   := $(wildcard kernels/*_isa.c)
CU_SOURCES    := $(wildcard kernels/*.cu)
LIB_SOURCES   := $(wildcard base/*.c ops/cpu/*.c model/*.c) $(filter-out ops/cuda_absent.c,$(wildcard ops/*.c)) \
                 $(filter-out $(ISA_SOURCES),$(wildcard kernels/*.c)) \
                 $(if $(CUDA_HOME),$(wildcard ops/cuda/*.c),ops/cuda_absent.c)
SCHED_SOURCES := $(wildcard scheduler/*.c)

# The worker.  protoc-c makes C from the message definitions.
PROTOS        := $(wildcard proto/darkroom/v1/*.proto)
WORK_SOURCES  := $(filter-out worker/program/main.c,$(wildcard worker/*/*.c))

include mk/compile.mk  # from a source to an object

LIB_OBJECTS   := $(call objects,$(LIB_SOURCES)) $(call isa_objects,$(ISA_SOURCES)) $(if $(CUDA_HOME),$(call cu_objects,$(CU_SOURCES)))
SCHED_OBJECTS := $(call objects,$(SCHED_SOURCES))
PROTO_OBJECTS := $(PROTOS:%.proto=$(BUILD)/%.pb-c.o)
WORK_OBJECTS  := $(call objects,$(WORK_SOURCES)) $(PROTO_OBJECTS)

$(BUILD)/libdarkroom.a: $(LIB_OBJECTS) build/cuda-home
$(BUILD)/libscheduler.a: $(SCHED_OBJECTS)
$(BUILD)/libworker.a: $(WORK_OBJECTS)
$(BUILD)/%.a:
	@rm -f $@
	$(call say,AR,$@)ar rcs $@ $(filter %.o,$^)

ENGINE_ARCHIVES  := $(BUILD)/libdarkroom.a
SERVICE_ARCHIVES := $(BUILD)/libworker.a $(BUILD)/libscheduler.a $(BUILD)/libdarkroom.a $(SANITIZER_OBJECTS)

$(BUILD)/darkroom: $(BUILD)/worker/program/main.o $(SERVICE_ARCHIVES)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) $^ $(SERVICE_LIBS) $(ENGINE_LIBS) -o $@

# --- The targets for a first look ------------------------------------------------------

.PHONY: help setup build demo clean FORCE

# A target's text stands on its line: `target: what it needs ## GROUP: text`.
help: ## first: Show this list
	@awk -f tools/make_help.awk Makefile mk/tests.mk $(filter-out Makefile mk/tests.mk,$(MAKEFILE_LIST))

setup: ## package: Install the Debian packages that are missing
	@tools/setup.sh $(PACKAGES)

build: $(BUILD)/darkroom ## first: Build the program: build/release/darkroom

# The demo draws with the model that ships with the project; without it, with a model of random weights.
DEMO_MODELS ?= $(if $(wildcard models/tiny/model_index.json),models,tests/goldens/models)
ifeq ($(MAKE_RESTARTS)$(filter demo,$(MAKECMDGOALS)),demo)
$(info demo: first the build, once: less than a minute on two cores. Debian packages that are missing are installed before it.)
$(info demo: nothing else is fetched: the model is in models/tiny. Drawing takes about 10 seconds.)
endif
demo: build ## first: Run broker, worker and clients in one process; pictures go to build/demo
	@$(BUILD)/darkroom demo --models $(DEMO_MODELS) --out build/demo --log-format text

clean: ## first: Remove everything that was built
	rm -rf build

# --- Everything else, by subject -------------------------------------------------------
# In this order: each file uses lists of those before it.

include mk/cuda.mk     # the GPU backend's tests: kernels on the host, a made-up CUDA runtime, a real GPU
include mk/bench.mk    # benchmarks
include mk/kafka.mk    # tests and benchmark with a real Kafka broker
include mk/fuzz.mk     # fuzzers, and their files as tests
include mk/tests.mk    # `make test`, sanitizers, mutants
include mk/lint.mk     # lint and format
include mk/install.mk  # `make install`
include mk/gpu_kit.mk  # tests and benchmarks packed for a machine with a GPU and no network

-include $(shell find $(BUILD) build/cu -name '*.d' 2>/dev/null)
