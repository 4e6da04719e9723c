//! `include/untty.h` is what cbindgen makes of `src/capi.rs`.

#![allow(clippy::expect_used, clippy::panic, reason = "a test")]

use std::{env, fs, path::Path};

#[test]
fn the_committed_header_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml");
    let bindings = cbindgen::Builder::new().with_config(config).with_src(root.join("src/capi.rs")).generate();
    let mut generated = Vec::new();
    bindings.expect("src/capi.rs can be read").write(&mut generated);
    let generated = String::from_utf8(generated).expect("the header is text");
    let path = root.join("include/untty.h");
    if env::var_os("UNTTY_BLESS").is_some() {
        fs::write(&path, &generated).expect("include/untty.h can be written");
    }
    let committed = fs::read_to_string(&path).expect("include/untty.h can be read");
    assert!(committed == generated, "include/untty.h is not current; run UNTTY_BLESS=1 cargo test --test header");
}
