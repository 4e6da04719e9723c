################################################################################
#
# untty
#
################################################################################

UNTTY_VERSION = 0.1.0
UNTTY_SITE = https://static.crates.io/crates/untty
UNTTY_SOURCE = untty-$(UNTTY_VERSION).crate
UNTTY_LICENSE = MIT or Apache-2.0
UNTTY_LICENSE_FILES = LICENSE-MIT LICENSE-APACHE
UNTTY_INSTALL_STAGING = YES

# A .crate is a .tar.gz, which Buildroot does not know by that name.
define UNTTY_EXTRACT_CMDS
	$(INFLATE.gz) $(UNTTY_DL_DIR)/$(UNTTY_SOURCE) | \
		$(TAR) --strip-components=1 -C $(@D) $(TAR_OPTIONS) -
endef

# The package's own Makefile makes the libraries smaller than cargo does.
define UNTTY_MAKE
	$(TARGET_MAKE_ENV) $(TARGET_CONFIGURE_OPTS) $(PKG_CARGO_ENV) \
		$(MAKE) -C $(@D) CARGO="cargo --offline" \
		TARGET=$(RUSTC_TARGET_NAME) PREFIX=/usr \
		BACKEND=$(if $(BR2_PACKAGE_UNTTY_RAW),raw,libc)
endef

define UNTTY_BUILD_CMDS
	$(UNTTY_MAKE) all
endef

define UNTTY_INSTALL_STAGING_CMDS
	$(UNTTY_MAKE) install DESTDIR=$(STAGING_DIR)
endef

define UNTTY_INSTALL_TARGET_CMDS
	$(UNTTY_MAKE) install DESTDIR=$(TARGET_DIR)
endef

$(eval $(cargo-package))
