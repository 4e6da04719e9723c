//! The raw backend's command has no C library and no start files: it brings its own `_start`.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let has = |feature: &str| env::var_os(format!("CARGO_FEATURE_{feature}")).is_some();
    if has("RAW") && !has("LIBC") {
        for argument in ["-nostdlib", "-nostartfiles", "-static", "-no-pie"] {
            println!("cargo:rustc-link-arg-bin=untty={argument}");
        }
    }
}
