//! The programs: program.c, for every way of becoming a daemon, with every C library.

use crate::{ROOT, turn};
use std::fmt::{self, Display};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A way of becoming a daemon (entries.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Entry {
    /// untty, with its defaults.
    Forks,
    /// And a daemon that says for itself that it is ready.
    ForksReady,
    Handover,
    HandoverReady,
    /// untty's drop-in for daemon(3).
    UnttyDaemon,
    /// What the C library has: glibc's forks once, musl's twice.
    Daemon3,
    Libdaemon,
    Textbook,
    Minimal,
    CrateDaemonize,
    CrateFork,
    CrateForkChecked,
}

impl Entry {
    const fn name(self) -> &'static str {
        match self {
            Self::Forks => "untty_detach",
            Self::ForksReady => "untty_detach, untty_ready",
            Self::Handover => "untty_detach, handover",
            Self::HandoverReady => "untty_detach, handover, untty_ready",
            Self::UnttyDaemon => "untty_daemon",
            Self::Daemon3 => "daemon(3)",
            Self::Libdaemon => "libdaemon",
            Self::Textbook => "the textbook's double fork",
            Self::Minimal => "a minimal double fork",
            Self::CrateDaemonize => "crate daemonize",
            Self::CrateFork => "crate fork, daemon",
            Self::CrateForkChecked => "crate fork, checked_daemon",
        }
    }

    const fn definition(self) -> &'static str {
        match self {
            Self::Forks => "ENTRY_UNTTY_DETACH=0",
            Self::ForksReady => "ENTRY_UNTTY_READY=0",
            Self::Handover => "ENTRY_UNTTY_DETACH=UNTTY_HANDOVER",
            Self::HandoverReady => "ENTRY_UNTTY_READY=UNTTY_HANDOVER",
            Self::UnttyDaemon => "ENTRY_UNTTY_DAEMON",
            Self::Daemon3 => "ENTRY_DAEMON3",
            Self::Libdaemon => "ENTRY_LIBDAEMON",
            Self::Textbook => "ENTRY_TEXTBOOK",
            Self::Minimal => "ENTRY_MINIMAL",
            Self::CrateDaemonize => "ENTRY_CRATE=crate_daemonize",
            Self::CrateFork => "ENTRY_CRATE=crate_fork_daemon",
            Self::CrateForkChecked => "ENTRY_CRATE=crate_fork_checked_daemon",
        }
    }

    pub(crate) const fn is_untty(self) -> bool {
        self.is_handover() || matches!(self, Self::Forks | Self::ForksReady | Self::UnttyDaemon)
    }

    pub(crate) const fn is_handover(self) -> bool {
        matches!(self, Self::Handover | Self::HandoverReady)
    }

    const fn library(self) -> Option<Library> {
        match self {
            Self::Libdaemon => Some(Library::Libdaemon),
            Self::CrateDaemonize | Self::CrateFork | Self::CrateForkChecked => Some(Library::Crates),
            _ if self.is_untty() => Some(Library::Untty),
            _ => None,
        }
    }
}

/// How a program is built: with which C library, and with which backend of untty's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Build {
    /// As programs are by default.
    Glibc,
    GlibcRaw,
    GlibcStatic,
    Musl,
    MuslStatic,
    NoLibc,
}

impl Build {
    const fn name(self) -> &'static str {
        match self {
            Self::Glibc => "glibc",
            Self::GlibcRaw => "glibc, raw",
            Self::GlibcStatic => "glibc, static",
            Self::Musl => "musl",
            Self::MuslStatic => "musl, static",
            Self::NoLibc => "no libc, static",
        }
    }

    fn compiler(self) -> Command {
        let mut compiler = Command::new(match self {
            Self::Musl | Self::MuslStatic => "musl-gcc",
            _ => "gcc",
        });
        compiler.args(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-I", "include"]);
        match self {
            Self::GlibcStatic | Self::MuslStatic => compiler.arg("-static"),
            Self::NoLibc => {
                compiler.args(["-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-DNO_LIBC"])
            }
            _ => &mut compiler,
        };
        compiler
    }

    /// The arguments with which `make` makes the library, and its path.
    fn untty(self) -> (Vec<&'static str>, &'static str) {
        match self {
            Self::Glibc | Self::GlibcStatic => (vec!["BACKEND=libc"], "target/c/libc/libuntty.a"),
            Self::GlibcRaw | Self::NoLibc => (vec!["BACKEND=raw"], "target/c/raw/libuntty.a"),
            Self::Musl | Self::MuslStatic => {
                let mut arguments =
                    vec!["BACKEND=libc", "CC=musl-gcc", "TARGET=x86_64-unknown-linux-musl", "out=target/musl"];
                if Path::new(ROOT).join(DEBIANS_CARGO).exists() {
                    arguments.push("CARGO=target/msrv/rust/cargo -Zbuild-std=core");
                }
                (arguments, "target/musl/libuntty.a")
            }
        }
    }
}

/// A compiler that has core's sources, and so has it for musl; `.ci/libcs` gets it.
const DEBIANS_CARGO: &str = "target/msrv/rust/cargo";

enum Library {
    Untty,
    Libdaemon,
    Crates,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Program {
    pub(crate) build: Build,
    pub(crate) entry: Entry,
}

impl Program {
    pub(crate) fn path(self, out: &Path) -> PathBuf {
        let name = format!("{:?}-{:?}", self.build, self.entry);
        out.join(name)
    }
}

impl Display for Program {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&format!("{} ({})", self.entry.name(), self.build.name()))
    }
}

const ALL: [(Build, &[Entry]); 6] = [
    (
        Build::Glibc,
        &[
            Entry::Forks,
            Entry::ForksReady,
            Entry::Handover,
            Entry::HandoverReady,
            Entry::UnttyDaemon,
            Entry::Daemon3,
            Entry::Libdaemon,
            Entry::Textbook,
            Entry::Minimal,
            Entry::CrateDaemonize,
            Entry::CrateFork,
            Entry::CrateForkChecked,
        ],
    ),
    (Build::GlibcRaw, &[Entry::Forks, Entry::Handover]),
    (Build::GlibcStatic, &[Entry::Forks, Entry::Handover, Entry::Daemon3, Entry::Minimal]),
    (Build::Musl, &[Entry::Forks, Entry::Daemon3, Entry::Minimal]),
    (Build::MuslStatic, &[Entry::Forks, Entry::UnttyDaemon, Entry::Daemon3, Entry::Minimal]),
    (Build::NoLibc, &[Entry::Forks, Entry::Handover, Entry::HandoverReady]),
];

/// Builds those that are wanted: which could be built, and why others could not.
pub(crate) fn build(out: &Path, wanted: impl Fn(&Program) -> bool) -> (Vec<Program>, Vec<String>) {
    let all =
        ALL.into_iter().flat_map(|(build, entries)| entries.iter().map(move |entry| Program { build, entry: *entry }));
    let (mut built, mut missing) = (Vec::new(), Vec::new());
    for program in all.filter(wanted) {
        match compile(program, out) {
            Ok(()) => built.push(program),
            Err(reason) => missing.push(format!("{program}: {reason}")),
        }
    }
    (built, missing)
}

fn compile(program: Program, out: &Path) -> Result<(), String> {
    let mut compiler = program.build.compiler();
    compiler.arg(format!("-D{}", program.entry.definition())).arg("-o").arg(program.path(out));
    compiler.arg("benches/detach/program.c");
    match program.entry.library() {
        Some(Library::Untty) => {
            compiler.arg(untty(program.build)?);
        }
        Some(Library::Libdaemon) => {
            compiler.arg("-ldaemon");
        }
        Some(Library::Crates) => {
            compiler.arg(crates(out)?);
        }
        None => {}
    }
    run(&mut compiler)
}

fn untty(build: Build) -> Result<&'static str, String> {
    let (arguments, path) = build.untty();
    let mut make = Command::new("make");
    // Nothing of this cargo's own, and of nobody's make.
    for name in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "BACKEND", "TARGET", "CROSS", "CARGO_TARGET_DIR", "RUSTC"] {
        make.env_remove(name);
    }
    if matches!(build, Build::Musl | Build::MuslStatic) {
        // As .ci/libcs does it.
        make.env("RUSTC_BOOTSTRAP", "1").env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_LINKER", "musl-gcc");
        make.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_RUSTFLAGS", "-C link-self-contained=no");
    }
    let made = run(make.arg("-s").args(arguments).arg(path));
    let hint = if Path::new(ROOT).join(DEBIANS_CARGO).exists() { "" } else { "; .ci/libcs gets a compiler for it" };
    made.map(|()| path).map_err(|error| if path.contains("musl") { format!("{error}{hint}") } else { error })
}

fn crates(out: &Path) -> Result<PathBuf, String> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--quiet", "--locked", "--release", "--manifest-path", "benches/detach/crates/Cargo.toml"]);
    run(cargo.arg("--target-dir").arg(out.join("crates")))?;
    Ok(out.join("crates/release/libcrates.a"))
}

/// Runs it where this package is; what went wrong, in a line.
fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.current_dir(ROOT).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let said = errors.lines().find(|line| line.contains("error")).or(errors.lines().last()).unwrap_or_default();
    Err(format!("{program}: {}", said.trim()))
}

/// Where all that was measured, and with what.
pub(crate) fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1)).unwrap_or("?");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or("?");
    let packages: Vec<_> = ["libc6", "musl", "libdaemon0"].into_iter().filter_map(package).collect();
    let lock = read(&format!("{ROOT}/benches/detach/crates/Cargo.lock"));
    let crates: Vec<_> = ["daemonize", "fork"].into_iter().filter_map(|name| locked(&lock, name)).collect();
    format!(
        "Linux {}, {cpu}, {cores} cores, load {load}; {}; crates {}; RLIMIT_NOFILE {}; pages of 4 KiB.",
        kernel.trim(),
        packages.join(", "),
        crates.join(", "),
        turn::DESCRIPTORS,
    )
}

/// What Debian and its like have; nothing elsewhere.
fn package(name: &str) -> Option<String> {
    let output = Command::new("dpkg-query").args(["-W", "-f", "${Package} ${Version}", name]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn locked(lock: &str, name: &str) -> Option<String> {
    let mut lines = lock.lines().skip_while(|line| *line != format!("name = \"{name}\""));
    let version = lines.nth(1)?.strip_prefix("version = \"")?.strip_suffix('"')?;
    Some(format!("{name} {version}"))
}
