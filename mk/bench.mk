# Benchmarks.  bench/RESULTS.md and bench/SPEED.md hold what was measured; mk/kafka.mk has the benchmark with a broker.

.PHONY: bench bench-peers bench-gpu bench-gpu-peers

BENCHES := $(wildcard bench/*_bench.c)

# The benchmarks measure beside oneDNN.
$(BUILD)/libbench.a: $(call objects,$(filter-out %_bench.c,$(wildcard bench/*.c)))
$(BUILD)/bench/%_bench: $(BUILD)/bench/%_bench.o $(BUILD)/libbench.a $(ENGINE_ARCHIVES)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) $^ $(ENGINE_LIBS) -ldnnl -o $@

bench: $(patsubst %.c,$(BUILD)/%,$(BENCHES)) ## bench: Measure the engine on this CPU: a table, and build/bench.json
	$(BUILD)/bench/engine_bench --json build/bench.json

PYTHON ?= python3
build/peers/ok: bench/peers/requirements.txt
	@tools/setup.sh python3-venv
	@$(PYTHON) -m venv build/peers && build/peers/bin/pip install -q -r $< && touch $@

bench-peers: $(BUILD)/bench/engine_bench build/peers/ok ## bench: Compare with PyTorch and diffusers on this CPU
	build/peers/bin/python bench/peers/peers.py --engine $< --json build/peers.json

# --- On a GPU.  One source makes two programs: for a real GPU, and over the made-up CUDA runtime, for tests.

GPU_BENCH := $(if $(CUDA_HOME),$(BUILD)/bench/gpu/gpu_bench)
FAKE_GPU_BENCH := $(if $(CUDA_HOME),$(BUILD)/tests/cuda/fake/gpu_bench)
GPU_BENCH_OBJECTS := $(call objects,$(wildcard bench/gpu/*.c))
$(BUILD)/bench/gpu/gpu_bench: $(GPU_BENCH_OBJECTS) $(call objects,tests/gpu/machine.c) $(BUILD)/libbench.a $(ENGINE_ARCHIVES)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) $^ $(ENGINE_LIBS) -o $@
$(BUILD)/tests/cuda/fake/gpu_bench: $(GPU_BENCH_OBJECTS) $(call objects,$(FAKE_CUDA)) $(BUILD)/libbench.a $(BUILD)/libcudashim.a $(BUILD)/libsupport.a $(ENGINE_ARCHIVES)
	$(fake_link)

NO_CUDA := { echo "no GPU to measure: built without CUDA (make cuda-toolkit)"; exit 1; }
bench-gpu: $(GPU_BENCH) ## bench: Measure the engine on a GPU: a table, and build/bench-gpu.json
	@$(if $(GPU_BENCH),$(GPU_BENCH) --json build/bench-gpu.json,$(NO_CUDA))

# PYTHON is used as it is if it can import what is needed: a machine with a GPU may have no network.  Otherwise build/peers is.
bench-gpu-peers: $(GPU_BENCH) ## bench: Compare with PyTorch and diffusers on a GPU; PEERS_FLAGS adds options
	@$(if $(GPU_BENCH),$(GPU_BENCH) --describe,$(NO_CUDA))
	@python=$(PYTHON); $$python -c 'import torch, diffusers, transformers' 2> /dev/null || \
	    { $(MAKE) --no-print-directory build/peers/ok && python=build/peers/bin/python; } && \
	    $$python bench/peers/gpu_peers.py --engine $(GPU_BENCH) --json build/bench-gpu-peers.json $(PEERS_FLAGS)
