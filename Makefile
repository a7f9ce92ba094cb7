# Darkroom. `make help` lists what can be made.
#
#   base -> kernels -> ops -> model      libdarkroom.a: the engine, without Kafka
#   scheduler                            libscheduler.a: which jobs run together
#   proto + worker                       the program `darkroom`
#
# Everything built goes under build/; CONFIG (release, asan, ubsan, tsan) has its own folder.

CONFIG  ?= release
# RDKAFKA=newest: with a librdkafka of our own building (make librdkafka) in place of Debian's, in a folder of its own.
RDKAFKA ?=
BUILD   := build/$(CONFIG)$(RDKAFKA:%=-%)
FLAGS   := build/flags$(RDKAFKA:%=-%).mk
CC      ?= gcc
CFLAGS  ?= -O2 -g
WARN    := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla

SANITIZE.release :=
SANITIZE.asan    := -fsanitize=address -fno-omit-frame-pointer
# Its checks hide from gcc what ranges a number has: -Wformat-truncation then warns of any %d.
SANITIZE.ubsan   := -fsanitize=undefined -fno-sanitize-recover=undefined -Wno-format-truncation
SANITIZE.tsan    := -fsanitize=thread
SANITIZE         := $(SANITIZE.$(CONFIG))

# As Debian builds with hardening=+all (dpkg-buildflags); tests/worker/program/hardening_test.c reads it off the program.  The
# sanitizers have checks of their own.  HARDEN= HARDEN_LINK= builds without.
HARDEN.release      := -fstack-protector-strong -fstack-clash-protection -Wformat -Werror=format-security -fcf-protection \
                       -fPIE -U_FORTIFY_SOURCE $(if $(filter -O1 -O2 -O3 -Os,$(CFLAGS)),-D_FORTIFY_SOURCE=2)
HARDEN_LINK.release := -pie -Wl,-z,relro,-z,now,-z,noexecstack
HARDEN              ?= $(HARDEN.$(CONFIG))
HARDEN_LINK         ?= $(HARDEN_LINK.$(CONFIG))

# What the program needs, and what only its tests and tools need, of Debian 12.
PACKAGES := gcc g++ make pkg-config libdnnl-dev libjansson-dev libutf8proc-dev librdkafka-dev \
            libprotobuf-c-dev protobuf-c-compiler libvips-dev libpango1.0-dev libpng-dev zlib1g-dev libmicrohttpd-dev \
            libcurl4-openssl-dev libssl-dev libcmocka-dev
LINT_PACKAGES := git clang-format clang-tidy

ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE $(CFLAGS) $(WARN) $(HARDEN) $(SANITIZE) -fopenmp-simd -ffp-contract=off -fno-math-errno -pthread \
             -I. -Iinclude -I$(BUILD)/proto -MMD -MP
LDFLAGS   += $(HARDEN_LINK) $(SANITIZE) -pthread

# One after the other, though each with all cores: their tests would get in each other's way.
ifneq ($(filter asan% ubsan% tsan%,$(MAKECMDGOALS)),)
.NOTPARALLEL:
endif
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc) # unless the command line says otherwise
endif

# What a recipe makes in a line, `CC worker/jobs/job.c`; the whole commands with V=1.
say = $(if $(filter-out 0,$(V)),,@printf '%-6s %s\n' '$(1)' '$(2)';)

.DEFAULT_GOAL := build
.DELETE_ON_ERROR:
.SECONDARY:

# Remade (and make restarted) when missing: so any first target installs what it needs.
ifeq ($(filter help clean setup,$(MAKECMDGOALS)),)
include $(FLAGS)
endif
$(FLAGS): tools/setup.sh tools/flags.sh Makefile $(if $(RDKAFKA),build/librdkafka/complete)
	@mkdir -p build
	@tools/setup.sh $(PACKAGES)
	@PKG_CONFIG_PATH=$(if $(RDKAFKA),$(abspath build/librdkafka)/lib/pkgconfig:)$(PKG_CONFIG_PATH) tools/flags.sh > $@.new && mv $@.new $@
build/librdkafka/complete: tools/librdkafka.sh
	@tools/librdkafka.sh build/librdkafka
	@touch $@

# The CUDA toolkit: the one that CUDA_HOME names, the machine's if cuDNN's header is there too, or our own, which
# is fetched for what tests or lints everything.  With none, or CUDA=0, the program knows the CPU alone, and the tests
# of the GPU backend are left out, which make test says.
CUDNN_HEADER := $(firstword $(wildcard $(addsuffix /cudnn.h,/usr/local/cuda/include /usr/include /usr/include/x86_64-linux-gnu)))
CUDA_HOME    ?= $(if $(CUDNN_HEADER),$(patsubst %/bin/nvcc,%,$(wildcard /usr/local/cuda/bin/nvcc)))
ifeq ($(CUDA),0)
CUDA_HOME :=
else ifeq ($(CUDA_HOME)$(filter help clean setup,$(MAKECMDGOALS)),)
include $(if $(filter cuda-toolkit gpu-kit test-all test-gpu bench-gpu bench-gpu-peers asan ubsan tsan lint,$(MAKECMDGOALS)),build/cuda/toolkit.mk,$(wildcard build/cuda/toolkit.mk))
endif
build/cuda/toolkit.mk: tools/cuda_toolkit.sh tools/cuda_toolkit.txt | $(FLAGS)
	@tools/cuda_toolkit.sh build/cuda
	@echo 'CUDA_HOME := build/cuda' > $@

# --- objects ---------------------------------------------------------------------------

# The host loops of kernels/ are compiled once per instruction set and chosen at run time
# (kernels/isa.h); everything else for any x86-64.
ISAS         := generic avx2 avx512
ISA.generic  :=
ISA.avx2     := -mavx2 -mfma -mf16c
ISA.avx512   := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c -mprefer-vector-width=512

ISA_SOURCES   := $(wildcard kernels/*_isa.c)
LIB_SOURCES   := $(wildcard base/*.c ops/cpu/*.c model/*.c) $(filter-out ops/cuda_absent.c,$(wildcard ops/*.c)) \
                 $(filter-out $(ISA_SOURCES),$(wildcard kernels/*.c)) \
                 $(if $(CUDA_HOME),$(wildcard ops/cuda/*.c),ops/cuda_absent.c)
SCHED_SOURCES := $(wildcard scheduler/*.c)
PROTOS        := $(wildcard proto/darkroom/v1/*.proto)
WORK_SOURCES  := $(filter-out worker/program/main.c,$(wildcard worker/*/*.c))
TESTS         := $(wildcard $(patsubst %,tests/%/*_test.c,base kernels ops model scheduler cuda/shim))
WORK_TESTS    := $(filter-out $(if $(HARDEN),,tests/worker/program/hardening_test.c),$(wildcard tests/worker/*_test.c tests/worker/*/*_test.c))
KAFKA_TESTS   := $(wildcard tests/kafka/*_test.c)
CUDA_TESTS    := $(if $(CUDA_HOME),$(wildcard tests/cuda/*_test.c tests/cuda/fake/*_test.c))
GPU_TESTS     := $(if $(CUDA_HOME),$(wildcard tests/gpu/*_test.c))
BENCHES       := $(wildcard bench/*_bench.c)
FUZZERS       := $(wildcard tests/fuzz/*_fuzz.c)
REPLAYS       := $(FUZZERS:%_fuzz.c=%_replay.c)

objects = $(patsubst %.c,$(BUILD)/%.o,$(1))
LIB_OBJECTS   := $(call objects,$(LIB_SOURCES)) \
                 $(foreach isa,$(ISAS),$(patsubst %.c,$(BUILD)/%.$(isa).o,$(ISA_SOURCES))) \
                 $(if $(CUDA_HOME),$(patsubst %.cu,build/cu/%.o,$(wildcard kernels/*.cu)))
SCHED_OBJECTS := $(call objects,$(SCHED_SOURCES))
PROTO_OBJECTS := $(patsubst %.proto,$(BUILD)/%.pb-c.o,$(PROTOS))
WORK_OBJECTS  := $(call objects,$(WORK_SOURCES)) $(PROTO_OBJECTS)

define isa_rule
$(BUILD)/%.$(1).o: %.c $(BUILD)/flags-used
	@mkdir -p $$(@D)
	$$(call say,CC,$$< ($(1)))$$(CC) $$(ALL_CFLAGS) -O3 $$(ISA.$(1)) -DDR_ISA=$(1) -c $$< -o $$@
endef
$(foreach isa,$(ISAS),$(eval $(call isa_rule,$(isa))))

folder_cflags = $(if $(filter worker/% tests/worker/% tests/kafka/% bench/kafka/%,$<),$(SERVICE_CFLAGS)) \
                $(if $(filter ops/cuda/% tests/cuda/% tests/gpu/machine.c,$(filter-out tests/cuda/shim/%,$<)),$(CUDA_CFLAGS))
$(BUILD)/%.o: %.c $(BUILD)/flags-used
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) $(ENGINE_CFLAGS) $(folder_cflags) -c $< -o $@

# Device code: machine code for Ampere, Ada and Hopper, and PTX for what comes after.  No sum is contracted that the
# source does not contract, as on the host; nothing of C++ that would need its library.
CUDA_ARCHS  := 80 86 89 90a
NVCC_FLAGS  := -std=c++17 -O3 -fmad=false -lineinfo --compress-mode=size -I. -Iinclude -Werror all-warnings \
               -Xcompiler -Wall,-Wextra,-fno-exceptions,-fno-rtti,-fno-threadsafe-statics \
               $(foreach flag,$(HARDEN.release),-Xcompiler $(flag)) \
               $(foreach arch,$(CUDA_ARCHS),-gencode arch=compute_$(arch),code=sm_$(arch)) -gencode arch=compute_90,code=compute_90
CUDA_CFLAGS := -isystem $(CUDA_HOME)/include -DDR_CUDA_LIBS='"$(abspath $(CUDA_HOME)/lib64):$(abspath $(CUDA_HOME)/lib)"'
CUDA_LIBS   := $(if $(CUDA_HOME),-L$(CUDA_HOME)/lib64 -L$(CUDA_HOME)/lib -lcudart_static)
ENGINE_LIBS += $(CUDA_LIBS)
build/cu/%.o: %.cu build/cuda-home
	@mkdir -p $(@D)
	$(call say,NVCC,$<)$(CUDA_HOME)/bin/nvcc $(NVCC_FLAGS) -MMD -MP -MF $(@:.o=.d) -c $< -o $@

# The CUDA kernels on the host, for tests: no toolkit, no GPU (tests/cuda/shim/run.h).  They read pairs of values as words.
SHIM_FLAGS = -x c++ -std=gnu++17 $(CFLAGS) $(filter -fPIE,$(HARDEN)) -Wall -Wextra -Werror -Wshadow -Wno-unknown-pragmas $(SANITIZE) -ffp-contract=off \
             -fno-math-errno -fno-strict-aliasing -fno-exceptions -fno-rtti -fno-threadsafe-statics -I. -Iinclude -MMD -MP \
             -DDR_CUDA_SHIM='"tests/cuda/shim/shim.h"'
SHIM_OBJECTS := $(patsubst %.cu,$(BUILD)/%.shim.o,$(wildcard kernels/*.cu tests/cuda/shim/*.cu)) \
                $(call objects,$(filter-out %_test.c,$(wildcard tests/cuda/shim/*.c)))
# ThreadSanitizer loses its way where stacks are switched; and there is one thread.
$(SHIM_OBJECTS): SANITIZE := $(filter-out -fsanitize=thread,$(SANITIZE))
$(BUILD)/%.shim.o: %.cu
	@mkdir -p $(@D)
	$(call say,CXX,$<)$(CXX) $(SHIM_FLAGS) -c $< -o $@

$(BUILD)/%.pb-c.c $(BUILD)/%.pb-c.h: %.proto
	@mkdir -p $(@D)
	$(call say,PROTOC,$<)protoc-c -Iproto --c_out=$(BUILD)/proto $<

$(BUILD)/%.pb-c.o: $(BUILD)/%.pb-c.c $(BUILD)/flags-used
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) $(SERVICE_CFLAGS) -Wno-shadow -Wno-missing-braces -c $< -o $@

# The generated headers must be there before anything that includes them is compiled.
$(call objects,$(WORK_SOURCES) $(WORK_TESTS) $(KAFKA_TESTS) $(wildcard bench/kafka/*.c) worker/program/main.c): | $(patsubst %.proto,$(BUILD)/%.pb-c.h,$(PROTOS))

# Changes when the flags do: everything is then made again.
$(BUILD)/flags-used: FORCE
	@mkdir -p $(@D)
	@echo '$(ALL_CFLAGS) $(LDFLAGS)' | cmp -s - $@ || echo '$(ALL_CFLAGS) $(LDFLAGS)' > $@

# Changes when the toolkit does: what is made with it, or without, is then made again.
build/cuda-home: FORCE
	@mkdir -p build
	@echo '$(CUDA_HOME)' | cmp -s - $@ || echo '$(CUDA_HOME)' > $@
$(call objects,$(wildcard ops/cuda/*.c tests/cuda/*.c tests/cuda/fake/*.c) tests/gpu/machine.c): build/cuda-home

$(BUILD)/libdarkroom.a: $(LIB_OBJECTS) build/cuda-home
$(BUILD)/libscheduler.a: $(SCHED_OBJECTS)
$(BUILD)/libworker.a: $(WORK_OBJECTS)
$(BUILD)/libsupport.a: $(BUILD)/tests/support/support.o $(BUILD)/tests/support/machines.o
$(BUILD)/libcudashim.a: $(SHIM_OBJECTS)
$(BUILD)/%.a:
	@rm -f $@
	$(call say,AR,$@)ar rcs $@ $(filter %.o,$^)

ENGINE_ARCHIVES  := $(BUILD)/libdarkroom.a
SERVICE_ARCHIVES := $(BUILD)/libworker.a $(BUILD)/libscheduler.a $(BUILD)/libdarkroom.a
ifeq ($(CONFIG),tsan)
SERVICE_ARCHIVES += $(BUILD)/tests/support/tsan_c11_threads.o # librdkafka's threads, as ThreadSanitizer knows them
endif

$(BUILD)/darkroom: $(BUILD)/worker/program/main.o $(SERVICE_ARCHIVES)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) $^ $(SERVICE_LIBS) $(ENGINE_LIBS) -o $@

# The engine's tests link the engine alone: it builds without Kafka, protobuf and libvips.
$(BUILD)/tests/%_test: $(BUILD)/tests/%_test.o $(BUILD)/libsupport.a $(BUILD)/libscheduler.a $(ENGINE_ARCHIVES)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) $^ $(ENGINE_LIBS) $(TEST_LIBS) -o $@
$(BUILD)/tests/kernels/cuda_%_test: $(BUILD)/tests/kernels/cuda_%_test.o $(BUILD)/libcudashim.a $(ENGINE_ARCHIVES)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) $^ $(ENGINE_LIBS) $(TEST_LIBS) -o $@
$(BUILD)/tests/cuda/shim/%_test: $(BUILD)/tests/cuda/shim/%_test.o $(BUILD)/libcudashim.a $(ENGINE_ARCHIVES)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) $^ $(ENGINE_LIBS) $(TEST_LIBS) -o $@
# cuDNN's real kernels, where there is no driver: with one that is made up.
$(BUILD)/tests/cuda/libcuda.so.1: tests/cuda/driver.c build/cuda-home
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) -std=gnu11 $(CFLAGS) -Wall -Wextra -Werror $(CUDA_CFLAGS) -shared -fPIC -Wl,-soname,$(@F) $< -o $@
MADE_UP_DRIVER := $(addprefix $(BUILD)/tests/cuda/,dnn_conv_test dnn_attention_test)
$(MADE_UP_DRIVER): LDFLAGS += -Wl,--no-as-needed $(BUILD)/tests/cuda/libcuda.so.1 -Wl,--as-needed -Wl,-rpath,'$$ORIGIN'
$(MADE_UP_DRIVER): | $(BUILD)/tests/cuda/libcuda.so.1
# A made-up CUDA runtime and made-up libraries in place of the real ones, and our kernels on the host (all of them: they come
# before those in the engine's archive).
FAKE_CUDA := $(filter-out %_test.c,$(wildcard tests/cuda/fake/*.c))
fake_link = $(call say,LINK,$@)$(CC) $(LDFLAGS) $(filter-out $(ENGINE_ARCHIVES),$(filter %.o %/libbench.a,$^)) -Wl,--whole-archive $(BUILD)/libcudashim.a -Wl,--no-whole-archive \
	    $(BUILD)/libsupport.a $(ENGINE_ARCHIVES) $(filter-out $(CUDA_LIBS),$(ENGINE_LIBS)) $(TEST_LIBS) -o $@
$(BUILD)/tests/cuda/fake/%_test: $(BUILD)/tests/cuda/fake/%_test.o $(call objects,$(FAKE_CUDA)) $(BUILD)/libcudashim.a $(BUILD)/libsupport.a $(ENGINE_ARCHIVES)
	$(fake_link)
# One of them is about the worker's engine.
$(BUILD)/tests/cuda/fake/engine_test: $(SERVICE_ARCHIVES)
$(BUILD)/tests/cuda/fake/engine_test: ENGINE_ARCHIVES := $(SERVICE_ARCHIVES)
$(BUILD)/tests/cuda/fake/engine_test: TEST_LIBS += $(SERVICE_LIBS)
# The tests of the backend: on that machine, and on a real one.
GPU_SUPPORT := $(filter-out %_test.c tests/gpu/machine.c tests/gpu/kit.c,$(wildcard tests/gpu/*.c))
FAKE_GPU_TESTS := $(GPU_TESTS:tests/gpu/%.c=$(BUILD)/tests/cuda/fake/gpu_%)
$(FAKE_GPU_TESTS): $(BUILD)/tests/cuda/fake/gpu_%_test: $(call objects,$(GPU_SUPPORT) $(FAKE_CUDA)) $(BUILD)/tests/gpu/%_test.o $(BUILD)/libcudashim.a $(BUILD)/libsupport.a $(ENGINE_ARCHIVES)
	$(fake_link)
$(BUILD)/tests/gpu/%_test: $(BUILD)/tests/gpu/%_test.o $(call objects,$(GPU_SUPPORT) tests/gpu/machine.c) $(BUILD)/libsupport.a $(ENGINE_ARCHIVES)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) $^ $(ENGINE_LIBS) $(TEST_LIBS) -o $@
# The GPU's benchmark is one source and two programs as well.
GPU_BENCH := $(if $(CUDA_HOME),$(BUILD)/bench/gpu/gpu_bench)
FAKE_GPU_BENCH := $(if $(CUDA_HOME),$(BUILD)/tests/cuda/fake/gpu_bench)
GPU_BENCH_OBJECTS := $(call objects,$(wildcard bench/gpu/*.c))
$(BUILD)/bench/gpu/gpu_bench: $(GPU_BENCH_OBJECTS) $(call objects,tests/gpu/machine.c) $(BUILD)/libbench.a $(ENGINE_ARCHIVES)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) $^ $(ENGINE_LIBS) -o $@
$(BUILD)/tests/cuda/fake/gpu_bench: $(GPU_BENCH_OBJECTS) $(call objects,$(FAKE_CUDA)) $(BUILD)/libbench.a $(BUILD)/libcudashim.a $(BUILD)/libsupport.a $(ENGINE_ARCHIVES)
	$(fake_link)
$(BUILD)/tests/kafka/%_test: $(BUILD)/tests/kafka/%_test.o $(SERVICE_ARCHIVES)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) $^ $(SERVICE_LIBS) $(ENGINE_LIBS) $(TEST_LIBS) -o $@
$(BUILD)/tests/worker/%_test: $(BUILD)/tests/worker/%_test.o $(BUILD)/libsupport.a $(SERVICE_ARCHIVES)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) $^ $(SERVICE_LIBS) $(ENGINE_LIBS) $(TEST_LIBS) -o $@

# A fuzzer's corpus as a test; and the fuzzer itself, which is clang's: what reads untrusted
# files is compiled once more for it, without OpenMP.
$(BUILD)/tests/fuzz/%_replay: $(call objects,tests/fuzz/%_fuzz.c tests/fuzz/file.c tests/fuzz/replay.c) $(SERVICE_ARCHIVES)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) $^ $(SERVICE_LIBS) $(ENGINE_LIBS) -o $@

FUZZED := tests/fuzz/file.c $(wildcard base/*.c model/config*.c model/json*.c model/safetensors.c model/weights*.c \
            model/bpe.c model/special_tokens.c model/said_tokens.c model/token*.c model/unicode_text.c)
FUZZED.job := worker/support/text.c $(addprefix worker/jobs/,$(addsuffix .c,job job_fields job_json job_proto proto_arena result result_proto)) \
              $(wildcard model/sampler*.c) model/schedule.c $(PROTOS:%.proto=$(BUILD)/%.pb-c.c)
# Settings name what the engine has: the rest of the program is linked as it is.
FUZZED.settings := $(wildcard worker/settings/*.c) $(addprefix worker/support/,log.c secrets.c text.c text_file.c) $(SERVICE_ARCHIVES)
build/fuzz/settings_fuzz: $(SERVICE_ARCHIVES)
FUZZED.results := worker/render/results_file.c $(addprefix worker/support/,files.c log.c text.c)
FUZZED.table := $(FUZZED.job) worker/render/csv.c worker/render/jobs_file.c worker/support/text_file.c
build/fuzz/%_fuzz: tests/fuzz/%_fuzz.c $(FUZZED) $(PROTOS:%.proto=$(BUILD)/%.pb-c.c)
	@mkdir -p $(@D)
	$(call say,CLANG,$@)clang -std=gnu11 -D_GNU_SOURCE -O1 -g -Wall -Werror -Wno-unknown-pragmas -Wno-missing-braces -fsanitize=fuzzer,address,undefined \
	    -I. -Iinclude -I$(BUILD)/proto $(ENGINE_CFLAGS) $(SERVICE_CFLAGS) $< $(FUZZED) $(FUZZED.$*) $(ENGINE_LIBS) $(SERVICE_LIBS) -o $@

# The benches measure beside oneDNN.
$(BUILD)/libbench.a: $(call objects,$(filter-out %_bench.c,$(wildcard bench/*.c)))
$(BUILD)/bench/%_bench: $(BUILD)/bench/%_bench.o $(BUILD)/libbench.a $(ENGINE_ARCHIVES)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) $^ $(ENGINE_LIBS) -ldnnl -o $@

KAFKA_BENCH := $(BUILD)/bench/kafka/kafka_bench
$(KAFKA_BENCH): $(call objects,$(wildcard bench/kafka/*.c)) $(SERVICE_ARCHIVES)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) $^ $(SERVICE_LIBS) $(ENGINE_LIBS) -o $@

# These count what our own code allocates, and let it fail.
ALLOCATORS := malloc calloc realloc aligned_alloc free
$(BUILD)/tests/model/run_test: LDFLAGS += $(ALLOCATORS:%=-Wl,--wrap=%)
TORTURE_TESTS := $(BUILD)/tests/model/torture_test $(BUILD)/tests/worker/torture_test
$(TORTURE_TESTS): LDFLAGS += $(ALLOCATORS:%=-Wl,--wrap=%) -Wl,--wrap=strdup -Wl,--wrap=strndup
# These say how many cores there are.
$(BUILD)/tests/base/cores_test $(BUILD)/tests/worker/pipeline/pipeline_test: LDFLAGS += -Wl,--wrap=dr_cores
# This one sets the clock.
$(BUILD)/tests/worker/service/http_test: LDFLAGS += -Wl,--wrap=dr_clock_ms
# These count what is committed (tests/worker/transactions.h).
$(BUILD)/tests/worker/delivery/delivery_test $(BUILD)/tests/worker/torture_test: LDFLAGS += -Wl,--wrap=dr_outbox_send -Wl,--wrap=rd_kafka_committed

# --- targets ---------------------------------------------------------------------------

.PHONY: help setup cuda-toolkit build demo librdkafka test test-all test-short test-kafka test-kafka-newest test-gpu bench bench-peers bench-gpu bench-gpu-peers \
        bench-kafka mutants asan ubsan tsan asan-short ubsan-short fuzz format lint clean FORCE

help: ## This list
	@sed -n 's/^\([a-z][a-z -]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## Install the Debian packages that are missing
	@tools/setup.sh $(PACKAGES)

cuda-toolkit: build/cuda/toolkit.mk ## Fetch what compiles and runs the GPU backend: 1 GB, into build/cuda (tools/cuda_toolkit.sh)

build: $(BUILD)/darkroom ## Build the program: build/release/darkroom

# A model that draws something to look at, where it is there; else one of random weights.
DEMO_MODELS ?= $(if $(wildcard models/tiny/model_index.json),models,tests/goldens/models)
ifeq ($(MAKE_RESTARTS)$(filter demo,$(MAKECMDGOALS)),demo)
$(info demo: first the build, once: less than a minute on two cores; and before it Debian packages that are missing.)
$(info demo: nothing else is fetched: the model is in models/tiny. Drawing takes some 10 seconds.)
endif
demo: build ## Broker, worker, producer and consumer in one process; pictures in build/demo
	@$(BUILD)/darkroom demo --models $(DEMO_MODELS) --out build/demo --log-format text

# Those that wait for a broker's clock come first: others run beside them.
RUN_TESTS := BUILD=$(BUILD) GPU_BENCH=$(GPU_BENCH) FAKE_GPU_BENCH=$(FAKE_GPU_BENCH) tests/run.sh
built = $(patsubst %.c,$(BUILD)/%,$(1))
test: build $(call built,$(TESTS) $(CUDA_TESTS) $(GPU_TESTS) $(WORK_TESTS) $(KAFKA_TESTS) $(REPLAYS) bench/engine_bench.c) $(KAFKA_BENCH) $(FAKE_GPU_TESTS) $(GPU_BENCH) $(FAKE_GPU_BENCH) ## Build and run every test, those of the GPU backend where the CUDA toolkit is there
	@$(RUN_TESTS) $(call built,$(WORK_TESTS) $(TESTS) $(REPLAYS)) tests/bench.sh tests/runner_test.sh tests/mutants/mutants.sh tests/make.sh tests/gpu/kit_test.sh \
	    $(if $(filter release,$(CONFIG)),tests/install.sh) $(if $(CUDA_HOME),$(call built,$(CUDA_TESTS)) $(FAKE_GPU_TESTS),tests/cuda/absent.sh) tests/kafka/run.sh

test-all: ## The same with what it takes to leave none out: the CUDA toolkit (1 GB, once), Java and Maven; the broker's also with a newer librdkafka
	@tools/setup.sh openjdk-17-jre-headless maven
	@command -v npm > /dev/null || tools/setup.sh npm
	@$(MAKE) --no-print-directory test
	@$(MAKE) --no-print-directory CUDA=0 test-kafka-newest

test-gpu: $(patsubst %.c,$(BUILD)/%,$(GPU_TESTS)) ## The tests of the CUDA backend on a real GPU
	@CUDA_HOME=$(CUDA_HOME) tests/gpu/run.sh $^

librdkafka: build/librdkafka/complete ## Build a newer librdkafka than Debian's, into build/librdkafka; RDKAFKA=newest builds with it

test-kafka: build $(patsubst %.c,$(BUILD)/%,$(KAFKA_TESTS)) $(KAFKA_BENCH) ## The tests against a real Kafka broker, which needs Java
	@BUILD=$(BUILD) tests/kafka/run.sh

test-kafka-newest: ## The same with librdkafka as make librdkafka builds it, in place of Debian's
	@$(MAKE) --no-print-directory RDKAFKA=newest test-kafka

tsan: export PARITY_STEPS_MAX := 4
tsan: export TEST_SECONDS_MAX := 7200
# Under their dlopen() a library no longer finds its parts beside itself, as cuDNN wants to.
asan tsan: export LD_LIBRARY_PATH := $(if $(CUDA_HOME),$(abspath $(CUDA_HOME)/lib))$(addprefix :,$(LD_LIBRARY_PATH))
asan ubsan tsan: ## The tests under a sanitizer
	@$(MAKE) --no-print-directory CONFIG=$@ CFLAGS="-O1 -g" test

# What CI runs so: everything that reads what others wrote, the scheduler, the worker, the engine on small models.  Left
# out are the CUDA kernels on the host, which take as long as all the others together.
SHORT_TESTS := $(filter-out tests/kernels/cuda_% tests/cuda/shim/%,$(TESTS)) $(WORK_TESTS) $(REPLAYS)
asan-short ubsan-short: export PARITY_STEPS_MAX := 4
asan-short ubsan-short: ## The short tests under a sanitizer
	@$(MAKE) --no-print-directory CONFIG=$(@:-short=) CFLAGS="-O1 -g" test-short
test-short: build $(call built,$(SHORT_TESTS))
	@$(RUN_TESTS) $(call built,$(SHORT_TESTS))

mutants: ## Plant each fault of tests/mutants/list in a copy of the tree: does it turn its tests red?  ONLY: words of their names
	+@tests/mutants/mutants.sh $(or $(ONLY),all)

FUZZ_SECONDS ?= 60
fuzz: ## Search for files that break a parser, FUZZ_SECONDS (60) each
	@tools/setup.sh clang
	@$(MAKE) --no-print-directory $(FUZZERS:tests/fuzz/%.c=build/fuzz/%)
	@for name in $(FUZZERS:tests/fuzz/%_fuzz.c=%); do \
	    mkdir -p build/fuzz/corpus/$$name && \
	    build/fuzz/$${name}_fuzz -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=build/fuzz/$$name- \
	        build/fuzz/corpus/$$name tests/fuzz/corpus/$$name || exit 1; \
	done

bench: $(patsubst %.c,$(BUILD)/%,$(BENCHES)) ## What the engine costs here: one table, and build/bench.json
	$(BUILD)/bench/engine_bench --json build/bench.json

KAFKA_BENCH_FLAGS ?=
bench-kafka: build $(KAFKA_BENCH) ## Jobs through a real broker, and the broker alone: how many a second, how long one takes; needs Java
	@BUILD=$(BUILD) bench/kafka/run.sh $(KAFKA_BENCH_FLAGS)

PYTHON ?= python3
build/peers/ok: bench/peers/requirements.txt
	@tools/setup.sh python3-venv
	@$(PYTHON) -m venv build/peers && build/peers/bin/pip install -q -r $< && touch $@

bench-peers: $(BUILD)/bench/engine_bench build/peers/ok ## The same work by PyTorch and diffusers in the same run, and the ratios
	build/peers/bin/python bench/peers/peers.py --engine $< --json build/peers.json

NO_CUDA := { echo "no GPU to measure: built without CUDA (make cuda-toolkit)"; exit 1; }
bench-gpu: $(GPU_BENCH) ## What the engine costs on a GPU: one table, where the time goes, and build/bench-gpu.json
	@$(if $(GPU_BENCH),$(GPU_BENCH) --json build/bench-gpu.json,$(NO_CUDA))

# PYTHON itself where it has what is needed (a machine with a GPU may have no network), else an environment of our own.
bench-gpu-peers: $(GPU_BENCH) ## The GPU's table by PyTorch and diffusers, eager and compiled, in the same run; PEERS_FLAGS: options
	@$(if $(GPU_BENCH),$(GPU_BENCH) --describe,$(NO_CUDA))
	@python=$(PYTHON); $$python -c 'import torch, diffusers, transformers' 2> /dev/null || \
	    { $(MAKE) --no-print-directory build/peers/ok && python=build/peers/bin/python; } && \
	    $$python bench/peers/gpu_peers.py --engine $(GPU_BENCH) --json build/bench-gpu-peers.json $(PEERS_FLAGS)

format: ## Reformat the C sources in place
	@tools/setup.sh $(LINT_PACKAGES)
	clang-format -i $(shell git ls-files '*.c' '*.h' '*.cu')

lint: $(PROTOS:%.proto=$(BUILD)/%.pb-c.h) ## Layering, formatting and clang-tidy
	@tools/setup.sh $(LINT_PACKAGES)
	@LINT_FLAGS="-std=gnu11 -D_GNU_SOURCE -I. -Iinclude -I$(BUILD)/proto $(SERVICE_CFLAGS) -isystem $(CUDA_HOME)/include -DDR_CUDA_LIBS=__FILE__" tools/lint.sh

clean: ## Remove everything that was built
	rm -rf build

include mk/install.mk
include mk/gpu_kit.mk

-include $(shell find $(BUILD) build/cu -name '*.d' 2>/dev/null)
