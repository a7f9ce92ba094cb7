# The tests of the GPU backend.  They come in four kinds:
#
#     tests/kernels/cuda_*_test.c, tests/cuda/shim/   our kernels, compiled by g++ and run on the host; need no toolkit
#     tests/cuda/*_test.c                             the real cuBLASLt and cuDNN, asked without a GPU
#     tests/cuda/fake/*_test.c                        the backend over a made-up CUDA runtime
#     tests/gpu/*_test.c                              the backend on a real GPU, and over the made-up runtime too

.PHONY: test-gpu

CUDA_TESTS  := $(if $(CUDA_HOME),$(wildcard tests/cuda/*_test.c tests/cuda/fake/*_test.c))
GPU_TESTS   := $(if $(CUDA_HOME),$(wildcard tests/gpu/*_test.c))
FAKE_CUDA   := $(filter-out %_test.c,$(wildcard tests/cuda/fake/*.c))
GPU_SUPPORT := $(filter-out %_test.c tests/gpu/machine.c tests/gpu/kit.c,$(wildcard tests/gpu/*.c))

$(call objects,$(wildcard tests/cuda/*.c tests/cuda/fake/*.c) tests/gpu/machine.c): build/cuda-home

# --- Our kernels on the host (tests/cuda/shim/run.h)

# -fno-strict-aliasing: kernels read pairs of values as words.
SHIM_FLAGS = -x c++ -std=gnu++17 $(CFLAGS) $(filter -fPIE,$(HARDEN)) -Wall -Wextra -Werror -Wshadow -Wno-unknown-pragmas $(SANITIZE) -ffp-contract=off \
             -fno-math-errno -fno-strict-aliasing -fno-exceptions -fno-rtti -fno-threadsafe-statics -I. -Iinclude -MMD -MP \
             -DDR_CUDA_SHIM='"tests/cuda/shim/shim.h"'
SHIM_OBJECTS := $(patsubst %.cu,$(BUILD)/%.shim.o,$(wildcard kernels/*.cu tests/cuda/shim/*.cu)) \
                $(call objects,$(filter-out %_test.c,$(wildcard tests/cuda/shim/*.c)))
# The shim switches stacks, which ThreadSanitizer can't follow.  It has only one thread anyway.
$(SHIM_OBJECTS): SANITIZE := $(filter-out -fsanitize=thread,$(SANITIZE))
$(BUILD)/%.shim.o: %.cu
	@mkdir -p $(@D)
	$(call say,CXX,$<)$(CXX) $(SHIM_FLAGS) -c $< -o $@
$(BUILD)/libcudashim.a: $(SHIM_OBJECTS)

$(BUILD)/tests/kernels/cuda_%_test: $(BUILD)/tests/kernels/cuda_%_test.o $(BUILD)/libcudashim.a $(ENGINE_ARCHIVES)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) $^ $(ENGINE_LIBS) $(TEST_LIBS) -o $@
$(BUILD)/tests/cuda/shim/%_test: $(BUILD)/tests/cuda/shim/%_test.o $(BUILD)/libcudashim.a $(ENGINE_ARCHIVES)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) $^ $(ENGINE_LIBS) $(TEST_LIBS) -o $@

# --- The real cuDNN.  It offers kernels only where it finds a driver: these tests bring a made-up one.

$(BUILD)/tests/cuda/libcuda.so.1: tests/cuda/driver.c build/cuda-home
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) -std=gnu11 $(CFLAGS) -Wall -Wextra -Werror $(CUDA_CFLAGS) -shared -fPIC -Wl,-soname,$(@F) $< -o $@
MADE_UP_DRIVER := $(addprefix $(BUILD)/tests/cuda/,dnn_conv_test dnn_attention_test)
$(MADE_UP_DRIVER): LDFLAGS += -Wl,--no-as-needed $(BUILD)/tests/cuda/libcuda.so.1 -Wl,--as-needed -Wl,-rpath,'$$ORIGIN'
$(MADE_UP_DRIVER): | $(BUILD)/tests/cuda/libcuda.so.1

# --- A made-up CUDA runtime

# The made-up runtime and libraries replace the real ones.  All our kernels come from the shim: it is linked whole, before
# the engine's archive, which has the real ones.
fake_link = $(call say,LINK,$@)$(CC) $(LDFLAGS) $(filter-out $(ENGINE_ARCHIVES),$(filter %.o %/libbench.a,$^)) -Wl,--whole-archive $(BUILD)/libcudashim.a -Wl,--no-whole-archive \
	    $(BUILD)/libsupport.a $(ENGINE_ARCHIVES) $(filter-out $(CUDA_LIBS),$(ENGINE_LIBS)) $(TEST_LIBS) -o $@
$(BUILD)/tests/cuda/fake/%_test: $(BUILD)/tests/cuda/fake/%_test.o $(call objects,$(FAKE_CUDA)) $(BUILD)/libcudashim.a $(BUILD)/libsupport.a $(ENGINE_ARCHIVES)
	$(fake_link)
# One of these tests is about the worker's engine.
$(BUILD)/tests/cuda/fake/engine_test: $(SERVICE_ARCHIVES)
$(BUILD)/tests/cuda/fake/engine_test: ENGINE_ARCHIVES := $(SERVICE_ARCHIVES)
$(BUILD)/tests/cuda/fake/engine_test: TEST_LIBS += $(SERVICE_LIBS)

# --- A real GPU.  The same tests also run over the made-up runtime, as tests/cuda/fake/gpu_NAME_test.

FAKE_GPU_TESTS := $(GPU_TESTS:tests/gpu/%.c=$(BUILD)/tests/cuda/fake/gpu_%)
$(FAKE_GPU_TESTS): $(BUILD)/tests/cuda/fake/gpu_%_test: $(call objects,$(GPU_SUPPORT) $(FAKE_CUDA)) $(BUILD)/tests/gpu/%_test.o $(BUILD)/libcudashim.a $(BUILD)/libsupport.a $(ENGINE_ARCHIVES)
	$(fake_link)
$(BUILD)/tests/gpu/%_test: $(BUILD)/tests/gpu/%_test.o $(call objects,$(GPU_SUPPORT) tests/gpu/machine.c) $(BUILD)/libsupport.a $(ENGINE_ARCHIVES)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) $^ $(ENGINE_LIBS) $(TEST_LIBS) -o $@

test-gpu: $(patsubst %.c,$(BUILD)/%,$(GPU_TESTS)) ## test: Run the GPU backend's tests on a real GPU
	@CUDA_HOME=$(CUDA_HOME) tests/gpu/run.sh $^
