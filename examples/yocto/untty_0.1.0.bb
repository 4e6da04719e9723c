SUMMARY = "Turns a process into a daemon, and tells the caller the truth"
DESCRIPTION = "A library for C and Rust, and a command, to leave the terminal for good: the caller learns which step failed."
HOMEPAGE = "https://crates.io/crates/untty"
BUGTRACKER = "https://crates.io/crates/untty"
SECTION = "libs"
CVE_PRODUCT = "untty"
LICENSE = "MIT | Apache-2.0"
LIC_FILES_CHKSUM = "\
    file://LICENSE-APACHE;md5=3b83ef96387f14655fc854ddc3c6bd57 \
    file://LICENSE-MIT;md5=0bdf960cdb4c3adcecf4da3249546435 \
"

# SRC_URI[untty.sha256sum] is to be added when the release is out: bitbake -c fetch tells it.
SRC_URI = "crate://crates.io/untty/${PV};name=untty"
S = "${CARGO_VENDORING_DIRECTORY}/untty-${PV}"

inherit cargo cargo-update-recipe-crates

# bitbake -c update_crates untty writes it from Cargo.lock, once the recipe has been parsed without it.
# nooelint: oelint.file.includenotfound,oelint.file.requireinclude
include ${BPN}-crates.inc

B = "${S}"

# libc or raw; raw is for programs that have no C library.
UNTTY_BACKEND ?= "libc"

EXTRA_OEMAKE = "\
    'BACKEND=${UNTTY_BACKEND}' \
    'TARGET=${RUST_HOST_SYS}' \
    'PREFIX=${prefix}' \
    'LIBDIR=${libdir}' \
    'INCLUDEDIR=${includedir}' \
    'BINDIR=${bindir}' \
    'MANDIR=${mandir}' \
"

do_compile() {
    export RUSTFLAGS="${RUSTFLAGS}"
    oe_runmake all
}

do_install() {
    oe_runmake install 'DESTDIR=${D}'
}

# The Makefile strips what it builds.
# nooelint: oelint.vars.insaneskip
INSANE_SKIP:${PN} += "already-stripped"

BBCLASSEXTEND = "native nativesdk"
