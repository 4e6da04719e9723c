//! The raw backend's command has no C library and no start files: it brings its own `_start`. One that is to be small
//! has its own layout too.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let variable = |name: &str| env::var(name).unwrap_or_default();
    // Where a daemon can take its caller's memory over: src/handover.
    let machine = ["x86_64", "aarch64", "riscv64"].contains(&variable("CARGO_CFG_TARGET_ARCH").as_str());
    if machine && variable("CARGO_CFG_TARGET_POINTER_WIDTH") == "64" && variable("CARGO_CFG_TARGET_OS") == "linux" {
        println!("cargo:rustc-cfg=untty_handover");
    }
    let has = |feature: &str| env::var_os(format!("CARGO_FEATURE_{feature}")).is_some();
    if !has("RAW") || has("LIBC") {
        return;
    }
    let mut arguments = ["-nostdlib", "-nostartfiles", "-static", "-no-pie"].map(String::from).to_vec();
    if variable("PROFILE") == "release" {
        const LAYOUT: &str = "src/bin/untty/raw.ld";
        println!("cargo:rerun-if-changed={LAYOUT}");
        arguments.push(format!("-T{}/{LAYOUT}", variable("CARGO_MANIFEST_DIR")));
        arguments.extend(["-Wl,--build-id=none", "-Wl,--no-eh-frame-hdr"].map(String::from));
    }
    for argument in arguments {
        println!("cargo:rustc-link-arg-bin=untty={argument}");
    }
}
