# `make install`: the program, and libdarkroom for other programs.
#
# The installed library is one object in an archive.  Only what include/darkroom/ declares can be seen of it, so that
# no name of ours meets one of the program's, and nothing private can be used by mistake.  CUDA's runtime is inside.

PREFIX      ?= /usr/local
BINDIR      ?= $(PREFIX)/bin
LIBDIR      ?= $(PREFIX)/lib
INCLUDEDIR  ?= $(PREFIX)/include
PUBLIC_HEADERS := $(wildcard include/darkroom/*.h)
VERSION     := $(shell sed -n 's/^\#define DR_VERSION "\(.*\)".*/\1/p' include/darkroom/version.h)

# Every name that a public header declares as a function.
$(BUILD)/install/public.txt: $(PUBLIC_HEADERS)
	@mkdir -p $(@D)
	@sed -nE 's/^[a-z_][a-z0-9_ ]*[ *](dr_[a-z0-9_]+)\(.*/\1/p' $^ | sort > $@

$(BUILD)/install/libdarkroom.a: $(BUILD)/libdarkroom.a $(BUILD)/install/public.txt
	@rm -f $@
	ld -r -o $(@D)/darkroom.o --whole-archive $< --no-whole-archive $(CUDA_LIBS)
	objcopy --keep-global-symbols=$(@D)/public.txt $(@D)/darkroom.o
	ar rcs $@ $(@D)/darkroom.o

$(BUILD)/install/darkroom.pc: mk/darkroom.pc.in include/darkroom/version.h FORCE
	@mkdir -p $(@D)
	@sed -e 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(LIBDIR)|; s|@INCLUDEDIR@|$(INCLUDEDIR)|; s|@VERSION@|$(VERSION)|' \
	     -e 's|@CUDA@|$(if $(CUDA_HOME), -ldl -lrt)|' $< > $@

.PHONY: install uninstall
install: $(BUILD)/darkroom $(BUILD)/install/libdarkroom.a $(BUILD)/install/darkroom.pc ## package: Install the program, libdarkroom and its headers into PREFIX (/usr/local)
	install -d '$(DESTDIR)$(BINDIR)' '$(DESTDIR)$(LIBDIR)/pkgconfig' '$(DESTDIR)$(INCLUDEDIR)/darkroom'
	install -m 755 $(BUILD)/darkroom '$(DESTDIR)$(BINDIR)'
	install -m 644 $(BUILD)/install/libdarkroom.a '$(DESTDIR)$(LIBDIR)'
	install -m 644 $(BUILD)/install/darkroom.pc '$(DESTDIR)$(LIBDIR)/pkgconfig'
	install -m 644 $(PUBLIC_HEADERS) '$(DESTDIR)$(INCLUDEDIR)/darkroom'

uninstall: ## package: Remove what `make install` installed
	rm -f '$(DESTDIR)$(BINDIR)/darkroom' '$(DESTDIR)$(LIBDIR)/libdarkroom.a' '$(DESTDIR)$(LIBDIR)/pkgconfig/darkroom.pc'
	rm -f $(foreach header,$(notdir $(PUBLIC_HEADERS)),'$(DESTDIR)$(INCLUDEDIR)/darkroom/$(header)')
	[ ! -d '$(DESTDIR)$(INCLUDEDIR)/darkroom' ] || rmdir '$(DESTDIR)$(INCLUDEDIR)/darkroom'
