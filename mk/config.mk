# Compiler and linker flags.

WARN    := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla

SANITIZE.release :=
SANITIZE.asan    := -fsanitize=address -fno-omit-frame-pointer
# UBSan's checks hide from gcc which values a number can have.  gcc would then warn at each %d (-Wformat-truncation).
SANITIZE.ubsan   := -fsanitize=undefined -fno-sanitize-recover=undefined -Wno-format-truncation
SANITIZE.tsan    := -fsanitize=thread
SANITIZE         := $(SANITIZE.$(CONFIG))
# ThreadSanitizer does not know C11's threads, which librdkafka uses.  This object teaches it.
SANITIZER_OBJECTS := $(if $(filter tsan,$(CONFIG)),$(BUILD)/tests/support/tsan_c11_threads.o)

# The same hardening as Debian's hardening=+all (dpkg-buildflags).  tests/worker/program/hardening_test.c checks it in the
# program.  Builds with a sanitizer have the sanitizer's checks instead.  `HARDEN= HARDEN_LINK=` builds without.
HARDEN.release      := -fstack-protector-strong -fstack-clash-protection -Wformat -Werror=format-security -fcf-protection \
                       -fPIE -U_FORTIFY_SOURCE $(if $(filter -O1 -O2 -O3 -Os,$(CFLAGS)),-D_FORTIFY_SOURCE=2)
HARDEN_LINK.release := -pie -Wl,-z,relro,-z,now,-z,noexecstack
HARDEN              ?= $(HARDEN.$(CONFIG))
HARDEN_LINK         ?= $(HARDEN_LINK.$(CONFIG))

ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE $(CFLAGS) $(WARN) $(HARDEN) $(SANITIZE) -fopenmp-simd -ffp-contract=off -fno-math-errno -pthread \
             -I. -Iinclude -I$(BUILD)/proto -MMD -MP
LDFLAGS   += $(HARDEN_LINK) $(SANITIZE) -pthread

# Several sanitizers on one command line run one after the other, each on all cores: their tests would disturb each other.
ifneq ($(filter asan% ubsan% tsan%,$(MAKECMDGOALS)),)
.NOTPARALLEL:
endif
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc) # the command line's -j wins
endif

# $(call say,CC,FILE): a recipe shows one line, `CC     FILE`, in place of its command; with V=1 it shows the command.
say = $(if $(filter-out 0,$(V)),,@printf '%-6s %s\n' '$(1)' '$(2)';)
