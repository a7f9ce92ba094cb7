# Finds the libraries and the CUDA toolkit, and fetches what is missing.

.PHONY: librdkafka cuda-toolkit

# The flags of Debian's libraries, in a makefile that is made first, and again when the packages change.  Make then starts
# anew.  So any first target installs the packages that are missing.
FLAGS := build/flags$(RDKAFKA:%=-%).mk
ifeq ($(filter help clean setup,$(MAKECMDGOALS)),)
include $(FLAGS)
endif
$(FLAGS): tools/setup.sh tools/flags.sh Makefile $(if $(RDKAFKA),build/librdkafka/complete)
	@mkdir -p build
	@tools/setup.sh $(PACKAGES)
	@PKG_CONFIG_PATH=$(if $(RDKAFKA),$(abspath build/librdkafka)/lib/pkgconfig:)$(PKG_CONFIG_PATH) tools/flags.sh > $@.new && mv $@.new $@

librdkafka: build/librdkafka/complete ## package: Build a newer librdkafka than Debian's; RDKAFKA=newest builds with it
build/librdkafka/complete: tools/librdkafka.sh
	@tools/librdkafka.sh build/librdkafka
	@touch $@

# The CUDA toolkit is the first of these that is found:
#
#     1. the folder that CUDA_HOME names
#     2. /usr/local/cuda, if the machine has cuDNN's header too
#     3. build/cuda, which the targets below fetch, since they test or lint everything
#
# With no toolkit, or with CUDA=0, the program knows only the CPU.  `make test` then leaves out the tests of the GPU backend,
# and says so.
WANT_CUDA    := cuda-toolkit gpu-kit test-all test-gpu bench-gpu bench-gpu-peers asan ubsan tsan lint
CUDNN_HEADER := $(firstword $(wildcard $(addsuffix /cudnn.h,/usr/local/cuda/include /usr/include /usr/include/x86_64-linux-gnu)))
CUDA_HOME    ?= $(if $(CUDNN_HEADER),$(patsubst %/bin/nvcc,%,$(wildcard /usr/local/cuda/bin/nvcc)))
ifeq ($(CUDA),0)
CUDA_HOME :=
else ifeq ($(CUDA_HOME)$(filter help clean setup,$(MAKECMDGOALS)),)
include $(if $(filter $(WANT_CUDA),$(MAKECMDGOALS)),build/cuda/toolkit.mk,$(wildcard build/cuda/toolkit.mk))
endif
build/cuda/toolkit.mk: tools/cuda_toolkit.sh tools/cuda_toolkit.txt | $(FLAGS)
	@tools/cuda_toolkit.sh build/cuda
	@echo 'CUDA_HOME := build/cuda' > $@

cuda-toolkit: build/cuda/toolkit.mk ## package: Fetch the CUDA toolkit into build/cuda (1 GB, once)
