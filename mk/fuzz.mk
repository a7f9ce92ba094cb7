# Fuzzers of what reads files and messages that others wrote.
#
# The fuzzers are clang's.  The sources that they try are compiled once more for them, without OpenMP.  `make test` runs the
# files of tests/fuzz/corpus through the same code, built as usual: NAME_replay.

.PHONY: fuzz

FUZZERS := $(wildcard tests/fuzz/*_fuzz.c)
REPLAYS := $(FUZZERS:%_fuzz.c=%_replay.c)

$(BUILD)/tests/fuzz/%_replay: $(call objects,tests/fuzz/%_fuzz.c tests/fuzz/file.c tests/fuzz/replay.c) $(SERVICE_ARCHIVES)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) $^ $(SERVICE_LIBS) $(ENGINE_LIBS) -o $@

# What all fuzzers are linked with, and what each needs besides.
FUZZED := tests/fuzz/file.c $(wildcard base/*.c model/config*.c model/json*.c model/safetensors.c model/sampler*.c model/schedule.c model/weights*.c \
            model/bpe.c model/special_tokens.c model/given_tokens.c model/token*.c model/unicode_text.c)
FUZZED.job := worker/support/text.c $(wildcard worker/jobs/*.c) $(PROTOS:%.proto=$(BUILD)/%.pb-c.c)
# Settings name what the engine has.  So the rest of the program is linked in, as it is.
FUZZED.settings := $(wildcard worker/settings/*.c) $(addprefix worker/support/,clock.c log.c secrets.c text.c text_file.c) $(SERVICE_ARCHIVES)
build/fuzz/settings_fuzz: $(SERVICE_ARCHIVES)
FUZZED.results := worker/render/results_file.c $(addprefix worker/support/,clock.c files.c log.c text.c)
FUZZED.table := $(FUZZED.job) worker/render/csv.c worker/render/jobs_file.c worker/support/text_file.c
build/fuzz/%_fuzz: tests/fuzz/%_fuzz.c $(FUZZED) $(PROTOS:%.proto=$(BUILD)/%.pb-c.c)
	@mkdir -p $(@D)
	$(call say,CLANG,$@)clang -std=gnu11 -D_GNU_SOURCE -O1 -g -Wall -Werror -Wno-unknown-pragmas -Wno-missing-braces -fsanitize=fuzzer,address,undefined \
	    -I. -Iinclude -I$(BUILD)/proto $(ENGINE_CFLAGS) $(SERVICE_CFLAGS) $< $(FUZZED) $(FUZZED.$*) $(ENGINE_LIBS) $(SERVICE_LIBS) -o $@

FUZZ_SECONDS ?= 60
fuzz: ## test: Search for files that break a parser, FUZZ_SECONDS=60 for each
	@tools/setup.sh clang
	@$(MAKE) --no-print-directory $(FUZZERS:tests/fuzz/%.c=build/fuzz/%)
	@for name in $(FUZZERS:tests/fuzz/%_fuzz.c=%); do \
	    mkdir -p build/fuzz/corpus/$$name && \
	    build/fuzz/$${name}_fuzz -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=build/fuzz/$$name- \
	        build/fuzz/corpus/$$name tests/fuzz/corpus/$$name || exit 1; \
	done
