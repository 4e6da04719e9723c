//! The programs of `tests/handover/c`, linked in every way, each run in every way.

use super::super::harness::c::{build_once, finish, prefix, skipped, workshop};
use super::super::harness::{End, ROOT, make, run, succeed};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Of this build.
pub const BACKEND: &str = if cfg!(feature = "libc") { "libc" } else { "raw" };

/// How a program is linked with the library, and with the C library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    Archive,
    Shared,
    Static,
}

const LINKS: [Link; 3] = [Link::Archive, Link::Shared, Link::Static];

const C: [&str; 18] = [
    "raise",
    "abort",
    "threads",
    "mutexes",
    "robust",
    "scheduling",
    "setuid",
    "processor",
    "children",
    "heap",
    "variables",
    "stack",
    "alternate",
    "timers",
    "streams",
    "identity",
    "waits",
    "exceptions",
];
const LIBRARIES: [&str; 2] = ["plugin.so", "preloaded.so"];

/// How a program becomes a daemon (tests/handover/c/daemon.h), and the way that it then says.
pub const WAYS: [(&str, &str); 3] = [("forks", "way 0"), ("handover", "way 1"), ("waiting", "way 1")];

/// Whether nothing but building was asked for.
pub fn build_only() -> bool {
    let Some(directory) = env::var_os("UNTTY_HANDOVER_BUILD").map(PathBuf::from) else { return false };
    for name in C {
        for link in LINKS.into_iter().filter(|link| is_wanted(name, *link)) {
            compile(&directory, name, link);
        }
    }
    LIBRARIES.iter().for_each(|name| compile_library(&directory, name));
    true
}

fn is_wanted(name: &str, link: Link) -> bool {
    // A program without a loader loads nothing.
    let has_no_loader = link == Link::Static && name == "variables";
    // It brings its own, of this machine.
    let has_its_own_libc = link == Link::Static && (sysroot().is_some() || env::var_os("UNTTY_GLIBC").is_some());
    !has_no_loader && !has_its_own_libc && (compiler(name) != "g++" || has_cxx())
}

fn compiler(name: &str) -> &'static str {
    if name == "exceptions" { "g++" } else { "gcc" }
}

fn has_cxx() -> bool {
    Command::new("g++").arg("--version").output().is_ok()
}

fn prebuilt() -> Option<PathBuf> {
    env::var_os("UNTTY_HANDOVER_PROGRAMS").map(PathBuf::from)
}

/// One of [`LIBRARIES`].
pub fn library(name: &str) -> PathBuf {
    let directory = prebuilt().unwrap_or_else(|| workshop().join("handover"));
    let path = directory.join(name);
    if prebuilt().is_none() {
        build_once(&path, || compile_library(&directory, name));
    }
    path
}

/// A program, as it is started.
pub fn program(name: &str, link: Link) -> Command {
    let directory = prebuilt().unwrap_or_else(|| workshop().join("handover"));
    let path = path(&directory, name, link);
    if prebuilt().is_none() {
        build_once(&path, || compile(&directory, name, link));
    }
    let Some(glibc) = env::var_os("UNTTY_GLIBC").map(PathBuf::from) else { return Command::new(path) };
    let mut command = Command::new(glibc.join("ld.so"));
    command.arg("--library-path").arg(&glibc).arg(path);
    command
}

fn path(directory: &Path, name: &str, link: Link) -> PathBuf {
    directory.join(format!("{link:?}")).join(name)
}

/// Where the library is.
fn installed() -> PathBuf {
    if env::var_os("UNTTY_HANDOVER_BUILD").is_none() {
        return prefix(BACKEND).join("lib");
    }
    // The shared library, too, is linked with the C library that is asked for.
    let (out, compiler) = sysroot().map_or_else(
        || (format!("target/c/{BACKEND}"), "CC=gcc".to_owned()),
        |sysroot| (format!("target/c/old-{BACKEND}"), format!("CC=gcc {}", with_sysroot(&sysroot).join(" "))),
    );
    let out = Path::new(ROOT).join(out);
    build_once(&out, || make(&[format!("BACKEND={BACKEND}"), format!("out={}", out.display()), compiler]));
    out
}

/// An older C library to be built for, whose loader and libraries come when the program runs.
fn sysroot() -> Option<String> {
    env::var("UNTTY_SYSROOT").ok()
}

/// Debian's gcc looks beside itself first, for libraries (-L) and for start files (-B).
fn with_sysroot(sysroot: &str) -> [String; 3] {
    let place = format!("{sysroot}/usr/lib/{}-linux-gnu", env::consts::ARCH);
    [format!("--sysroot={sysroot}"), format!("-L{place}"), format!("-B{place}")]
}

fn gcc(name: &str) -> Command {
    let mut command = Command::new(compiler(name));
    let standard = if compiler(name) == "g++" { "-std=c++17" } else { "-std=gnu11" };
    command.args([standard, "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", "-I"]);
    command.arg(Path::new(ROOT).join("include"));
    if let Some(sysroot) = sysroot() {
        command.args(with_sysroot(&sysroot));
        if compiler(name) == "g++" {
            let headers = format!("{sysroot}/usr/include");
            command.args(["-nostdinc++", "-isystem", &format!("{headers}/c++/10"), "-isystem"]);
            command.arg(format!("{headers}/{}-linux-gnu/c++/10", env::consts::ARCH));
        }
    }
    command
}

fn source(name: &str) -> PathBuf {
    let ending = if compiler(name) == "g++" { "cpp" } else { "c" };
    Path::new(ROOT).join(format!("tests/handover/c/{name}.{ending}"))
}

fn compile(directory: &Path, name: &str, link: Link) {
    let program = path(directory, name, link);
    fs::create_dir_all(program.parent().expect("a directory")).expect("a directory");
    let mut command = gcc(name);
    command.arg("-o").arg(&program).arg(source(name));
    match link {
        Link::Archive => command.arg(installed().join("libuntty.a")),
        Link::Shared => {
            let library = program.with_file_name("libuntty.so.0");
            build_once(&library, || {
                fs::copy(installed().join("libuntty.so.0"), &library).expect("a copy");
            });
            command.arg(library).arg("-Wl,-rpath,$ORIGIN")
        }
        Link::Static => command.arg("-static").arg(installed().join("libuntty.a")),
    };
    succeed(command.args(["-ldl", "-lrt"]));
}

fn compile_library(directory: &Path, name: &str) {
    fs::create_dir_all(directory).expect("a directory");
    let mut command = gcc(name);
    command.args(["-shared", "-fPIC", "-o"]).arg(directory.join(name)).arg(source(name.trim_end_matches(".so")));
    succeed(command.arg(installed().join("libuntty.a")));
}

/// A program whose every statement holds, and whose daemon exits 0.
pub fn holds(name: &str, arguments: &[&str]) {
    every_way(name, arguments, End::Exited(0), End::Exited(0));
}

/// The same, but its daemon dies of that signal. The caller that still waits then cannot say that it is ready.
pub fn dies(name: &str, arguments: &[&str], signal: i32) {
    let told_too_late = if name == "raise" || name == "abort" { End::Exited(1) } else { End::Exited(0) };
    every_way(name, arguments, End::Killed(signal), told_too_late);
}

fn every_way(name: &str, arguments: &[&str], daemon: End, caller_that_waits: End) {
    if compiler(name) == "g++" && prebuilt().is_none() && !has_cxx() {
        return skipped(name, "there is no g++");
    }
    let arguments: Vec<String> = arguments.iter().map(|word| argument(word)).collect();
    for link in LINKS.into_iter().filter(|link| is_wanted(name, *link)) {
        if prebuilt().is_some_and(|directory| !path(&directory, name, link).exists()) {
            skipped(name, &format!("{link:?} was not built"));
            continue;
        }
        let mut of_forks = Vec::new();
        for (how, way) in WAYS {
            // The C library's view after raw forks is another story (tests/libcs).
            if how == "forks" && BACKEND == "raw" {
                continue;
            }
            let caller = if how == "waiting" { caller_that_waits } else { End::Exited(0) };
            let (end, said, orphans) = finish(program(name, link).arg(how).args(&arguments));
            let context = format!("{name} {arguments:?}, {link:?}, {how}: {said:?}, {orphans:?}");
            let at = said.iter().position(|line| line == way);
            assert!(at.is_some(), "it took another way than {way}: {context}");
            let said: Vec<String> = said.into_iter().filter(|line| line != way).collect();
            assert!(said.iter().all(|line| line.starts_with("ok ") || line == "end"), "{context}");
            assert_eq!(end, caller, "the caller: {context}");
            assert!(orphans.iter().any(|orphan| orphan.1 == daemon), "the daemon ends with {daemon:?}: {context}");
            assert!(orphans.iter().all(|orphan| [daemon, End::Exited(0)].contains(&orphan.1)), "{context}");
            if matches!(daemon, End::Exited(_)) {
                assert_eq!(said.last().map(String::as_str), Some("end"), "{context}");
            }
            if of_forks.is_empty() {
                of_forks = said;
            } else {
                assert_eq!(said, of_forks, "as after forks: {context}");
            }
        }
    }
}

/// One of [`LIBRARIES`] is a path.
fn argument(word: &str) -> String {
    if LIBRARIES.contains(&word) { library(word).display().to_string() } else { word.to_owned() }
}

/// Whether a tool is here; if not, that is said.
pub fn has(test: &str, tool: &str) -> bool {
    let is_there = Command::new(tool).arg("--version").output().is_ok();
    if !is_there {
        skipped(test, &format!("there is no {tool}"));
    }
    is_there
}

/// Runs a tool that may fail; all that it said.
pub fn said_by(command: &mut Command) -> String {
    let (status, output, errors) = run(command);
    format!("{output}{errors}{status}\n")
}
