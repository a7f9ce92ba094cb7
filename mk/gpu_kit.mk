# `make gpu-kit`: the GPU's tests and benchmarks in a folder, for a machine with a GPU and no network.
#
# That machine needs a driver, CUDA 13's cuBLASLt and cuDNN (PyTorch brings them) and, for the peers' rows, PyTorch.
# Everything else is inside: one program (the tests and the bench have the engine once), the models and shapes that they
# read, and diffusers as a wheel.

KIT       := build/gpu-kit
KIT_PARTS := $(patsubst %.c,$(BUILD)/%.o,$(GPU_TESTS) bench/gpu/gpu_bench.c) # each has a main()
KIT_NAMES := $(notdir $(KIT_PARTS:.o=))

# Every part's main() has the part's name.
$(BUILD)/kit/%.o: $(BUILD)/tests/gpu/%.o
	@mkdir -p $(@D)
	objcopy --redefine-sym main=$*_main $< $@
$(BUILD)/kit/%.o: $(BUILD)/bench/gpu/%.o
	@mkdir -p $(@D)
	objcopy --redefine-sym main=$*_main $< $@
$(BUILD)/kit/parts.h: mk/gpu_kit.mk
	@mkdir -p $(@D)
	@printf 'PART(%s)\n' $(KIT_NAMES) > $@
$(BUILD)/tests/gpu/kit.o: $(BUILD)/kit/parts.h
$(BUILD)/tests/gpu/kit.o: CFLAGS += -DKIT_PARTS='"$(BUILD)/kit/parts.h"'

# Debian's libraries are linked in, so that another distribution needs none of them; cmocka has no such form, and comes along.
$(BUILD)/kit/gpu_kit: $(BUILD)/tests/gpu/kit.o $(KIT_NAMES:%=$(BUILD)/kit/%.o) $(call objects,$(GPU_SUPPORT) tests/gpu/machine.c) \
                      $(filter-out %/gpu_bench.o,$(GPU_BENCH_OBJECTS)) $(BUILD)/libbench.a $(BUILD)/libsupport.a $(ENGINE_ARCHIVES)
	$(CC) $(LDFLAGS) -s $^ -Wl,-Bstatic -ljansson -lutf8proc -lcrypto -Wl,-Bdynamic $(CUDA_LIBS) -lm -ldl -lrt $(TEST_LIBS) \
	    -Wl,-rpath,'$$ORIGIN' -o $@

build/kit-wheels/ok: bench/peers/kit_wheels.txt
	@mkdir -p $(@D)
	@$(PYTHON) -m pip --version > /dev/null 2>&1 || tools/setup.sh python3-pip
	@$(PYTHON) -m pip download -q --no-deps --only-binary=:all: --require-hashes -d $(@D) -r $<
	@touch $@

# It links in the tests' run too, so that it goes on linking.
test: $(if $(CUDA_HOME),$(if $(filter release,$(CONFIG)),$(BUILD)/kit/gpu_kit))

.PHONY: gpu-kit
gpu-kit: ## develop: Pack tests and benchmarks for a machine with a GPU: build/gpu-kit.tar.xz
	@$(if $(CUDA_HOME),$(MAKE) --no-print-directory $(KIT).tar.xz,echo "gpu-kit: built without CUDA (make cuda-toolkit)"; exit 1)

$(KIT).tar.xz: $(BUILD)/kit/gpu_kit build/kit-wheels/ok tests/gpu/kit.sh $(shell git ls-files bench/shapes bench/peers tests/goldens/models)
	@rm -rf $(KIT) && mkdir -p $(KIT)/bin $(KIT)/wheels
	@cp $(BUILD)/kit/gpu_kit $(KIT)/bin && cp -L "$$($(CC) -print-file-name=libcmocka.so.0)" $(KIT)/bin
	@cp --parents -r bench/shapes bench/peers tests/goldens/models $(KIT) && cp build/kit-wheels/*.whl $(KIT)/wheels
	@cp tests/gpu/kit.sh $(KIT)/run.sh && git describe --always --dirty > $(KIT)/commit.txt
	@cd build && tar --sort=name --owner=0 --group=0 --mtime=@0 -cf - gpu-kit | xz -6 -T0 > $(@F).part && mv $(@F).part $(@F)
	@du -sm $(KIT) $@ | awk '{ print "gpu-kit: " $$2 ", " $$1 " MiB" } $$1 > 60 { print "gpu-kit: more than 60 MiB"; exit 1 }'
