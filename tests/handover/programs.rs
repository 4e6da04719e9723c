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
    let for_old_headers = link == Link::Static && env::var_os("UNTTY_SYSROOT").is_some();
    !has_no_loader && !for_old_headers && (compiler(name) != "g++" || has_cxx())
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

/// The library, made once, whoever builds.
fn installed() -> PathBuf {
    if env::var_os("UNTTY_HANDOVER_BUILD").is_none() {
        return prefix(BACKEND).join("lib");
    }
    make(&[format!("BACKEND={BACKEND}")]);
    Path::new(ROOT).join("target/c").join(BACKEND)
}

fn gcc(name: &str) -> Command {
    let mut command = Command::new(compiler(name));
    let standard = if compiler(name) == "g++" { "-std=c++17" } else { "-std=gnu11" };
    command.args([standard, "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", "-I"]);
    command.arg(Path::new(ROOT).join("include"));
    // An older C library to be built for, whose loader and libraries come when the program runs.
    if let Ok(sysroot) = env::var("UNTTY_SYSROOT") {
        command.arg(format!("--sysroot={sysroot}")).arg("-Wl,--allow-shlib-undefined");
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
    succeed(command.arg("-ldl"));
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
