//! The C side: installs the library of each backend, once in a test binary, and builds C programs with it; and what
//! tests of such programs share.

use super::{End, Event, PATIENCE, ROOT, Scratch, Warden, make, succeed};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;
use std::{fs, thread};

/// The backends that the compiler's machine has: not always this one's (.ci/architectures).
pub fn backends() -> impl Iterator<Item = &'static str> {
    static BACKENDS: OnceLock<&[&str]> = OnceLock::new();
    BACKENDS.get_or_init(|| {
        let machine = succeed(Command::new("gcc").arg("-dumpmachine"));
        let has_raw = ["x86_64-", "aarch64-", "riscv64-"].iter().any(|start| machine.starts_with(start));
        if has_raw { &["libc", "raw"] } else { &["libc"] }
    });
    BACKENDS.get().into_iter().copied().flatten().copied()
}

pub fn has_backend(name: &str) -> bool {
    backends().any(|backend| backend == name)
}

pub const STRICT: [&str; 5] = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"];

/// What the header declares, and nothing else.
pub const EXPORTS: [&str; 16] = [
    "untty_close_except",
    "untty_close_from",
    "untty_daemon",
    "untty_detach",
    "untty_error_message",
    "untty_fail",
    "untty_ready",
    "untty_step_name",
    "untty_version",
    "untty_way",
    "untty_listen_fds",
    "untty_notify",
    "untty_pid_file_read",
    "untty_pid_file_remove",
    "untty_reopen_log",
    "untty_supervisor",
];

static WORKSHOP: OnceLock<Scratch> = OnceLock::new();

/// What is built here is removed when this process ends; exit runs no destructor of a static.
pub fn remove_workshop_at_exit() {
    // SAFETY: the function may be called at any exit, and unwinds never.
    unsafe { libc::atexit(remove_workshop) };
}

extern "C" fn remove_workshop() {
    if let Some(scratch) = WORKSHOP.get() {
        // Ignored: it is below the temporary directory, so somebody else will.
        let _ = fs::remove_dir_all(scratch.path());
    }
}

/// A directory of this process's.
pub fn workshop() -> &'static Path {
    WORKSHOP.get_or_init(Scratch::new).path()
}

/// Where a backend's library is installed.
pub fn prefix(backend: &str) -> PathBuf {
    static INSTALLED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let prefix = workshop().join(backend);
    // A test that panicked in here has left nothing half done that the next one would not do again.
    let mut installed = INSTALLED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !installed.contains(backend) {
        make(&["install".into(), format!("BACKEND={backend}"), format!("PREFIX={}", prefix.display())]);
        installed.insert(backend.into());
    }
    prefix
}

/// One way to have the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flavour {
    pub backend: &'static str,
    pub shared: bool,
}

pub const FLAVOURS: [Flavour; 4] = [
    Flavour { backend: "libc", shared: false },
    Flavour { backend: "libc", shared: true },
    Flavour { backend: "raw", shared: false },
    Flavour { backend: "raw", shared: true },
];

/// Those of the compiler's machine.
pub fn flavours() -> impl Iterator<Item = Flavour> {
    FLAVOURS.into_iter().filter(|flavour| has_backend(flavour.backend))
}

impl Flavour {
    pub fn is_raw(self) -> bool {
        self.backend == "raw"
    }

    /// How the functions fail that fail as libc's do: the result, and errno afterwards.
    pub fn failure(self, errno: Errno) -> String {
        if self.is_raw() { format!("-{} 0", errno as i32) } else { format!("-1 {}", errno as i32) }
    }

    /// A program of `tests/c`, linked with this library.
    pub fn program(self, name: &str) -> Command {
        self.compiled(name, &[&["gcc"], &STRICT[..]].concat(), &format!("c/{name}.c"))
    }

    /// A program, linked with this library, from one file below `tests`, by that compiler with those options.
    pub fn compiled(self, name: &str, compiler: &[&str], source: &str) -> Command {
        let directory = workshop().join(format!("{}-{}", self.backend, if self.shared { "shared" } else { "static" }));
        let program = directory.join(name);
        build_once(&program, || {
            fs::create_dir_all(&directory).expect("a directory");
            let prefix = prefix(self.backend);
            let mut command = Command::new(compiler[0]);
            command.args(&compiler[1..]).arg("-pthread").arg("-I").arg(prefix.join("include"));
            command.arg("-o").arg(&program).arg(Path::new(ROOT).join("tests").join(source));
            if self.shared {
                command.arg("-L").arg(prefix.join("lib")).arg("-luntty");
                command.arg(format!("-Wl,-rpath,{}", prefix.join("lib").display()));
            } else {
                command.arg(prefix.join("lib/libuntty.a"));
            }
            succeed(&mut command);
        });
        Command::new(program)
    }

    /// An example, compiled by the very command that its first comment tells, against the installed library. A shell
    /// function adds what a strict reader would.
    pub fn example(self, name: &str) -> Command {
        let link = if self.shared { "shared" } else { "static" };
        let directory = workshop().join(format!("examples-{}-{link}", self.backend));
        let program = directory.join(name);
        let prefix = prefix(self.backend);
        build_once(&program, || {
            fs::create_dir_all(&directory).expect("a directory");
            let file = format!("{name}.c");
            let source = fs::read_to_string(Path::new(ROOT).join("examples-c").join(&file)).expect("the example");
            fs::write(directory.join(&file), &source).expect("a copy");
            let told =
                source.lines().map(|line| line.trim_start_matches([' ', '*'])).find(|line| line.starts_with("cc "));
            let told = told.expect("the example tells how it is compiled");
            assert!(told.contains(&format!("-o {name} {file} $(pkg-config --cflags --libs untty)")), "{told}");
            let more = if self.shared { "" } else { " -static" };
            let script = format!("cc() {{ command cc {} \"$@\"{more}; }}; {told}", STRICT.join(" "));
            let mut shell = Command::new("sh");
            shell.args(["-e", "-c", &script]).current_dir(&directory);
            succeed(shell.env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig")));
        });
        let mut command = Command::new(program);
        if self.shared {
            command.env("LD_LIBRARY_PATH", prefix.join("lib"));
        }
        command
    }
}

/// Builds a file unless this process has done so; two tests never build the same one, but may build different ones.
pub fn build_once(file: &Path, build: impl FnOnce()) {
    type Files = Mutex<BTreeMap<PathBuf, Arc<Mutex<bool>>>>;
    static FILES: Files = Mutex::new(BTreeMap::new());
    let entry = FILES.lock().expect("nobody panics in here").entry(file.to_owned()).or_default().clone();
    let mut built = entry.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !*built {
        build();
        *built = true;
    }
}

/// A test that cannot be done here.
pub fn skipped(test: &str, why: &str) {
    eprintln!("SKIPPED: {test}: {why}");
}

/// A program with arguments.
pub fn with(mut command: Command, arguments: &[&str]) -> Command {
    command.args(arguments);
    command
}

/// Runs a program to the end of all its processes: how it ended, what was said, and how the orphans ended.
pub fn finish(command: &Command) -> (End, Vec<String>, Vec<(i32, End)>) {
    let mut warden = Warden::start(command);
    let (mut caller, mut orphans) = (None, Vec::new());
    loop {
        match warden.next() {
            Event::Caller(end) => caller = Some(end),
            Event::Orphan(pid, end) => orphans.push((pid, end)),
            Event::None => return (caller.expect("the caller ended"), warden.all_output(), orphans),
        }
    }
}

/// The first line that is said, when it is said.
pub fn first_line(warden: &mut Warden) -> String {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(line) = warden.output().first() {
            return line.clone();
        }
        assert!(Instant::now() < end, "nothing was said");
        thread::yield_now();
    }
}

pub fn terminate(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGTERM).expect("it lives");
}

/// What one who connects is told.
pub fn visit(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let mut told = String::new();
    stream.read_to_string(&mut told).expect("it answers");
    told
}
