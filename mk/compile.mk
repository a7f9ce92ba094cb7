# From a source to an object.  An object's path is its source's path under $(BUILD).

objects = $(patsubst %.c,$(BUILD)/%.o,$(1))

folder_cflags = $(if $(filter worker/% tests/worker/% tests/kafka/% bench/kafka/%,$<),$(SERVICE_CFLAGS)) \
                $(if $(filter ops/cuda/% tests/cuda/% tests/gpu/machine.c,$(filter-out tests/cuda/shim/%,$<)),$(CUDA_CFLAGS))
$(BUILD)/%.o: %.c $(BUILD)/flags-used
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) $(ENGINE_CFLAGS) $(folder_cflags) -c $< -o $@

# Changes when the flags change.  Everything is then compiled again.
$(BUILD)/flags-used: FORCE
	@mkdir -p $(@D)
	@echo '$(ALL_CFLAGS) $(LDFLAGS)' | cmp -s - $@ || echo '$(ALL_CFLAGS) $(LDFLAGS)' > $@

# --- The host loops, once for each instruction set

ISAS        := generic avx2 avx512
ISA.generic :=
ISA.avx2    := -mavx2 -mfma -mf16c
ISA.avx512  := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c -mprefer-vector-width=512
isa_objects = $(foreach isa,$(ISAS),$(patsubst %.c,$(BUILD)/%.$(isa).o,$(1)))

define isa_rule
$(BUILD)/%.$(1).o: %.c $(BUILD)/flags-used
	@mkdir -p $$(@D)
	$$(call say,CC,$$< ($(1)))$$(CC) $$(ALL_CFLAGS) -O3 $$(ISA.$(1)) -DDR_ISA=$(1) -c $$< -o $$@
endef
$(foreach isa,$(ISAS),$(eval $(call isa_rule,$(isa))))

# --- Messages

$(BUILD)/%.pb-c.c $(BUILD)/%.pb-c.h: %.proto
	@mkdir -p $(@D)
	$(call say,PROTOC,$<)protoc-c -Iproto --c_out=$(BUILD)/proto $<

$(BUILD)/%.pb-c.o: $(BUILD)/%.pb-c.c $(BUILD)/flags-used
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) $(SERVICE_CFLAGS) -Wno-shadow -Wno-missing-braces -c $< -o $@

# What includes the generated headers waits for them.
PROTO_HEADERS := $(PROTOS:%.proto=$(BUILD)/%.pb-c.h)
$(call objects,$(WORK_SOURCES) worker/program/main.c): | $(PROTO_HEADERS)

# --- Device code

# Machine code for Ampere, Ada and Hopper, and PTX for later GPUs.  As on the host, nvcc contracts no sum by itself
# (-fmad=false).  The code uses no part of C++ that would need its library.
CUDA_ARCHS  := 80 86 89 90a
NVCC_FLAGS  := -std=c++17 -O3 -fmad=false -lineinfo --compress-mode=size -I. -Iinclude -Werror all-warnings \
               -Xcompiler -Wall,-Wextra,-fno-exceptions,-fno-rtti,-fno-threadsafe-statics \
               $(foreach flag,$(HARDEN.release),-Xcompiler $(flag)) \
               $(foreach arch,$(CUDA_ARCHS),-gencode arch=compute_$(arch),code=sm_$(arch)) -gencode arch=compute_90,code=compute_90
CUDA_CFLAGS := -isystem $(CUDA_HOME)/include -DDR_CUDA_LIBS='"$(abspath $(CUDA_HOME)/lib64):$(abspath $(CUDA_HOME)/lib)"'
CUDA_LIBS   := $(if $(CUDA_HOME),-L$(CUDA_HOME)/lib64 -L$(CUDA_HOME)/lib -lcudart_static)
ENGINE_LIBS += $(CUDA_LIBS)

cu_objects = $(patsubst %.cu,build/cu/%.o,$(1))
build/cu/%.o: %.cu build/cuda-home
	@mkdir -p $(@D)
	$(call say,NVCC,$<)$(CUDA_HOME)/bin/nvcc $(NVCC_FLAGS) -MMD -MP -MF $(@:.o=.d) -c $< -o $@

# Changes when the toolkit changes, or appears.  What depends on it is then made again.
build/cuda-home: FORCE
	@mkdir -p build
	@echo '$(CUDA_HOME)' | cmp -s - $@ || echo '$(CUDA_HOME)' > $@
$(call objects,$(wildcard ops/cuda/*.c)): build/cuda-home
