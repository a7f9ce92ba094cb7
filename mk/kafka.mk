# Tests and a benchmark with a real Kafka broker.  It needs Java; Maven fetches the broker (tests/kafka/broker.sh).

.PHONY: test-kafka test-kafka-newest bench-kafka

KAFKA_TESTS := $(wildcard tests/kafka/*_test.c)
KAFKA_BENCH := $(BUILD)/bench/kafka/kafka_bench

$(call objects,$(KAFKA_TESTS) $(wildcard bench/kafka/*.c)): | $(PROTO_HEADERS)

$(BUILD)/tests/kafka/%_test: $(BUILD)/tests/kafka/%_test.o $(SERVICE_ARCHIVES)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) $^ $(SERVICE_LIBS) $(ENGINE_LIBS) $(TEST_LIBS) -o $@
$(KAFKA_BENCH): $(call objects,$(wildcard bench/kafka/*.c)) $(SERVICE_ARCHIVES)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) $^ $(SERVICE_LIBS) $(ENGINE_LIBS) -o $@
# One of its peers compresses each picture once (bench/kafka/made_once.c).
$(KAFKA_BENCH): LDFLAGS += -Wl,--wrap=dr_png_encode

test-kafka: build $(patsubst %.c,$(BUILD)/%,$(KAFKA_TESTS)) $(KAFKA_BENCH) ## test: Run the tests with a real Kafka broker; needs Java
	@BUILD=$(BUILD) tests/kafka/run.sh

test-kafka-newest: ## test: The same with the librdkafka that `make librdkafka` builds
	@$(MAKE) --no-print-directory RDKAFKA=newest test-kafka

KAFKA_BENCH_FLAGS ?=
bench-kafka: build $(KAFKA_BENCH) ## bench: Measure jobs through a real broker, and the broker alone; needs Java
	@BUILD=$(BUILD) bench/kafka/run.sh $(KAFKA_BENCH_FLAGS)
