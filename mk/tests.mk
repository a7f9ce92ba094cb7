# `make test`, sanitizers and mutants.  mk/cuda.mk, mk/kafka.mk and mk/fuzz.mk say which tests there are besides these.

.PHONY: test test-all test-short asan ubsan tsan asan-short ubsan-short mutants

TESTS      := $(wildcard $(patsubst %,tests/%/*_test.c,base kernels ops model scheduler cuda/shim))
WORK_TESTS := $(filter-out $(if $(HARDEN),,tests/worker/program/hardening_test.c),$(wildcard tests/worker/*_test.c tests/worker/*/*_test.c))

$(call objects,$(WORK_TESTS)): | $(PROTO_HEADERS)
$(BUILD)/libsupport.a: $(BUILD)/tests/support/support.o $(BUILD)/tests/support/machines.o

# The engine's tests are linked with the engine alone: it builds without Kafka, protobuf and libvips.
$(BUILD)/tests/%_test: $(BUILD)/tests/%_test.o $(BUILD)/libsupport.a $(BUILD)/libscheduler.a $(ENGINE_ARCHIVES)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) $^ $(ENGINE_LIBS) $(TEST_LIBS) -o $@
$(BUILD)/tests/worker/%_test: $(BUILD)/tests/worker/%_test.o $(BUILD)/libsupport.a $(SERVICE_ARCHIVES)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) $^ $(SERVICE_LIBS) $(ENGINE_LIBS) $(TEST_LIBS) -o $@

# The linker's --wrap=NAME sends calls of NAME from our own objects to the test's __wrap_NAME.
# These tests count what our own code allocates, or let an allocation fail.
ALLOCATORS := malloc calloc realloc aligned_alloc free
$(BUILD)/tests/model/run_test: LDFLAGS += $(ALLOCATORS:%=-Wl,--wrap=%)
TORTURE_TESTS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/model/torture_test.c tests/worker/*/torture_test.c))
$(TORTURE_TESTS): LDFLAGS += $(ALLOCATORS:%=-Wl,--wrap=%) -Wl,--wrap=strdup -Wl,--wrap=strndup
# These decide how many cores there are.
$(BUILD)/tests/base/cores_test $(BUILD)/tests/worker/pipeline/finish_test: LDFLAGS += -Wl,--wrap=dr_cores
# This one sets the clock.
$(BUILD)/tests/worker/service/http_test: LDFLAGS += -Wl,--wrap=dr_clock_ms
# This one makes its messages.
$(BUILD)/tests/worker/delivery/books_test: LDFLAGS += -Wl,--wrap=rd_kafka_message_destroy -Wl,--wrap=dr_carried_headers
# This one holds a client's end up.
$(BUILD)/tests/worker/delivery/client_end_test: LDFLAGS += -Wl,--wrap=rd_kafka_destroy_flags
# These count what is committed (tests/worker/transactions.h).
$(patsubst %,$(BUILD)/tests/worker/%,delivery/delivery_test delivery/torture_test service/torture_test): LDFLAGS += -Wl,--wrap=dr_outbox_send -Wl,--wrap=rd_kafka_committed

RUN_TESTS := BUILD=$(BUILD) GPU_BENCH=$(GPU_BENCH) FAKE_GPU_BENCH=$(FAKE_GPU_BENCH) tests/run.sh
built = $(patsubst %.c,$(BUILD)/%,$(1))

# The worker's tests are started first: they wait for a broker's clock, and others run meanwhile.
test: build $(call built,$(TESTS) $(CUDA_TESTS) $(GPU_TESTS) $(WORK_TESTS) $(KAFKA_TESTS) $(REPLAYS) bench/engine_bench.c) $(KAFKA_BENCH) $(FAKE_GPU_TESTS) $(GPU_BENCH) $(FAKE_GPU_BENCH) ## first: Build and run the tests; say which tests need what is not there
	@$(RUN_TESTS) $(call built,$(WORK_TESTS) $(TESTS) $(REPLAYS)) tests/bench.sh tests/runner_test.sh tests/comments_test.sh tests/lint_test.sh tests/docs_test.sh tests/mutants/mutants.sh tests/make.sh tests/circles.sh tests/gpu/kit_test.sh \
	    $(if $(filter release,$(CONFIG)),tests/install.sh) $(if $(CUDA_HOME),$(call built,$(CUDA_TESTS)) $(FAKE_GPU_TESTS),tests/cuda/absent.sh) tests/kafka/run.sh

test-all: ## test: Fetch what is missing (CUDA toolkit, Java, Maven) and run all tests
	@tools/setup.sh openjdk-17-jre-headless maven
	@command -v npm > /dev/null || tools/setup.sh npm
	@$(MAKE) --no-print-directory test
	@$(MAKE) --no-print-directory CUDA=0 test-kafka-newest

tsan: export PARITY_STEPS_MAX := 4
tsan: export TEST_SECONDS_MAX := 7200
# cuDNN looks for its parts beside itself.  Under these sanitizers' dlopen() it does not find them there.
asan tsan: export LD_LIBRARY_PATH := $(if $(CUDA_HOME),$(abspath $(CUDA_HOME)/lib))$(addprefix :,$(LD_LIBRARY_PATH))
asan ubsan tsan: ## test: Run the tests under a sanitizer
	@$(MAKE) --no-print-directory CONFIG=$@ CFLAGS="-O1 -g" test

# What CI runs under sanitizers: everything that reads what others wrote, the scheduler, the worker, and the engine on small
# models.  The CUDA kernels on the host are left out: they take as long as all the others together.
SHORT_TESTS := $(filter-out tests/kernels/cuda_% tests/cuda/shim/%,$(TESTS)) $(WORK_TESTS) $(REPLAYS)
asan-short ubsan-short: export PARITY_STEPS_MAX := 4
asan-short ubsan-short: ## test: Run the short tests under a sanitizer
	@$(MAKE) --no-print-directory CONFIG=$(@:-short=) CFLAGS="-O1 -g" test-short
test-short: build $(call built,$(SHORT_TESTS))
	@$(RUN_TESTS) $(call built,$(SHORT_TESTS))

mutants: ## develop: Plant faults in a copy of the tree: do tests find each? ONLY=WORD for some
	+@tests/mutants/mutants.sh $(or $(ONLY),all)
