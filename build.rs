//! The raw backend's command has no C library and no start files: it brings its own `_start`, and its own layout.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let has = |feature: &str| env::var_os(format!("CARGO_FEATURE_{feature}")).is_some();
    if has("RAW") && !has("LIBC") {
        let layout = "src/bin/untty/raw.ld";
        println!("cargo:rerun-if-changed={layout}");
        let script = format!("-Wl,-T,{}/{layout}", env::var("CARGO_MANIFEST_DIR").unwrap_or_default());
        let plain = ["-nostdlib", "-nostartfiles", "-static", "-no-pie", "-Wl,--build-id=none", "-Wl,--no-eh-frame-hdr"];
        for argument in plain.into_iter().chain([script.as_str()]) {
            println!("cargo:rustc-link-arg-bin=untty={argument}");
        }
    }
}
