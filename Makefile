# The C side: libuntty.a, libuntty.so, untty.h, untty.pc, the command and the man pages.
#
#   make [BACKEND=libc|raw] [TARGET=triple]      builds them below target/c
#   make install [PREFIX=/usr/local] [LIBDIR=…] [MANDIR=…] [DESTDIR=…]
#   make check                                   builds and runs every C example and all tests
#   make header                                  writes include/untty.h anew from src/capi.rs
#
# A cross target needs its tools: make TARGET=aarch64-unknown-linux-gnu CROSS=aarch64-linux-gnu-
# Another toolchain: CARGO, RUSTC; CARGO_FLAGS, as "-Zbuild-std=core" for a target that comes without a core.

BACKEND ?= libc
CARGO ?= cargo
RUSTC ?= rustc
CARGO_FLAGS ?=
host := $(shell $(RUSTC) -vV | sed -n 's/^host: //p')
# What the environment tells cargo, as cross environments do.
TARGET ?= $(filter-out $(host),$(CARGO_BUILD_TARGET))
CROSS ?=
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
BINDIR ?= $(PREFIX)/bin
MANDIR ?= $(PREFIX)/share/man
DESTDIR ?=

CC := $(if $(filter default,$(origin CC)),$(CROSS)gcc,$(CC))
LD := $(if $(filter default,$(origin LD)),$(CROSS)ld,$(LD))
AR := $(if $(filter default,$(origin AR)),$(CROSS)ar,$(AR))
OBJCOPY ?= $(CROSS)objcopy

ifeq ($(filter $(BACKEND),libc raw),)
$(error BACKEND is libc or raw, not "$(BACKEND)")
endif

version := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
major := $(firstword $(subst ., ,$(version)))
out := target/c/$(if $(TARGET),$(TARGET)/)$(BACKEND)
# Always with a target, so that no setting of somebody's decides where cargo puts things.
triple := $(or $(TARGET),$(host))
cargo_out := $(out)/cargo/$(triple)/
cargo_flags := --locked --no-default-features --target-dir $(out)/cargo --target $(triple) $(CARGO_FLAGS)
# The command for another machine is linked by its compiler, which may be several words.
linker := $(if $(TARGET),--config 'target.$(TARGET).linker="$(firstword $(CC))"')
link_words := $(if $(TARGET),$(addprefix -C link-arg=,$(wordlist 2,$(words $(CC)),$(CC))))
sources := Makefile Cargo.toml Cargo.lock build.rs src/lib.rs $(wildcard src/*.rs src/*/*.rs src/*/*/*.rs src/*/*/*.ld)

# What the library exports.
exports := $(shell sed -n 's/^ *\(untty_[a-z_]*\);$$/\1/p' untty.map)

# Nothing but the C library may be missing from the shared library; with the raw backend, nothing at all.
libs_libc := -lc
libs_raw :=

# What is small is not worth a call to it, and what is large is not worth a copy.
small := -C llvm-args=-inline-threshold=30
# The raw command lies where its linker script says (build.rs).
fixed_raw := -C relocation-model=static

artifacts := $(out)/libuntty.a $(out)/libuntty.so.$(version) $(out)/untty.pc $(out)/untty

.DELETE_ON_ERROR:
.PHONY: all install check header clean

all: $(artifacts)

$(out)/cargo.a: $(sources)
	$(CARGO) rustc $(cargo_flags) --profile capi --lib --features $(BACKEND),capi --crate-type staticlib -- \
	    --cfg untty_panic_handler -C relocation-model=pic -C force-unwind-tables=no -C no-redzone=yes $(small)
	cp $(cargo_out)capi/libuntty.a $@

# Nothing unwinds; and core's bitcode is one that other versions of LLVM (a plugin of ar's) stumble over.
useless := .comment .eh_frame .rel.eh_frame .rela.eh_frame '*.ARM.exidx*' '*.ARM.extab*' .llvmbc .llvmcmd

# rustc's archive holds the whole of core. One object with what the exports reach, and only them to be seen, remains.
$(out)/untty.o: $(out)/cargo.a untty.map Makefile
	$(LD) -r --gc-sections $(addprefix -u ,$(exports)) -o $@.whole $<
	$(OBJCOPY) $(addprefix --keep-global-symbol=,$(exports)) --strip-unneeded \
	    $(addprefix --remove-section=,$(useless)) $@.whole $@
	rm $@.whole

$(out)/libuntty.a: $(out)/untty.o
	rm -f $@
	$(AR) rcsD $@ $<

# -z defs: a path that panics calls a function that does not exist (src/lib.rs), and this link fails.
$(out)/libuntty.so.$(version): $(out)/untty.o untty.map
	$(CC) $(LDFLAGS) -shared -nostdlib -o $@ $< $(libs_$(BACKEND)) -Wl,-soname,libuntty.so.$(major) -Wl,-z,defs -Wl,-z,relro,-z,now \
	    -Wl,-z,noexecstack -Wl,-z,nodelete -Wl,--version-script=untty.map -Wl,--build-id=none -Wl,-O1 -Wl,-s
	ln -sf $(@F) $(out)/libuntty.so.$(major)
	ln -sf $(@F) $(out)/libuntty.so

# A path that panics does not link here either.
$(out)/untty: $(sources)
	$(CARGO) rustc $(cargo_flags) $(linker) --release --bin untty --features $(BACKEND) -- \
	    --cfg untty_panic_handler $(small) $(fixed_$(BACKEND)) $(link_words)
	cp $(cargo_out)release/untty $@

# In terms of the prefix, if it lies below that; a path may have spaces in it.
below_prefix = $(subst |,,$(subst |$(PREFIX)/,$${prefix}/,|$(1)))

# What make, sed or pkg-config reads in another way than the shell.
export PC_PATHS := $(PREFIX)$(LIBDIR)$(INCLUDEDIR)
$(out)/untty.pc: untty.pc.in Cargo.toml Makefile FORCE
	case "$$PC_PATHS" in *[\&\|\#\"\\]*) echo "untty.pc cannot hold this path: $$PC_PATHS" >&2; exit 1 ;; esac
	mkdir -p $(out)
	rm -f $@ # root's, if root has installed
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(call below_prefix,$(LIBDIR))|' \
	    -e 's|@INCLUDEDIR@|$(call below_prefix,$(INCLUDEDIR))|' -e 's|@VERSION@|$(version)|' $< > $@

# The prefix may differ from the last time.
.PHONY: FORCE
FORCE:

# Every exported function has a man page, which is untty(3).
install: all
	install -d "$(DESTDIR)$(LIBDIR)/pkgconfig" "$(DESTDIR)$(INCLUDEDIR)" "$(DESTDIR)$(BINDIR)" \
	    "$(DESTDIR)$(MANDIR)/man1" "$(DESTDIR)$(MANDIR)/man3"
	install -m 644 $(out)/libuntty.a "$(DESTDIR)$(LIBDIR)/libuntty.a"
	install -m 755 $(out)/libuntty.so.$(version) "$(DESTDIR)$(LIBDIR)/libuntty.so.$(version)"
	ln -sf libuntty.so.$(version) "$(DESTDIR)$(LIBDIR)/libuntty.so.$(major)"
	ln -sf libuntty.so.$(version) "$(DESTDIR)$(LIBDIR)/libuntty.so"
	install -m 644 $(out)/untty.pc "$(DESTDIR)$(LIBDIR)/pkgconfig/untty.pc"
	install -m 644 include/untty.h "$(DESTDIR)$(INCLUDEDIR)/untty.h"
	install -m 755 $(out)/untty "$(DESTDIR)$(BINDIR)/untty"
	install -m 644 man/untty.1 "$(DESTDIR)$(MANDIR)/man1/untty.1"
	install -m 644 man/untty.3 "$(DESTDIR)$(MANDIR)/man3/untty.3"
	for name in $(exports); do \
	    echo ".so man3/untty.3" | install -m 644 /dev/stdin "$(DESTDIR)$(MANDIR)/man3/$$name.3" || exit; done

# tests/c_interface.rs builds and runs the C examples, with both backends.
check: all
	$(CARGO) test --locked --no-default-features --features $(BACKEND)

header:
	UNTTY_BLESS=1 $(CARGO) test --locked --test header

clean:
	rm -rf target/c
