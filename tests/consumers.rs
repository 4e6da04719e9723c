//! Those who use the library, for real: programs in C99, C11, C++11, C++20, Python and Rust (std with tokio, and neither
//! std nor a C library), and one that loads the library while it runs. Each is in its own idiom, and all do the same
//! (tests/consumers); here is what they are asked.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::std_instead_of_core, reason = "tests have std")]

mod harness;
#[path = "consumers/libcs.rs"]
mod libcs;

use harness::c::{EXPORTS, Flavour, finish, flavours, prefix, remove_workshop_at_exit, skipped, visit, with};
use harness::{End, Event, Meeting, ROOT, Scratch, Visitor, Warden, run, stat_fields, succeed};
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    remove_workshop_at_exit();
    harness::main(
        &[
            ("c99", || in_c("c99")),
            ("c11", || in_c("c11")),
            ("cxx11", || in_cxx("c++11")),
            ("cxx20", || in_cxx("c++20")),
            ("python_through_ctypes", python_through_ctypes),
            ("program_that_loads_the_library", program_that_loads_the_library),
            ("rust_without_std_or_libc", rust_without_std_or_libc),
            ("rust_with_tokio", rust_with_tokio),
            ("detaching_inside_a_tokio_runtime_is_refused", detaching_inside_a_tokio_runtime_is_refused),
            ("every_library_in_every_c_library", libcs::every_library_in_every_c_library),
            ("what_holds_with_raw_forks_too", libcs::what_holds_with_raw_forks_too),
            ("what_does_not_hold_with_raw_forks", libcs::what_does_not_hold_with_raw_forks),
            ("what_a_c_library_knows_after_handover", libcs::what_a_c_library_knows_after_handover),
        ],
        &[],
    );
}

/// Whether that is all that was said: one line, STEP: what: ERRNO.
fn is_failure(output: &[String], step: &str, errno: &str) -> bool {
    let [line] = output else { return false };
    line.starts_with(&format!("consumer: {step}: ")) && line.ends_with(&format!(": {errno}"))
}

// What every consumer is asked.

fn assert_keeps_the_promise(program: &dyn Fn(&[&str]) -> Command) {
    ready_when_it_says_so(program, &mut |_, _| ());
    caller_that_returns(program);
    for (mode, status) in [("fail", 7), ("refused", 1)] {
        let command = program(&[mode]);
        let (end, output, orphans) = finish(&command);
        assert_eq!(end, End::Exited(status), "{command:?}: {output:?}");
        assert!(orphans.iter().all(|orphan| orphan.1 == End::Exited(status)), "{command:?}: nobody stays: {orphans:?}");
        let said = if mode == "fail" { output.is_empty() } else { is_failure(&output, "chdir", "ENOENT") };
        assert!(said, "{command:?}: {output:?}");
    }
}

/// The caller exits when the daemon is ready, not before. `then` may ask more of the daemon.
fn ready_when_it_says_so(program: &dyn Fn(&[&str]) -> Command, then: &mut dyn FnMut(&mut Visitor, i32)) {
    let scratch = Scratch::new();
    let meeting = Meeting::new(&scratch);
    let command = program(&["ready", meeting.path()]);
    let mut warden = Warden::start(&command);
    let mut visitor = meeting.daemon();
    let daemon = daemon_of(&visitor.line().expect("it says who it is"), &warden);
    let living = warden.living();
    assert_eq!(living.len(), 2, "{command:?}: the caller waits for its daemon, and nobody else is there: {living:?}");
    assert_eq!(visitor.ask("be ready"), "ready 0", "{command:?}");
    assert_eq!(warden.caller(), End::Exited(0), "{command:?}");
    assert_eq!(warden.living(), [daemon]);
    then(&mut visitor, daemon);
    drop(visitor);
    assert_eq!(warden.rest(), [(daemon, End::Exited(0))], "{command:?}");
    assert_eq!(warden.all_output(), Vec::<String>::new(), "{command:?}");
}

/// The caller goes on with the daemon's process id, and its own exit status counts.
fn caller_that_returns(program: &dyn Fn(&[&str]) -> Command) {
    let scratch = Scratch::new();
    let meeting = Meeting::new(&scratch);
    let command = program(&["return", meeting.path()]);
    let mut warden = Warden::start(&command);
    let mut visitor = meeting.daemon();
    let said = visitor.line().expect("it says who it is");
    let daemon = daemon_of(&said, &warden);
    assert_eq!(visitor.ask("be ready"), "ready 0", "{command:?}");
    assert_eq!(warden.caller(), End::Exited(3), "{command:?}");
    drop(visitor);
    assert_eq!(warden.rest(), [(daemon, End::Exited(0))], "{command:?}");
    assert_eq!(warden.all_output(), [said], "{command:?}");
}

/// The process that says `daemon PID`, after a look at whether it is one: in a session of its own that has no terminal,
/// not its leader, the warden's child.
fn daemon_of(said: &str, warden: &Warden) -> i32 {
    let pid: i32 = said.strip_prefix("daemon ").and_then(|pid| pid.parse().ok()).expect("a pid");
    let fields = stat_fields(pid).expect("it lives");
    let [parent, group, session, terminal] = [1, 2, 3, 4].map(|index| fields[index].parse::<i32>().expect("a number"));
    // SAFETY: takes no pointers.
    let ours = unsafe { libc::getsid(0) };
    assert_eq!((parent, group, terminal), (warden.pid(), session, 0));
    assert!(session != pid && session != ours, "{session}");
    assert_eq!(std::fs::read_link(format!("/proc/{pid}/cwd")).expect("it lives"), Path::new("/"));
    pid
}

// The consumers.

const WARNINGS: [&str; 4] = ["-pedantic", "-Wall", "-Wextra", "-Werror"];

fn in_c(standard: &str) {
    in_every_flavour("gcc", standard, "consumers/consumer.c");
}

fn in_cxx(standard: &str) {
    if Command::new("g++").arg("--version").output().is_err() {
        return skipped(standard, "there is no g++");
    }
    in_every_flavour("g++", standard, "consumers/consumer.cpp");
}

fn in_every_flavour(compiler: &str, standard: &str, source: &str) {
    let standard_option = format!("-std={standard}");
    let compiler = [&[compiler, &standard_option][..], &WARNINGS].concat();
    for flavour in flavours() {
        let name = format!("consumer-{standard}");
        assert_keeps_the_promise(&|arguments| with(flavour.compiled(&name, &compiler, source), arguments));
    }
}

/// A shared library of that backend.
fn shared(backend: &str) -> PathBuf {
    prefix(backend).join("lib/libuntty.so")
}

fn python_through_ctypes() {
    if Command::new("python3").arg("--version").output().is_err() {
        return skipped("python_through_ctypes", "there is no python3");
    }
    // What C has, which Python has written down by hand.
    let header = Flavour { backend: "libc", shared: false }.program("header");
    let in_c = succeed(&mut { header });
    for backend in ["libc", "raw"] {
        let python = |arguments: &[&str]| {
            let mut command = Command::new("python3");
            command.arg(Path::new(ROOT).join("tests/consumers/consumer.py")).arg(shared(backend)).args(arguments);
            command
        };
        assert_eq!(succeed(&mut python(&["layout"])), in_c);
        assert_keeps_the_promise(&python);
        let (end, output, orphans) = finish(&python(&["threads"]));
        assert!(is_failure(&output, "threads", "EBUSY"), "{output:?}");
        assert_eq!((end, orphans), (End::Exited(1), vec![]));
    }
}

fn program_that_loads_the_library() {
    // Of any library, the program needs only the header.
    let compiler = ["gcc", "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-ldl"];
    for backend in ["libc", "raw"] {
        let loader = |arguments: &[&str]| {
            let mut command = Flavour { backend, shared: false }.compiled("loader", &compiler, "consumers/loader.c");
            command.arg(shared(backend)).args(arguments);
            command
        };
        let undefined = succeed(Command::new("nm").arg("-u").arg(loader(&[]).get_program()));
        assert!(!undefined.contains("untty_"), "{undefined}");
        let names = [&["names"], &EXPORTS[..]].concat();
        assert_eq!(succeed(&mut loader(&names)), format!("{}\n", env!("CARGO_PKG_VERSION")));
        let (status, _, errors) = run(&mut loader(&["names", "untty_is_no_such_name"]));
        assert!(status.code() == Some(96) && errors.contains("untty_is_no_such_name"), "{status}: {errors}");
        assert_keeps_the_promise(&loader);
        ready_when_it_says_so(&loader, &mut |visitor, _| {
            // It is linked so: after a handover, the caller may still be in it for a moment.
            assert_eq!(visitor.line().as_deref(), Some("the library is still there"), "{backend}");
        });
    }
}

/// Builds a package below `tests/consumers`: its program. `None`, said, where it cannot be had: a published package does
/// not hold other packages, and the registry may be out of reach. A lock file that no longer fits is a failure.
fn package(name: &str) -> Option<PathBuf> {
    let manifest = Path::new(ROOT).join("tests/consumers").join(name).join("Cargo.toml");
    if !manifest.exists() {
        skipped(name, "the published package does not hold tests/consumers");
        return None;
    }
    let cargo = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO"));
        command.args(words).args(["--quiet", "--locked", "--manifest-path"]).arg(&manifest);
        command
    };
    let (status, _, errors) = run(&mut cargo(&["fetch"]));
    if !status.success() {
        assert!(is_out_of_reach(&errors), "cargo fetch --locked, for tests/consumers/{name}: {errors}");
        skipped(name, &format!("what it depends on cannot be fetched: {errors}"));
        return None;
    }
    let target = Path::new(ROOT).join("target/consumers").join(name);
    succeed(cargo(&["build"]).arg("--target-dir").arg(&target));
    Some(target.join("debug/consumer"))
}

/// Whether cargo complains of the network or the registry, and of nothing else.
fn is_out_of_reach(errors: &str) -> bool {
    let of_the_network = [
        "failed to download",
        "failed to query",
        "offline was specified",
        "using offline mode",
        "which is replacing registry",
    ];
    !errors.contains("--locked") && of_the_network.iter().any(|words| errors.contains(words))
}

fn rust_without_std_or_libc() {
    if !cfg!(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")) {
        return skipped("rust_without_std_or_libc", "the raw backend is not for this architecture");
    }
    let Some(program) = package("no_libc") else { return };
    assert_keeps_the_promise(&|arguments| with(Command::new(&program), arguments));
    assert_keeps_the_promise(&|arguments| with(with(Command::new(&program), arguments), &["handover"]));
    let says_its_way = |arguments: &[&str]| with(with(Command::new(&program), arguments), &["way"]);
    ready_when_it_says_so(&says_its_way, &mut |visitor, _| {
        assert_eq!(visitor.line().as_deref(), Some("Handover"));
    });
    // What may be missing is glibc's, and nobody misses it.
    let undefined = succeed(Command::new("nm").arg("-u").arg(&program));
    let others = undefined.lines().filter(|line| !line.trim_start().starts_with("w __rseq_"));
    assert_eq!(others.count(), 0, "{undefined}");
    let dynamic = succeed(Command::new("readelf").arg("-d").arg(&program));
    assert!(dynamic.contains("no dynamic section"), "{dynamic}");
}

fn rust_with_tokio() {
    let Some(program) = package("tokio") else { return };
    let program = |arguments: &[&str]| with(Command::new(&program), arguments);
    assert_keeps_the_promise(&program);
    ready_when_it_says_so(&program, &mut |visitor, daemon| {
        let line = visitor.line().expect("it says where it listens");
        let port = line.strip_prefix("port ").and_then(|port| port.parse().ok()).expect("a port");
        let tasks = std::fs::read_dir(format!("/proc/{daemon}/task")).expect("it lives").count();
        assert_eq!(tasks, 3, "the runtime's two workers, and the first thread");
        for _ in 0..3 {
            assert_eq!(visit(port), format!("hello from process {daemon}\n"));
        }
    });
}

fn detaching_inside_a_tokio_runtime_is_refused() {
    let Some(program) = package("tokio") else { return };
    let mut warden = Warden::start(&with(Command::new(&program), &["inside"]));
    assert_eq!(warden.next(), Event::Caller(End::Exited(1)));
    assert_eq!(warden.next(), Event::None, "nobody else has been there");
    let output = warden.all_output();
    assert!(is_failure(&output[..1], "threads", "EBUSY"), "{output:?}");
    assert!(output.len() == 2 && output[1].starts_with("hello from process "), "it serves as before: {output:?}");
}
