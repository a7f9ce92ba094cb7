# The house's rules, formatting, and clang-tidy.

.PHONY: format lint

LINT_PACKAGES := git clang-format clang-tidy

format: ## develop: Reformat the C and CUDA sources in place
	@tools/setup.sh $(LINT_PACKAGES)
	clang-format -i $(shell git ls-files '*.c' '*.h' '*.cu')

lint: $(PROTO_HEADERS) ## develop: Check layering, comments, words, formatting, and run clang-tidy
	@tools/setup.sh $(LINT_PACKAGES)
	@LINT_FLAGS="-std=gnu11 -D_GNU_SOURCE -I. -Iinclude -I$(BUILD)/proto $(SERVICE_CFLAGS) -isystem $(CUDA_HOME)/include -DDR_CUDA_LIBS=__FILE__" tools/lint.sh
