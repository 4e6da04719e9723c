//! The C interface, as C programs meet it: the installed header and libraries, both backends, static and shared, side
//! by side. The programs are `tests/c/*.c` and `examples-c/*.c`; whatever they are asked, every library must answer
//! the same, and where processes are involved, the warden sees that nothing is left.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::std_instead_of_core, reason = "tests have std")]

mod harness;

use harness::c::{
    EXPORTS, FLAVOURS, Flavour, STRICT, backends, finish, first_line, flavours, has_backend, prefix,
    remove_workshop_at_exit, skipped, terminate, visit, with, workshop,
};
use harness::{
    End, Meeting, PATIENCE, ROOT, Scratch, State, Visitor, Warden, differences, is_root, make, run, succeed,
};
use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, thread};

fn main() {
    remove_workshop_at_exit();
    harness::main(
        &[
            ("header_is_clean_c", header_is_clean_c),
            ("header_is_clean_cxx", header_is_clean_cxx),
            ("install_puts_exactly_the_promised_files", install_puts_exactly_the_promised_files),
            ("install_takes_paths_with_spaces", install_takes_paths_with_spaces),
            ("libraries_export_exactly_the_promised_names", libraries_export_exactly_the_promised_names),
            ("raw_libraries_need_no_symbol", raw_libraries_need_no_symbol),
            ("libraries_have_no_state_and_few_needs", libraries_have_no_state_and_few_needs),
            ("names_messages_and_version", names_messages_and_version),
            ("what_cannot_work_is_refused", what_cannot_work_is_refused),
            ("options_of_every_size", options_of_every_size),
            ("closing", closing),
            ("daemon_does_what_daemon_3_does", daemon_does_what_daemon_3_does),
            ("daemon_that_fails_leaves_the_caller_as_it_was", daemon_that_fails_leaves_the_caller_as_it_was),
            ("daemon_without_the_real_dev_null_fails", daemon_without_the_real_dev_null_fails),
            ("stopped_leader_of_a_daemon_that_fails_is_ended", stopped_leader_of_a_daemon_that_fails_is_ended),
            ("dev_null_from_after_2038_is_the_real_one", dev_null_from_after_2038_is_the_real_one),
            ("threads_are_refused_or_accepted", threads_are_refused_or_accepted),
            ("detach_by_default_changes_all", detach_by_default_changes_all),
            ("detach_keeps_all_that_it_is_told_to", detach_keeps_all_that_it_is_told_to),
            ("keep_is_not_looked_at_when_all_is_kept", keep_is_not_looked_at_when_all_is_kept),
            ("detach_sets_all_that_it_is_told_to", detach_sets_all_that_it_is_told_to),
            ("streams_can_be_any_descriptor", streams_can_be_any_descriptor),
            ("caller_returns_the_daemons_pid", caller_returns_the_daemons_pid),
            ("caller_waits_until_it_is_ready", caller_waits_until_it_is_ready),
            ("ready_can_be_said_once", ready_can_be_said_once),
            ("ready_without_a_caller_is_epipe", ready_without_a_caller_is_epipe),
            ("fail_gives_the_caller_the_status", fail_gives_the_caller_the_status),
            ("fail_without_a_handle_still_ends_the_process", fail_without_a_handle_still_ends_the_process),
            ("death_without_a_word_is_a_failure", death_without_a_word_is_a_failure),
            ("deadline_ends_the_start", deadline_ends_the_start),
            ("pid_file_is_for_one_daemon_at_a_time", pid_file_is_for_one_daemon_at_a_time),
            ("pid_file_is_its_owners_to_remove", pid_file_is_its_owners_to_remove),
            ("stale_pid_file_is_taken_over", stale_pid_file_is_taken_over),
            ("pid_file_from_after_2038_is_taken_over", pid_file_from_after_2038_is_taken_over),
            ("failed_start_puts_the_pid_file_back", failed_start_puts_the_pid_file_back),
            ("supervisor_and_its_sockets_are_told_by_the_environment", supervisor_is_told_by_the_environment),
            ("supervisor_is_told_by_the_parents_name", supervisor_is_told_by_the_parents_name),
            ("notify_and_ready_speak_to_the_supervisor", notify_and_ready_speak_to_the_supervisor),
            ("without_a_handle_the_supervisor_is_told_at_once", without_a_handle_the_supervisor_is_told_at_once),
            ("nothing_is_said_without_a_supervisor_or_when_it_is_ignored", nothing_is_said_to_nobody),
            ("daemon_never_talks_to_a_supervisor", daemon_never_talks_to_a_supervisor),
            ("supervisor_that_goes_is_an_error_of_the_start", supervisor_that_goes_is_an_error_of_the_start),
            ("ready_fd_gets_a_newline_and_is_closed", ready_fd_gets_a_newline_and_is_closed),
            ("supervised_process_stays_what_it_is", supervised_process_stays_what_it_is),
            ("process_that_is_not_supervised_forks_as_ever", process_that_is_not_supervised_forks_as_ever),
            ("user_and_groups_are_as_asked", user_and_groups_are_as_asked),
            ("user_without_privileges_is_refused", user_without_privileges_is_refused),
            ("root_is_changed_when_the_files_are_open", root_is_changed_when_the_files_are_open),
            ("log_is_opened_anew_in_its_place", log_is_opened_anew_in_its_place),
            ("log_grows_beyond_2_gib", log_grows_beyond_2_gib),
            ("example_shortest", example_shortest),
            ("example_tcp_server", example_tcp_server),
            ("example_keep_fd", example_keep_fd),
            ("example_what_changed", example_what_changed),
            ("example_service", example_service),
            ("example_service_as_another_user", example_service_as_another_user),
            ("example_service_is_supervised", example_service_is_supervised),
            ("example_of_the_manual", example_of_the_manual),
            ("example_freestanding", example_freestanding),
            ("rust_examples_do_the_same", rust_examples_do_the_same),
            ("rust_example_without_std_is_a_daemon", rust_example_without_std_is_a_daemon),
        ],
        &[("listen", listen)],
    );
}

// What the tests share.

fn number(state: &State, key: &str) -> i32 {
    state[key].parse().expect("a number")
}

/// The keys that differ, but for those that every daemonizer must change.
fn changes(before: &State, after: &State) -> Vec<String> {
    let ids = ["pid", "parent", "group", "session", "terminal"];
    let differences = differences(before, after).into_iter();
    let mut keys: Vec<String> = differences.filter_map(|line| Some(line.split_once(": ")?.0.to_owned())).collect();
    keys.retain(|key| !ids.contains(&key.as_str()));
    keys
}

/// The caller's state before, and the daemon's.
struct Story {
    warden: Warden,
    visitor: Visitor,
    before: State,
    after: State,
    _scratch: Scratch,
}

impl Story {
    /// Starts a program that calls, its last argument being where, and checks what every daemon is.
    fn begin(mut command: Command, arguments: &[&str], directory: Option<&Path>) -> Self {
        let scratch = Scratch::new();
        let meeting = Meeting::new(&scratch);
        command.args(arguments).arg(meeting.path()).current_dir(directory.unwrap_or(scratch.path()));
        let warden = Warden::start(&command);
        let mut visitor = meeting.daemon();
        let (before, after) = (visitor.state(), visitor.state());
        assert_ne!(after["pid"], before["pid"]);
        assert_eq!(after["group"], after["session"]);
        assert_ne!(after["session"], before["session"]);
        assert_eq!(after["terminal"], "0");
        Self { warden, visitor, before, after, _scratch: scratch }
    }

    /// The same, for one that forks twice.
    fn begin_untty(command: Command, arguments: &[&str], directory: Option<&Path>) -> Self {
        let story = Self::begin(command, arguments, directory);
        // The C library's daemon may find its parent still there: nobody waits for anybody.
        assert_eq!(story.after["parent"], story.warden.pid().to_string(), "nothing is between the daemon and init");
        assert_ne!(story.after["session"], story.after["pid"], "the daemon is no session leader");
        assert!(!story.warden.living().contains(&number(&story.after, "session")), "the leader is gone");
        story
    }

    fn daemon(&self) -> i32 {
        number(&self.after, "pid")
    }

    /// The test has seen enough: hangs up, and expects nothing but a good end.
    fn end(self) -> Vec<String> {
        let Self { mut warden, visitor, after, .. } = self;
        drop(visitor);
        assert_eq!(warden.rest(), [(number(&after, "pid"), End::Exited(0))]);
        warden.all_output()
    }
}

/// The descriptors that are open in that state.
fn descriptors(state: &State) -> Vec<i32> {
    state.keys().filter_map(|key| key.strip_prefix("fd ")?.parse().ok()).collect()
}

/// Which file it is, without flags.
fn file_of<'a>(state: &'a State, key: &str) -> &'a str {
    state[key].split(' ').next().expect("a file")
}

// The header and the libraries, as files.

fn compile_header(compiler: &mut Command) -> String {
    let program = workshop().join(format!("header-{:?}", thread::current().id()));
    let prefix = prefix("libc");
    compiler.args(["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]);
    compiler.arg("-I").arg(prefix.join("include")).arg("-o").arg(&program);
    compiler.arg(Path::new(ROOT).join("tests/c/header.c"));
    compiler.args(["-x", "none"]).arg(prefix.join("lib/libuntty.a"));
    succeed(compiler);
    let output = succeed(&mut Command::new(program));
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[1], env!("CARGO_PKG_VERSION"));
    lines[0].to_owned()
}

fn header_is_clean_c() {
    let mut layouts = BTreeSet::new();
    for standard in ["c99", "c11", "c17", "gnu17"] {
        layouts.insert(compile_header(Command::new("gcc").arg(format!("-std={standard}"))));
        layouts.insert(compile_header(Command::new("cc").arg(format!("-std={standard}")).arg("-O2")));
    }
    assert_eq!(layouts.len(), 1, "{layouts:?}");
}

fn header_is_clean_cxx() {
    if Command::new("g++").arg("--version").output().is_err() {
        return skipped("header_is_clean_cxx", "there is no C++ compiler");
    }
    let in_c = compile_header(Command::new("gcc").arg("-std=c99"));
    for standard in ["c++11", "c++14", "c++17", "c++20"] {
        assert_eq!(compile_header(Command::new("g++").args(["-x", "c++"]).arg(format!("-std={standard}"))), in_c);
    }
}

fn install_puts_exactly_the_promised_files() {
    let version = env!("CARGO_PKG_VERSION");
    for backend in backends() {
        let scratch = Scratch::new();
        let stage = scratch.file("stage");
        make(&["install".into(), format!("BACKEND={backend}"), "PREFIX=/opt/x".into(), format!("DESTDIR={stage}")]);
        let found = succeed(Command::new("find").args([stage.as_str(), "!", "-type", "d", "-printf", "%P %y %m %l\n"]));
        let found: BTreeSet<String> = found.lines().map(|line| line.trim_end().to_owned()).collect();
        let shared = format!("opt/x/lib/libuntty.so.{version} f 755");
        let promised = [
            "opt/x/bin/untty f 755".to_owned(),
            "opt/x/include/untty.h f 644".to_owned(),
            "opt/x/lib/libuntty.a f 644".to_owned(),
            format!("opt/x/lib/libuntty.so l 777 libuntty.so.{version}"),
            format!("opt/x/lib/libuntty.so.0 l 777 libuntty.so.{version}"),
            shared,
            "opt/x/lib/pkgconfig/untty.pc f 644".to_owned(),
            "opt/x/share/man/man1/untty.1 f 644".to_owned(),
            "opt/x/share/man/man3/untty.3 f 644".to_owned(),
        ];
        let pages = EXPORTS.map(|name| format!("opt/x/share/man/man3/{name}.3 f 644"));
        assert_eq!(found, promised.into_iter().chain(pages).collect());
        for name in EXPORTS {
            let page = fs::read_to_string(format!("{stage}/opt/x/share/man/man3/{name}.3")).expect("its page");
            assert_eq!(page, ".so man3/untty.3\n", "{name}");
        }
        for page in ["untty.1", "untty.3"] {
            let section = page.rsplit('.').next().expect("a section");
            let installed = fs::read(format!("{stage}/opt/x/share/man/man{section}/{page}")).expect("the page");
            assert!(installed == fs::read(Path::new(ROOT).join("man").join(page)).expect("the page"), "{page}");
        }
        let header = fs::read_to_string(format!("{stage}/opt/x/include/untty.h")).expect("the header");
        let source = fs::read_to_string(Path::new(ROOT).join("include/untty.h")).expect("the header");
        assert!(header == source, "the installed header is the committed one");

        let ask = |question: &[&str]| {
            let mut command = Command::new("pkg-config");
            command.env("PKG_CONFIG_PATH", format!("{stage}/opt/x/lib/pkgconfig"));
            succeed(command.args(question).arg("untty")).split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(ask(&["--modversion"]), version);
        assert_eq!(ask(&["--cflags", "--libs"]), "-I/opt/x/include -L/opt/x/lib -luntty");

        let (_, output, _) = run(Command::new(format!("{stage}/opt/x/bin/untty")).arg("--version"));
        assert_eq!(output.trim_end(), format!("untty {version}"));
    }
}

fn install_takes_paths_with_spaces() {
    let scratch = Scratch::new();
    let stage = scratch.file("a stage");
    make(&["install".into(), "PREFIX=/opt/x y".into(), format!("DESTDIR={stage}")]);
    for file in ["bin/untty", "include/untty.h", "lib/libuntty.so", "share/man/man1/untty.1"] {
        assert!(Path::new(&stage).join("opt/x y").join(file).exists(), "{file}");
    }
    let mut command = Command::new("pkg-config");
    command.env("PKG_CONFIG_PATH", format!("{stage}/opt/x y/lib/pkgconfig"));
    let flags = succeed(command.args(["--cflags", "--libs", "untty"]));
    assert_eq!(flags.trim(), r"-I/opt/x\ y/include -L/opt/x\ y/lib -luntty");
}

/// The names that `nm` tells, by those options, of that installed library.
fn symbols(backend: &str, library: &str, options: &[&str]) -> BTreeSet<String> {
    let output = succeed(Command::new("nm").args(options).arg(prefix(backend).join("lib").join(library)));
    let lines = output.lines().filter(|line| !line.is_empty() && !line.ends_with(':'));
    // The version's own name is an absolute symbol.
    let lines = lines.filter(|line| !line.contains(" A "));
    lines.filter_map(|line| line.split_whitespace().last()).map(unversioned).collect()
}

fn unversioned(name: &str) -> String {
    name.split('@').next().unwrap_or_default().to_owned()
}

fn libraries_export_exactly_the_promised_names() {
    let promised: BTreeSet<String> = EXPORTS.iter().map(ToString::to_string).collect();
    for backend in backends() {
        assert_eq!(symbols(backend, "libuntty.a", &["-g", "--defined-only"]), promised, "{backend}");
        assert_eq!(symbols(backend, "libuntty.so", &["-D", "--defined-only"]), promised, "{backend}");
    }
    let header = fs::read_to_string(Path::new(ROOT).join("include/untty.h")).expect("the header");
    for name in EXPORTS {
        assert!(header.contains(&format!("{name}(")), "{name} is declared");
    }
}

fn raw_libraries_need_no_symbol() {
    if !has_backend("raw") {
        return skipped("raw_libraries_need_no_symbol", "the raw backend is not for this machine");
    }
    // Weak ones, which nobody must have: where there is a glibc, they say where its rseq area is.
    let asked_for = ["__rseq_offset", "__rseq_size"].map(str::to_owned);
    assert_eq!(symbols("raw", "libuntty.a", &["-u"]), asked_for.clone().into());
    assert_eq!(symbols("raw", "libuntty.so", &["-D", "-u"]), asked_for.into());
}

fn libraries_have_no_state_and_few_needs() {
    for backend in backends() {
        let library = prefix(backend).join("lib");
        let sizes = succeed(Command::new("size").arg("-A").arg(library.join("libuntty.a")));
        for line in sizes.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let [section, size, _] = words[..] {
                let writable = [".data", ".bss", ".tdata", ".tbss"].iter().any(|name| {
                    section == *name
                        || (section.starts_with(&format!("{name}.")) && !section.starts_with(".data.rel.ro"))
                });
                // What the processes of a handover share.
                let is_aside = section.starts_with(".bss._ZN5untty8handover5aside");
                assert!(!writable || is_aside || size == "0", "{backend}: global state: {line}");
            }
        }
        let dynamic = succeed(Command::new("readelf").args(["-d", "-W"]).arg(library.join("libuntty.so")));
        assert!(dynamic.contains("Library soname: [libuntty.so.0]"), "{dynamic}");
        assert!(!dynamic.contains("TEXTREL"), "{dynamic}");
        let needed = dynamic.lines().filter(|line| line.contains("(NEEDED)")).count();
        assert_eq!(needed, usize::from(backend == "libc"), "nothing but the C library: {dynamic}");
        let segments = succeed(Command::new("readelf").args(["-l", "-W"]).arg(library.join("libuntty.so")));
        let stack = segments.lines().find(|line| line.contains("GNU_STACK")).expect("a word about the stack");
        assert!(!stack.contains('E'.to_string().as_str()) || !stack.contains("RWE"), "{stack}");
    }
    // No allocation, no stdio, no environment, no handlers, no end with anything but _exit.
    let needs = symbols("libc", "libuntty.a", &["-u"]);
    let never = ["malloc", "calloc", "realloc", "free", "printf", "fprintf", "puts", "fputs", "perror", "syslog"];
    let never =
        never.into_iter().chain(["getenv", "setenv", "sigaction", "signal", "exit", "abort", "atexit", "raise"]);
    let never: BTreeSet<String> = never.map(ToString::to_string).collect();
    assert_eq!(needs.intersection(&never).collect::<Vec<_>>(), Vec::<&String>::new());
    assert!(needs.contains("fork"), "the C library's own fork, with its handlers");
}

// What needs no process.

/// Every library says the same, which is this.
fn all_say(program: &str, arguments: &[&str], expected: &str) {
    for flavour in flavours() {
        let (status, output, errors) = run(&mut with(flavour.program(program), arguments));
        assert_eq!(output, expected, "{flavour:?}: {program} {arguments:?}");
        assert_eq!((status.code(), errors.as_str()), (Some(0), ""), "{flavour:?}: {program} {arguments:?}");
    }
}

fn names_messages_and_version() {
    let version = env!("CARGO_PKG_VERSION");
    let expected = format!(
        "\
step -1: unknown
step 0: unknown
step 1: options
step 2: threads
step 3: stdin
step 4: stdout
step 5: stderr
step 6: pipe
step 7: fork
step 8: setsid
step 9: fork again
step 10: signals
step 11: chdir
step 12: umask
step 13: close
step 14: ready
step 15: wait
step 16: exec
step 17: fail
step 18: chroot
step 19: pid file
step 20: setgroups
step 21: setresgid
step 22: setresuid
step 23: privileges
step 24: notify
step 25: log
step 26: unknown
step 2147483647: unknown
step -2147483648: unknown
NULL: no error
0 0: no error
1 22: options: invalid options: EINVAL
2 16: threads: more than one thread is running: EBUSY
3 2: stdin: cannot open standard input or put it in place: ENOENT
4 6: stdout: cannot open standard output or put it in place: ENXIO
5 9: stderr: cannot open standard error or put it in place: EBADF
6 24: pipe: cannot make the report pipe: EMFILE
7 11: fork: cannot fork: EAGAIN
8 1: setsid: cannot start a new session: EPERM
9 11: fork again: cannot fork a second time: EAGAIN
10 1: signals: cannot block or reset signals: EPERM
11 13: chdir: cannot change the working directory: EACCES
12 38: umask: cannot set the umask: ENOSYS
13 1: close: cannot close the other descriptors: EPERM
14 32: ready: cannot report to the caller: EPIPE
15 3: wait: the daemon died before it was ready: ESRCH
15 110: wait: the daemon was not ready in time and was ended: ETIMEDOUT
15 71: wait: cannot wait for the daemon: EPROTO
16 2: exec: cannot execute the program: ENOENT
17 7: fail: the daemon gave up: exit status 7
17 255: fail: the daemon gave up: exit status 255
99 2: unknown step: ENOENT
8 0: setsid: cannot start a new session: errno 0
8 -5: setsid: cannot start a new session: errno -5
8 9999: setsid: cannot start a new session: errno 9999
8 2147483647: setsid: cannot start a new session: errno 2147483647
8 -2147483648: setsid: cannot start a new session: errno -2147483648
-1 13: unknown step: EACCES
8 41: setsid: cannot start a new session: errno 41
8 133: setsid: cannot start a new session: EHWPOISON
8 134: setsid: cannot start a new session: errno 134
18 1: chroot: cannot change the root directory: EPERM
19 17: pid file: already running or being started: EEXIST
19 22: pid file: not a pid file: EINVAL
19 13: pid file: cannot use the pid file: EACCES
20 1: setgroups: cannot give up supplementary groups: EPERM
21 22: setresgid: cannot change the group id: EINVAL
22 11: setresuid: cannot change the user id: EAGAIN
23 1: privileges: privileges are not gone for good: EPERM
24 111: notify: cannot notify or be notified: ECONNREFUSED
25 30: log: cannot open the log anew: EROFS
26 2: unknown step: ENOENT
version {version}
"
    );
    all_say("messages", &[], &expected);
}

fn what_cannot_work_is_refused() {
    const OPTIONS: i32 = 1;
    const DIRECTORY: i32 = 11;
    const ROOT: i32 = 18;
    let mut expected = String::new();
    let mut line = |name: &str, step: i32, errno: Errno| expected += &format!("{name}: -1 {step} {}\n", errno as i32);
    line("no options", OPTIONS, Errno::EFAULT);
    line("size 0", OPTIONS, Errno::EINVAL);
    line("size without flags", OPTIONS, Errno::EINVAL);
    line("size above a page", OPTIONS, Errno::E2BIG);
    line("size SIZE_MAX", OPTIONS, Errno::E2BIG);
    for bit in 20..32 {
        line(&format!("flag {bit}"), OPTIONS, Errno::EINVAL);
    }
    line("a user without the members for it", OPTIONS, Errno::EINVAL);
    for what in ["a user", "a group", "groups", "a count of groups"] {
        line(&format!("{what} without the flag"), OPTIONS, Errno::EINVAL);
    }
    line("groups NULL", OPTIONS, Errno::EFAULT);
    for what in ["group_count SIZE_MAX", "a group of -1", "uid -1", "gid -1"] {
        line(what, OPTIONS, Errno::EINVAL);
    }
    line("umask kept and set", OPTIONS, Errno::EINVAL);
    line("umask 01000", OPTIONS, Errno::EINVAL);
    line("umask UINT32_MAX", OPTIONS, Errno::EINVAL);
    line("keep NULL", OPTIONS, Errno::EFAULT);
    line("keep_count SIZE_MAX", OPTIONS, Errno::EINVAL);
    line("directory missing", DIRECTORY, Errno::ENOENT);
    line("directory empty", DIRECTORY, Errno::ENOENT);
    line("root missing", ROOT, Errno::ENOENT);
    line("root empty", ROOT, Errno::ENOENT);
    let streams = [("input", 3), ("output", 4), ("error", 5)];
    let mut each = |what: &str, step: Option<i32>, errno: Errno| {
        for (stream, its_step) in streams {
            line(&format!("{stream} {what}"), step.unwrap_or(its_step), errno);
        }
    };
    each("kind 6", Some(OPTIONS), Errno::EINVAL);
    each("kind UINT32_MAX", Some(OPTIONS), Errno::EINVAL);
    each("file NULL", Some(OPTIONS), Errno::EFAULT);
    each("file empty", None, Errno::ENOENT);
    each("file missing", None, Errno::ENOENT);
    each("fd -1", None, Errno::EBADF);
    each("fd not open", None, Errno::EBADF);
    each("fd INT_MAX", None, Errno::EBADF);
    line("output link", 4, Errno::ELOOP);
    line("error link", 5, Errno::ELOOP);
    line("output fifo", 4, Errno::ENXIO);
    line("error fifo", 5, Errno::ENXIO);
    line("output directory", 4, Errno::EISDIR);
    line("input stdout", 3, Errno::EINVAL);
    line("output stdout", 4, Errno::EINVAL);
    line("ready NULL", 14, Errno::EFAULT);
    line("ready zeroed", 14, Errno::EINVAL);
    line("ready garbage", 14, Errno::EINVAL);
    expected += "ready without error: -1\ndetach without anything: -1\n";
    expected += &(pid_files_refused() + &supervisors_refused());
    for flavour in flavours() {
        let scratch = Scratch::new();
        let directory = scratch.file("files");
        fs::create_dir(&directory).expect("a directory");
        fs::write(format!("{directory}/text"), "dear to somebody\n").expect("a file");
        fs::write(format!("{directory}/long"), "1".repeat(33)).expect("a file");
        fs::write(format!("{directory}/two"), "1\n").expect("a file");
        fs::hard_link(format!("{directory}/two"), format!("{directory}/two again")).expect("a second name");
        let (end, output, orphans) = finish(&with(flavour.program("errors"), &[&directory]));
        assert_eq!(output, expected.lines().collect::<Vec<_>>(), "{flavour:?}");
        assert_eq!(end, End::Exited(0), "{flavour:?}");
        // Four of them are found out by the daemon alone, which ends with a status of 1 unless it is killed before.
        assert!(orphans.iter().all(|(_, end)| [End::Exited(1), End::Killed(9)].contains(end)), "{orphans:?}");
        assert_eq!(orphans.len(), 4, "{orphans:?}");
        let mut left: Vec<_> = fs::read_dir(&directory).expect("it").flatten().map(|entry| entry.file_name()).collect();
        left.sort();
        assert_eq!(left, ["fifo", "link", "long", "text", "two", "two again"], "nothing was created or removed");
        assert_eq!(fs::read(format!("{directory}/text")).expect("it"), b"dear to somebody\n");
        assert_eq!(fs::read(format!("{directory}/long")).expect("it"), [b'1'; 33]);
        assert_eq!(fs::read(format!("{directory}/two")).expect("it"), b"1\n");
    }
}

/// What a program says that was refused.
fn refused(what: &str, step: i32, errno: Errno) -> String {
    format!("{what}: -1 {step} {}\n", errno as i32)
}

fn pid_files_refused() -> String {
    const PID_FILE: i32 = 19;
    let mut expected = String::new();
    for (name, errno, read) in [
        ("link", Errno::ELOOP, Err(Errno::ELOOP)),
        ("fifo", Errno::EINVAL, Err(Errno::EINVAL)),
        // Nobody owns what no daemon has written, and for that answer it need not be read.
        ("text", Errno::EINVAL, Ok(0)),
        ("long", Errno::EINVAL, Ok(0)),
        ("two", Errno::EMLINK, Ok(0)),
        ("missing/pid", Errno::ENOENT, Ok(0)),
        ("", Errno::EISDIR, Err(Errno::EISDIR)),
    ] {
        expected += &refused(&format!("pid file '{name}'"), PID_FILE, errno);
        expected += &match read {
            Ok(pid) => format!("read '{name}': {pid} -7 -7\n"),
            Err(errno) => refused(&format!("read '{name}'"), PID_FILE, errno),
        };
        let errno = if errno == Errno::ENOENT { errno } else { Errno::EPERM };
        expected += &refused(&format!("remove '{name}'"), PID_FILE, errno);
    }
    let nulls = ["read NULL", "remove NULL"].map(|name| refused(name, PID_FILE, Errno::EFAULT)).concat();
    expected + &nulls + "neither of them: -2\n"
}

fn supervisors_refused() -> String {
    const NOTIFY: i32 = 24;
    const LOG: i32 = 25;
    let sockets = [
        ("socket missing", Errno::ENOENT),
        ("socket without a listener", Errno::ECONNREFUSED),
        ("socket of a machine", Errno::EAFNOSUPPORT),
        ("socket without a name", Errno::EAFNOSUPPORT),
        ("socket with a long name", Errno::ENAMETOOLONG),
        ("ready_fd not open", Errno::EBADF),
    ];
    let logs = [
        ("log 'link'", Errno::ELOOP),
        ("log 'fifo'", Errno::ENXIO),
        ("log 'missing/log'", Errno::ENOENT),
        ("log ''", Errno::EISDIR),
        ("log in place of 987", Errno::EBADF),
        ("log in place of -1", Errno::EBADF),
        ("log NULL", Errno::EFAULT),
    ];
    let notices = [("notify NULL", Errno::EFAULT), ("notify zeroed", Errno::EINVAL), ("notify garbage", Errno::EINVAL)];
    sockets.map(|(what, errno)| refused(what, NOTIFY, errno)).concat()
        + &refused("ready_fd -1", 1, Errno::EINVAL)
        + &logs.map(|(what, errno)| refused(what, LOG, errno)).concat()
        + "log without error: -1\n"
        + &notices.map(|(what, errno)| refused(what, NOTIFY, errno)).concat()
        + "notify without error: -1\n"
}

fn options_of_every_size() {
    for flavour in flavours() {
        let (end, output, orphans) = finish(&flavour.program("sizes"));
        assert_eq!(output, ["0 wrong"], "{flavour:?}");
        assert_eq!(end, End::Exited(0));
        assert!(orphans.iter().all(|(_, end)| *end == End::Exited(0)), "{orphans:?}");
        assert!(orphans.len() > 100, "a daemon for every size that is served, not {}", orphans.len());
    }
}

fn closing() {
    let upto = |last: i32| (0..=last).map(|fd| format!(" {fd}")).collect::<String>();
    all_say("closing", &["from 3"], "0 0: 0 1 2\n");
    all_say("closing", &["from 40"], &format!("0 0:{}\n", upto(39)));
    all_say("closing", &["from INT_MAX"], &format!("0 0:{} 777 1000\n", upto(40)));
    all_say("closing", &["from -5"], "");
    all_say("closing", &["from INT_MIN"], "");
    all_say("closing", &["except"], "0 0: 0 1 2 4 5 39 40 777\n");
    all_say("closing", &["except nothing"], &format!("0 0:{}\n", upto(5)));
    all_say("closing", &["except -1"], "0 0: 1\n");
    for flavour in flavours() {
        for (mode, errno) in [("except NULL", Errno::EFAULT), ("except count", Errno::EINVAL)] {
            let output = succeed(&mut with(flavour.program("closing"), &[mode]));
            assert_eq!(output, format!("{}: nothing closed\n", flavour.failure(errno)), "{flavour:?}: {mode}");
        }
    }
}

// untty_daemon.

fn daemon_does_what_daemon_3_does() {
    for (nochdir, noclose) in [("0", "0"), ("0", "1"), ("1", "0"), ("1", "1")] {
        let arguments = |who: &'static str| [who, nochdir, noclose, "call"];
        let mut theirs = Story::begin(FLAVOURS[0].program("daemon"), &arguments("system"), None);
        assert_eq!(theirs.warden.caller(), End::Exited(0));
        let changed = changes(&theirs.before, &theirs.after);
        let mut expected = Vec::new();
        if nochdir == "0" {
            expected.push("directory");
        }
        if noclose == "0" {
            expected.extend(["fd 0000", "fd 0001", "fd 0002"]);
        }
        assert_eq!(changed, expected, "the C library's daemon, {nochdir} {noclose}");
        for flavour in flavours() {
            let mut ours = Story::begin_untty(flavour.program("daemon"), &arguments("untty"), None);
            assert_eq!(ours.warden.caller(), End::Exited(0));
            assert_eq!(changes(&ours.before, &ours.after), expected, "{flavour:?} {nochdir} {noclose}");
            for key in &expected {
                assert_eq!(ours.after[*key], theirs.after[*key], "{flavour:?} {nochdir} {noclose}: {key}");
            }
            assert_eq!(ours.end(), Vec::<String>::new());
        }
        theirs.end();
    }
}

/// What `untty_daemon` says when it fails, in the caller and nowhere else.
fn assert_daemon_fails(flavour: Flavour, [nochdir, noclose]: [&str; 2], sabotage: &str, errno: Errno) {
    let command = with(flavour.program("daemon"), &["untty", nochdir, noclose, "fail", sabotage]);
    let (end, output, orphans) = finish(&command);
    assert_eq!(output, [format!("{}: the caller, as it was", flavour.failure(errno))], "{flavour:?}: {sabotage}");
    assert_eq!(end, End::Exited(1), "{flavour:?}: {sabotage}");
    // Nothing is left: whoever was the daemon by then is dying or dead, and never told anybody that all went well.
    assert!(orphans.iter().all(|(_, end)| *end != End::Exited(0)), "{flavour:?}: {sabotage}: {orphans:?}");
}

fn daemon_that_fails_leaves_the_caller_as_it_was() {
    for flavour in flavours() {
        assert_daemon_fails(flavour, ["0", "0"], "setsid", Errno::EPERM);
        assert_daemon_fails(flavour, ["1", "1"], "setsid", Errno::EPERM);
        assert_daemon_fails(flavour, ["0", "1"], "chdir", Errno::EACCES);
        assert_daemon_fails(flavour, ["1", "0"], "dup", Errno::EMFILE);
        assert_daemon_fails(flavour, ["1", "1"], "processes", Errno::EAGAIN);
        assert_daemon_fails(flavour, ["0", "0"], "descriptors", Errno::EMFILE);
        assert_daemon_fails(flavour, ["1", "1"], "descriptors", Errno::EMFILE);
        // What it does not do cannot fail.
        for [nochdir, noclose, sabotage] in [["1", "0", "chdir"], ["0", "1", "dup"]] {
            let command = with(flavour.program("daemon"), &["untty", nochdir, noclose, "fail", sabotage]);
            let (end, output, orphans) = finish(&command);
            assert_eq!(output, ["0 0: another"], "{flavour:?}: {sabotage}");
            assert_eq!(end, End::Exited(0));
            assert!(matches!(orphans[..], [(_, End::Exited(0))]), "{orphans:?}");
        }
    }
    // The control: the C library's daemon claims success, and its failure is told to nobody.
    if cfg!(target_env = "gnu") {
        let command = with(FLAVOURS[0].program("daemon"), &["system", "0", "0", "fail", "setsid"]);
        let (end, output, orphans) = finish(&command);
        assert_eq!((end, output), (End::Exited(0), vec!["-1 1: another".to_owned()]));
        assert!(matches!(orphans[..], [(_, End::Exited(1))]), "{orphans:?}");
    }
}

fn daemon_without_the_real_dev_null_fails() {
    if !is_root() {
        return skipped("daemon_without_the_real_dev_null_fails", "only root may chroot");
    }
    let scratch = Scratch::new();
    let (empty, fake, link) = (scratch.file("empty"), scratch.file("fake"), scratch.file("link"));
    for directory in [&empty, &fake, &link] {
        fs::create_dir_all(format!("{directory}/dev")).expect("a directory");
    }
    fs::write(format!("{fake}/dev/null"), "").expect("a file");
    std::os::unix::fs::symlink("zero", format!("{link}/dev/null")).expect("a link");
    let zero = nix::sys::stat::makedev(1, 5);
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o666);
    let made = nix::sys::stat::mknod(format!("{link}/dev/zero").as_str(), nix::sys::stat::SFlag::S_IFCHR, mode, zero);
    for flavour in flavours() {
        assert_daemon_fails(flavour, ["0", "0"], &empty, Errno::ENOENT);
        assert_daemon_fails(flavour, ["1", "0"], &empty, Errno::ENOENT);
        assert_daemon_fails(flavour, ["0", "0"], &fake, Errno::ENODEV);
        match made {
            Ok(()) => assert_daemon_fails(flavour, ["0", "0"], &link, Errno::ENODEV),
            Err(errno) => skipped("another device in place of /dev/null", &errno.to_string()),
        }
    }
}

fn stopped_leader_of_a_daemon_that_fails_is_ended() {
    // With the raw backend, no function of the program's can come between.
    for flavour in flavours().filter(|flavour| !flavour.is_raw()) {
        let (end, output, _) = finish(&flavour.program("stopped"));
        assert_eq!(output, [format!("-1 {}, children left: 0", Errno::EIO as i32)], "{flavour:?}");
        assert_eq!(end, End::Exited(0), "{flavour:?}");
    }
}

/// Gives a file a time that 32 bits do not hold, 2040-01-01; false where the file system does not keep it.
fn date_after_2038(path: &str) -> bool {
    let time = TimeSpec::new(2_208_988_800, 0);
    utimensat(AT_FDCWD, path, &time, &time, UtimensatFlags::FollowSymlink).expect("it is this user's");
    let kept = fs::metadata(path).expect("the file");
    [kept.atime(), kept.mtime()] == [time.tv_sec(); 2]
}

fn dev_null_from_after_2038_is_the_real_one() {
    let test = "dev_null_from_after_2038_is_the_real_one";
    if !is_root() {
        return skipped(test, "only root may chroot");
    }
    let scratch = Scratch::new();
    let null = scratch.file("dev/null");
    fs::create_dir(scratch.file("dev")).expect("a directory");
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o666);
    let device = nix::sys::stat::makedev(1, 3);
    if let Err(errno) = nix::sys::stat::mknod(null.as_str(), nix::sys::stat::SFlag::S_IFCHR, mode, device) {
        return skipped(test, &errno.to_string());
    }
    if let Err(error) = fs::File::open(&null) {
        return skipped(test, &error.to_string());
    }
    let root = scratch.path().to_str().expect("text");
    for flavour in flavours() {
        for [nochdir, noclose] in [["0", "0"], ["1", "0"]] {
            if !date_after_2038(&null) {
                return skipped(test, "the file system does not keep such a time");
            }
            let command = with(flavour.program("daemon"), &["untty", nochdir, noclose, "fail", root]);
            let (end, output, orphans) = finish(&command);
            assert_eq!((end, output), (End::Exited(0), vec!["0 0: another".to_owned()]), "{flavour:?}");
            assert!(matches!(orphans[..], [(_, End::Exited(0))]), "{orphans:?}");
        }
    }
}

fn threads_are_refused_or_accepted() {
    for flavour in flavours() {
        // Refused; and accepted when the thread is gone.
        let scratch = Scratch::new();
        let meeting = Meeting::new(&scratch);
        let mut warden = Warden::start(&with(flavour.program("threads"), &["detach", meeting.path()]));
        let mut daemon = meeting.daemon();
        let line = daemon.line().expect("it says who it is");
        assert!(line.starts_with("daemon "), "{flavour:?}: {line}");
        assert_eq!(warden.caller(), End::Exited(0));
        drop(daemon);
        assert!(matches!(warden.rest()[..], [(_, End::Exited(0))]));
        assert_eq!(warden.all_output(), ["-1 2 16"], "{flavour:?}");
        if flavour.is_raw() {
            continue; // where there is no C library, there are no threads of its
        }
        for mode in ["daemon", "accept"] {
            let scratch = Scratch::new();
            let meeting = Meeting::new(&scratch);
            let mut warden = Warden::start(&with(flavour.program("threads"), &[mode, meeting.path()]));
            let mut daemon = meeting.daemon();
            let line = daemon.line().expect("it says who it is");
            let ids: Vec<i32> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
            assert_ne!(ids[0], ids[1], "{flavour:?}: {mode}: {line}");
            assert_eq!(warden.caller(), End::Exited(0));
            drop(daemon);
            assert_eq!(warden.rest(), [(ids[0], End::Exited(0))]);
            assert_eq!(warden.all_output(), Vec::<String>::new());
        }
    }
}

// untty_detach, untty_ready, untty_fail.

fn detach_by_default_changes_all() {
    for flavour in flavours() {
        let mut story = Story::begin_untty(flavour.program("detach"), &["defaults"], None);
        assert_eq!(story.warden.caller(), End::Exited(0));
        let after = &story.after;
        assert_eq!((after["directory"].as_str(), after["umask"].as_str()), ("/", "0027"));
        for (signal, does) in after.iter().filter(|(key, _)| key.starts_with("signal ")) {
            assert_eq!(does, "default 0", "{flavour:?}: {signal}");
        }
        assert_eq!(descriptors(after), [0, 1, 2], "{flavour:?}");
        let null = after["fd 0000"].clone();
        assert_eq!((&after["fd 0001"], &after["fd 0002"]), (&null, &null));
        assert_eq!(file_of(after, "fd 0000"), file_of(&story.before, "fd 0000"), "the warden gave it /dev/null");
        assert_eq!(story.end(), Vec::<String>::new());
    }
}

fn detach_keeps_all_that_it_is_told_to() {
    for flavour in flavours() {
        let mut story = Story::begin_untty(flavour.program("detach"), &["everything kept"], None);
        assert_eq!(story.warden.caller(), End::Exited(0));
        // Only pending signals are not inherited: fork(2).
        assert_eq!(changes(&story.before, &story.after), ["signal 10"], "{flavour:?}");
        assert_eq!(story.before["signal 10"], "default 0 blocked pending");
        assert_eq!(story.after["signal 10"], "default 0 blocked");
        story.end();
    }
}

fn keep_is_not_looked_at_when_all_is_kept() {
    for flavour in flavours() {
        let (end, output, orphans) = finish(&with(flavour.program("detach"), &["keep not looked at"]));
        assert_eq!(end, End::Exited(0), "{flavour:?}: {output:?}");
        assert!(matches!(orphans[..], [(_, End::Exited(0))]), "{orphans:?}");
    }
}

fn detach_sets_all_that_it_is_told_to() {
    for flavour in flavours() {
        let scratch = Scratch::new();
        fs::create_dir(scratch.file("below")).expect("a directory");
        fs::write(scratch.file("input"), "x").expect("a file");
        fs::write(scratch.file("output"), "before\n").expect("a file");
        let mut story = Story::begin_untty(flavour.program("detach"), &["everything set"], Some(scratch.path()));
        let (before, after) = (&story.before, &story.after);
        let directory = fs::canonicalize(scratch.file("below")).expect("a path");
        assert_eq!(after["directory"], directory.display().to_string());
        assert_eq!(after["umask"], "0007");
        let mut open = descriptors(after);
        open.retain(|fd| ![0, 1, 2, 51, 700].contains(fd));
        assert_eq!(open.len(), 1, "{flavour:?}: the handle's, and nothing else: {open:?}");
        let handle = &after[&format!("fd {:04}", open[0])];
        assert!(handle.contains(" 1 "), "the handle's descriptor is close-on-exec: {handle}");
        for key in ["fd 0051", "fd 0700"] {
            assert_eq!(before[key], after[key]);
        }
        assert_eq!(after["fd 0001"], after["fd 0002"]);
        assert!(after["fd 0001"].ends_with("2001") || after["fd 0001"].ends_with("102001"), "{}", after["fd 0001"]);
        // The caller waits.
        assert!(story.warden.living().contains(&number(before, "pid")));
        story.visitor.say("write");
        assert_eq!(story.visitor.line().as_deref(), Some("1 'x'"), "{flavour:?}");
        assert_eq!(story.visitor.line().as_deref(), Some("0 -7 -7"), "{flavour:?}");
        assert_eq!(story.warden.caller(), End::Exited(0));
        story.end();
        let output = fs::read_to_string(scratch.file("output")).expect("the output");
        assert_eq!(output, "before\noutput\nerror\n");
    }
}

fn streams_can_be_any_descriptor() {
    for flavour in flavours() {
        let mut story = Story::begin_untty(flavour.program("detach"), &["streams exchanged"], None);
        assert_eq!(story.warden.caller(), End::Exited(0));
        for (stream, source) in [("fd 0000", "fd 0001"), ("fd 0001", "fd 0002"), ("fd 0002", "fd 0050")] {
            assert_eq!(file_of(&story.after, stream), file_of(&story.before, source), "{flavour:?}: {stream}");
        }
        assert_eq!(descriptors(&story.after), [0, 1, 2]);
        story.end();
    }
}

fn caller_returns_the_daemons_pid() {
    for flavour in flavours() {
        let mut story = Story::begin_untty(flavour.program("detach"), &["returns"], None);
        assert_eq!(story.warden.caller(), End::Exited(0));
        let pid = story.daemon();
        assert_eq!(story.end(), [format!("daemon {pid}: the caller, as it was")], "{flavour:?}");
    }
}

fn caller_waits_until_it_is_ready() {
    for flavour in flavours() {
        let mut story = Story::begin_untty(flavour.program("detach"), &["returns when ready"], None);
        assert!(story.warden.living().contains(&number(&story.before, "pid")), "the caller waits");
        story.visitor.say("be ready");
        assert_eq!(story.visitor.line().as_deref(), Some("0 -7 -7"), "{flavour:?}");
        assert_eq!(story.warden.caller(), End::Exited(0));
        let pid = story.daemon();
        assert_eq!(story.end(), [format!("daemon {pid}: the caller, as it was")], "{flavour:?}");
    }
}

fn ready_can_be_said_once() {
    for flavour in flavours() {
        let mut story = Story::begin_untty(flavour.program("detach"), &["ready twice"], None);
        story.visitor.say("be ready");
        assert_eq!(story.visitor.line().as_deref(), Some("0 -7 -7"), "{flavour:?}");
        assert_eq!(story.visitor.line().as_deref(), Some("-1 14 114"), "EALREADY: {flavour:?}");
        assert_eq!(story.warden.caller(), End::Exited(0));
        assert_eq!(story.end(), Vec::<String>::new());

        // untty_fail after that ends the daemon alone: the caller was told the truth as it was.
        let (end, output, orphans) = finish(&with(flavour.program("detach"), &["ready and fail", "", "5"]));
        assert_eq!((end, output), (End::Exited(0), Vec::new()), "{flavour:?}");
        assert!(matches!(orphans[..], [(_, End::Exited(5))]), "{flavour:?}: {orphans:?}");

        // Without a handle it is ready at once, and nothing is there to say it with.
        let scratch = Scratch::new();
        let meeting = Meeting::new(&scratch);
        let command = with(flavour.program("detach"), &["ready in a started handle", meeting.path()]);
        let mut warden = Warden::start(&command);
        let mut daemon = meeting.daemon();
        assert_eq!(warden.caller(), End::Exited(0));
        assert_eq!(daemon.line().as_deref(), Some("-1 14 22"), "EINVAL: {flavour:?}");
        drop(daemon);
        assert!(matches!(warden.rest()[..], [(_, End::Exited(0))]));
    }
}

fn ready_without_a_caller_is_epipe() {
    for flavour in flavours() {
        let mut story = Story::begin_untty(flavour.program("detach"), &["caller is killed"], None);
        let caller = number(&story.before, "pid");
        kill(Pid::from_raw(caller), Signal::SIGKILL).expect("the caller lives");
        assert_eq!(story.warden.caller(), End::Killed(9));
        story.visitor.say("be ready");
        assert_eq!(story.visitor.line().as_deref(), Some("-1 14 32"), "EPIPE, and no SIGPIPE: {flavour:?}");
        let (daemon, leader) = (story.daemon(), number(&story.after, "session"));
        drop(story.visitor);
        let mut rest = story.warden.rest();
        rest.retain(|(pid, _)| *pid != leader); // dead before, and left by the caller to be reaped
        assert_eq!(rest, [(daemon, End::Exited(0))]);
        assert_eq!(story.warden.all_output(), Vec::<String>::new());
    }
}

/// The daemon that gave up: it ended so by itself, unless the caller was quicker to make sure of it.
fn assert_gave_up(orphans: &[(i32, End)], status: i32) {
    let gave_up = match orphans {
        [(_, end)] => [End::Exited(status), End::Killed(9)].contains(end),
        _ => false,
    };
    assert!(gave_up, "status {status}: {orphans:?}");
}

const STATUSES: [(&str, i32); 8] =
    [("1", 1), ("7", 7), ("0", 1), ("255", 255), ("256", 1), ("-1", 255), ("300", 44), ("-256", 1)];

fn fail_gives_the_caller_the_status() {
    for flavour in flavours() {
        for (given, status) in STATUSES {
            let (end, output, orphans) = finish(&with(flavour.program("detach"), &["fail", "", given]));
            assert_eq!((end, output), (End::Exited(status), Vec::new()), "{flavour:?}: {given}");
            assert_gave_up(&orphans, status);
            let (end, output, orphans) = finish(&with(flavour.program("detach"), &["fail and return", "", given]));
            assert_eq!(output, [format!("-1 17 {status}: the caller, as it was")], "{flavour:?}: {given}");
            assert_eq!(end, End::Exited(120), "{flavour:?}: {given}");
            assert_gave_up(&orphans, status);
        }
    }
}

fn fail_without_a_handle_still_ends_the_process() {
    for flavour in flavours() {
        for mode in ["fail without a handle", "fail with a zeroed handle"] {
            for (given, status) in STATUSES {
                let (end, output, orphans) = finish(&with(flavour.program("detach"), &[mode, "", given]));
                assert_eq!(
                    (end, output, orphans),
                    (End::Exited(status), vec![], vec![]),
                    "{flavour:?}: {mode} {given}"
                );
            }
        }
    }
}

fn death_without_a_word_is_a_failure() {
    for flavour in flavours() {
        for mode in ["dies", "dies and exits"] {
            let (end, output, orphans) = finish(&with(flavour.program("detach"), &[mode]));
            assert_eq!(output, ["-1 15 3: the caller, as it was"], "{flavour:?}: {mode}");
            assert_eq!(end, End::Exited(120), "{flavour:?}: {mode}");
            assert_gave_up(&orphans, 0);
        }
    }
}

fn deadline_ends_the_start() {
    for flavour in flavours() {
        let (end, output, orphans) = finish(&with(flavour.program("detach"), &["too late"]));
        assert_eq!(output, ["-1 15 110: the caller, as it was"], "{flavour:?}");
        assert_eq!(end, End::Exited(120), "{flavour:?}");
        assert!(matches!(orphans[..], [(_, End::Killed(9))]), "{flavour:?}: {orphans:?}");
    }
}

// Pid files.

const PID_FILE: i32 = 19;

fn read(path: &str) -> String {
    fs::read_to_string(path).expect("a file")
}

fn refused_words(step: i32, errno: Errno) -> String {
    format!("-1 {step} {}", errno as i32)
}

/// What a program of `tests/c` says about a pid file, in a process of its own.
fn asked(flavour: Flavour, what: &str, path: &str) -> String {
    succeed(&mut with(flavour.program("pid_file"), &[what, path])).trim_end().to_owned()
}

/// A daemon that holds a pid file.
struct Holder {
    warden: Warden,
    visitor: Visitor,
    pid: i32,
    /// Who owns the file, asked by itself and by its child; and what comes of it when that child removes it.
    answers: [String; 3],
}

impl Holder {
    fn start(flavour: Flavour, scratch: &Scratch, path: &str) -> Self {
        let meeting = Meeting::new(scratch);
        let mut warden = Warden::start(&with(flavour.program("pid_file"), &["start", path, meeting.path()]));
        let mut visitor = meeting.daemon();
        fs::remove_file(meeting.path()).expect("the meeting is over");
        let pid = visitor.line().and_then(|line| line.parse().ok()).expect("its pid");
        let answers = [(); 3].map(|()| visitor.line().expect("an answer"));
        assert_eq!(visitor.line().as_deref(), Some("alone again"));
        assert_eq!(warden.caller(), End::Exited(0));
        Self { warden, visitor, pid, answers }
    }
}

fn pid_file_is_for_one_daemon_at_a_time() {
    for flavour in flavours() {
        let scratch = Scratch::new();
        let path = scratch.file("pid");
        let mut holder = Holder::start(flavour, &scratch, &path);
        let pid = holder.pid;
        assert_eq!(read(&path), format!("{pid}\n"));
        let stat = fs::metadata(&path).expect("the file");
        assert_eq!((stat.mode() & 0o7777, stat.nlink()), (0o644, 1), "whatever the umask of 027");
        let owner = format!("{pid} -7 -7");
        assert_eq!(holder.answers, [owner.as_str(), &owner, &refused_words(PID_FILE, Errno::EPERM)], "{flavour:?}");
        // With either backend, another program sees the same, and a second start is refused.
        for other in flavours() {
            assert_eq!(asked(other, "read", &path), format!("{pid} -7 -7"));
            let (end, output, orphans) = finish(&with(other.program("pid_file"), &["start", &path, "nobody"]));
            let told = refused_words(PID_FILE, Errno::EEXIST);
            assert_eq!(output, [format!("{told}: the caller, as it was")]);
            assert_eq!((end, orphans), (End::Exited(120), vec![]));
        }
        assert_eq!(read(&path), format!("{pid}\n"), "untouched");
        drop(holder.visitor);
        assert_eq!(holder.warden.rest().len(), 1);
    }
}

fn pid_file_is_its_owners_to_remove() {
    for flavour in flavours() {
        let scratch = Scratch::new();
        let path = scratch.file("pid");
        let mut holder = Holder::start(flavour, &scratch, &path);
        assert_eq!(asked(flavour, "remove", &path), refused_words(PID_FILE, Errno::EPERM), "{flavour:?}");
        assert_eq!(read(&path), format!("{}\n", holder.pid));
        holder.visitor.say("remove it");
        assert_eq!(holder.visitor.line().as_deref(), Some("0 -7 -7"), "{flavour:?}");
        assert!(!Path::new(&path).exists());
        assert_eq!(holder.visitor.line(), Some(refused_words(PID_FILE, Errno::ENOENT)), "there is none any more");
        assert_eq!(holder.visitor.line().as_deref(), Some("0 -7 -7"), "and nobody owns it");
        // From then on another one may start, though the first one lives.
        let second = Holder::start(flavour, &scratch, &path);
        assert_eq!(asked(flavour, "read", &path), format!("{} -7 -7", second.pid));
    }
}

fn stale_pid_file_is_taken_over() {
    for flavour in flavours() {
        let scratch = Scratch::new();
        let path = scratch.file("pid");
        let mut first = Holder::start(flavour, &scratch, &path);
        kill(Pid::from_raw(first.pid), Signal::SIGKILL).expect("it lives");
        assert_eq!(first.warden.rest(), [(first.pid, End::Killed(9))]);
        assert_eq!(read(&path), format!("{}\n", first.pid), "nobody removed it");
        assert_eq!(asked(flavour, "read", &path), "0 -7 -7", "{flavour:?}");
        assert_eq!(asked(flavour, "remove", &path), refused_words(PID_FILE, Errno::EPERM));
        let second = Holder::start(flavour, &scratch, &path);
        assert_eq!(read(&path), format!("{}\n", second.pid));
        assert_eq!(asked(flavour, "read", &path), format!("{} -7 -7", second.pid));
        drop(second);
        // What is in use by another process by now is just as stale.
        fs::write(&path, format!("{}\n", std::process::id())).expect("the file");
        let third = Holder::start(flavour, &scratch, &path);
        assert_eq!(read(&path), format!("{}\n", third.pid));
    }
}

fn pid_file_from_after_2038_is_taken_over() {
    for flavour in flavours() {
        let scratch = Scratch::new();
        let path = scratch.file("pid");
        fs::write(&path, "12345\n").expect("the file");
        if !date_after_2038(&path) {
            return skipped("pid_file_from_after_2038_is_taken_over", "the file system does not keep such a time");
        }
        let (end, output, _) = finish(&with(flavour.program("pid_file"), &["start and fail", &path]));
        assert_eq!((end, output), (End::Exited(7), vec![]), "{flavour:?}");
        assert_eq!(read(&path), "12345\n", "put back");
        assert!(date_after_2038(&path));
        let holder = Holder::start(flavour, &scratch, &path);
        assert_eq!(read(&path), format!("{}\n", holder.pid), "{flavour:?}");
        assert!(date_after_2038(&path));
        assert_eq!(asked(flavour, "read", &path), format!("{} -7 -7", holder.pid), "{flavour:?}");
        let (end, output, _) = finish(&with(flavour.program("pid_file"), &["start", &path, "nobody"]));
        let told = refused_words(PID_FILE, Errno::EEXIST);
        assert_eq!((end, output), (End::Exited(120), vec![format!("{told}: the caller, as it was")]));
    }
}

fn failed_start_puts_the_pid_file_back() {
    for flavour in flavours() {
        let scratch = Scratch::new();
        let path = scratch.file("pid");
        for before in [None, Some(""), Some("12345\n")] {
            if let Some(before) = before {
                fs::write(&path, before).expect("a file");
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
            }
            let (end, output, _) = finish(&with(flavour.program("pid_file"), &["start and fail", &path]));
            assert_eq!((end, output), (End::Exited(7), vec![]), "{flavour:?}: {before:?}");
            assert_eq!(fs::read_to_string(&path).ok().as_deref(), before, "{flavour:?}");
            if before.is_some() {
                assert_eq!(fs::metadata(&path).expect("the file").mode() & 0o7777, 0o600);
            }
        }
    }
}

// Supervisors.

/// The supervisor's end of the socket that `NOTIFY_SOCKET` names.
struct Supervisor {
    socket: UnixDatagram,
    name: String,
}

impl Supervisor {
    fn at(scratch: &Scratch) -> Self {
        let name = scratch.file("notify");
        Self::new(UnixDatagram::bind(&name).expect("a socket"), name)
    }

    fn abstract_one() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("untty-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let address = SocketAddr::from_abstract_name(&name).expect("an address");
        Self::new(UnixDatagram::bind_addr(&address).expect("a socket"), format!("@{name}"))
    }

    fn new(socket: UnixDatagram, name: String) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
        Self { socket, name }
    }

    fn told_to(&self, mut command: Command) -> Command {
        command.env("NOTIFY_SOCKET", &self.name);
        command
    }

    /// The next message.
    fn hears(&self) -> String {
        let mut message = [0; 4096];
        let length = self.socket.recv(&mut message).expect("a message");
        String::from_utf8(message[..length].to_vec()).expect("text")
    }

    /// What was sent before has arrived.
    fn has_heard_all(&self) -> bool {
        self.socket.set_nonblocking(true).expect("a socket");
        let result = self.socket.recv(&mut [0; 4096]);
        self.socket.set_nonblocking(false).expect("a socket");
        result.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

fn supervisor_is_told_by_the_environment() {
    for flavour in flavours() {
        let null = if flavour.is_raw() { "0 0" } else { "1 1" };
        let expected = format!(
            "\
nothing: 0 0
two sockets: 2 0
the other way round: 2 0
for another process: 0 0
for nobody: 0 0
no number: 0 0
no digit: 0 0
negative: 0 0
more than there can be: 0 0
more than that: 0 0
systemd: 0 1
systemd's other process: 0 0
systemd's child's child: 0 0
its own: 1 1
NULL: {null}
"
        );
        assert_eq!(succeed(&mut with(flavour.program("supervisor"), &["ask"])), expected, "{flavour:?}");
    }
}

/// Without `INVOCATION_ID` and with it; and what the child of that process is told.
fn supervisor_is_told_by_the_parents_name() {
    for flavour in flavours() {
        for (name, who, invoked) in [("systemd", 0, 1), ("s6-supervise", 2, 2), ("runsv", 3, 3), ("runsvdir", 0, 0)] {
            let output = succeed(&mut with(flavour.program("supervisor"), &["ask below", name]));
            assert_eq!(output, format!("{name}: {who} {invoked}\nbelow: 0\n"), "{flavour:?}");
        }
    }
}

const NOTIFY: i32 = 24;
const READY: i32 = 14;

/// Starts a daemon in a mode of `tests/c/supervisor.c` and waits for its call.
fn start_told(supervisor: &Supervisor, flavour: Flavour, mode: &str, scratch: &Scratch) -> (Warden, Visitor) {
    let meeting = Meeting::new(scratch);
    let command = with(flavour.program("supervisor"), &[mode, meeting.path()]);
    let warden = Warden::start(&supervisor.told_to(command));
    let visitor = meeting.daemon();
    fs::remove_file(meeting.path()).expect("the meeting is over");
    (warden, visitor)
}

fn notify_and_ready_speak_to_the_supervisor() {
    for flavour in flavours() {
        let scratch = Scratch::new();
        for supervisor in [Supervisor::at(&scratch), Supervisor::abstract_one()] {
            let mut modes = vec!["notify"];
            if !flavour.is_raw() {
                modes.push("notify by NULL");
            }
            for mode in modes {
                let (mut warden, mut daemon) = start_told(&supervisor, flavour, mode, &scratch);
                let pid = daemon.line().expect("its pid");
                assert_eq!(daemon.line(), Some(refused_words(NOTIFY, Errno::EFAULT)), "{flavour:?}: state NULL");
                for told in ["1 -7 -7".to_owned(), "0 -7 -7".to_owned(), refused_words(READY, Errno::EALREADY)] {
                    assert_eq!(daemon.line(), Some(told), "{flavour:?}: {mode}");
                }
                for _ in 0..3 {
                    assert_eq!(daemon.line().as_deref(), Some("1 -7 -7"), "{flavour:?}: {mode}");
                }
                assert_eq!(supervisor.hears(), "STATUS=before");
                assert_eq!(supervisor.hears(), format!("READY=1\nMAINPID={pid}"), "{flavour:?}");
                let reloading = supervisor.hears();
                let time = reloading.strip_prefix("RELOADING=1\nSTATUS=after\nMONOTONIC_USEC=").expect("the time");
                assert!(time.parse::<u64>().is_ok_and(|time| time > 0), "{reloading}");
                assert_eq!(supervisor.hears(), "RELOADING=1\nMONOTONIC_USEC=5", "with a time of its own");
                assert_eq!(supervisor.hears(), "STOPPING=1");
                assert_eq!(warden.caller(), End::Exited(0));
                drop(daemon);
                assert_eq!(warden.rest().len(), 1);
                assert!(supervisor.has_heard_all());
            }
        }
    }
}

fn without_a_handle_the_supervisor_is_told_at_once() {
    for flavour in flavours() {
        let scratch = Scratch::new();
        let supervisor = Supervisor::at(&scratch);
        let (mut warden, mut daemon) = start_told(&supervisor, flavour, "ready at once", &scratch);
        let (_, after) = (daemon.state(), daemon.state());
        assert_eq!(supervisor.hears(), format!("READY=1\nMAINPID={}", after["pid"]), "{flavour:?}");
        assert!(supervisor.has_heard_all());
        assert_eq!(descriptors(&after), [0, 1, 2], "{flavour:?}: nothing is left to be said");
        assert_eq!(warden.caller(), End::Exited(0));
    }
}

fn nothing_is_said_to_nobody() {
    for flavour in flavours() {
        let scratch = Scratch::new();
        let supervisor = Supervisor::at(&scratch);
        let nobody = |name: &str| Supervisor::new(UnixDatagram::unbound().expect("a socket"), name.to_owned());
        let mut starts = vec![("ignore", &supervisor)];
        let (missing, empty) = (nobody("/no/such/socket"), nobody(""));
        starts.extend([("ignore", &missing), ("notify", &empty)]);
        if flavour.is_raw() {
            starts.push(("notify by NULL", &supervisor)); // it knows no environment
        }
        for (mode, told) in starts {
            let (mut warden, mut daemon) = start_told(told, flavour, mode, &scratch);
            daemon.line().expect("its pid");
            let answers: Vec<String> = (0..7).map(|_| daemon.line().expect("an answer")).collect();
            let (null, again) = (refused_words(NOTIFY, Errno::EFAULT), refused_words(READY, Errno::EALREADY));
            let nothing = "0 -7 -7";
            let expected = [&null, nothing, nothing, &again, nothing, nothing, nothing];
            assert_eq!(answers, expected, "{flavour:?}: {mode}");
            assert_eq!(warden.caller(), End::Exited(0));
        }
        assert!(supervisor.has_heard_all(), "{flavour:?}");
    }
}

fn daemon_never_talks_to_a_supervisor() {
    for flavour in flavours() {
        let scratch = Scratch::new();
        let supervisor = Supervisor::at(&scratch);
        let missing = Supervisor::new(UnixDatagram::unbound().expect("a socket"), "/no/such/socket".to_owned());
        for told in [&supervisor, &missing] {
            let (mut warden, mut daemon) = start_told(told, flavour, "daemon", &scratch);
            let pid: i32 = daemon.line().and_then(|line| line.parse().ok()).expect("its pid");
            assert_eq!(warden.caller(), End::Exited(0));
            assert_eq!(warden.living(), [pid], "it forked, though SYSTEMD_EXEC_PID was its caller's");
            drop(daemon);
            assert_eq!(warden.rest(), [(pid, End::Exited(0))]);
        }
        assert!(supervisor.has_heard_all(), "{flavour:?}");
    }
}

/// Says that it is ready in vain, twice, and gives up.
fn assert_in_vain(mut warden: Warden, mut daemon: Visitor, errnos: [Errno; 2]) {
    for errno in errnos {
        assert_eq!(daemon.line(), Some(refused_words(NOTIFY, errno)));
        assert_eq!(warden.living().len(), 2, "the caller waits on");
        daemon.say("again");
    }
    assert_eq!(warden.caller(), End::Exited(3));
}

/// A supervisor in a process of its own: nothing else that this test starts has its socket, not even for a moment.
fn listen(arguments: &[String]) {
    let _socket = UnixDatagram::bind(&arguments[0]).expect("a socket");
    println!("listening");
    // Until it is killed, or the test is gone.
    std::io::stdin().read_to_end(&mut Vec::new()).expect("a pipe");
}

fn supervisor_that_goes_is_an_error_of_the_start() {
    for flavour in flavours() {
        let scratch = Scratch::new();
        let name = scratch.file("notify");
        let mut listener = harness::helper("listen");
        let listener = listener.arg(&name).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut listener = listener.spawn().expect("a helper");
        let mut line = String::new();
        BufReader::new(listener.stdout.as_mut().expect("a pipe")).read_line(&mut line).expect("it listens");
        let named = Supervisor::new(UnixDatagram::unbound().expect("a socket"), name);
        let (mut warden, mut daemon) = start_told(&named, flavour, "supervisor goes", &scratch);
        listener.kill().expect("it lives");
        listener.wait().expect("a child");
        daemon.say("it is gone");
        // The caller cannot tell it, so there is no daemon.
        assert_eq!(daemon.line(), None, "{flavour:?}");
        assert_eq!(warden.caller(), End::Exited(120), "{flavour:?}");
        assert_eq!(warden.rest(), [], "the daemon was gone before");
        let line = format!("{}: the caller, as it was", refused_words(NOTIFY, Errno::ECONNREFUSED));
        assert_eq!(warden.all_output(), [line], "{flavour:?}");
    }
}

fn ready_fd_gets_a_newline_and_is_closed() {
    for flavour in flavours() {
        let scratch = Scratch::new();
        let meeting = Meeting::new(&scratch);
        let mut warden = Warden::start(&with(flavour.program("supervisor"), &["ready_fd", meeting.path()]));
        let mut daemon = meeting.daemon();
        let said: Vec<String> = (0..4).map(|_| daemon.line().expect("an answer")).collect();
        assert_eq!(said, ["0 -7 -7", "closed", "1 bytes, the first is 10", "end 0"], "{flavour:?}");
        assert_eq!(warden.caller(), End::Exited(0));
        fs::remove_file(meeting.path()).expect("the meeting is over");

        let meeting = Meeting::new(&scratch);
        let command = with(flavour.program("supervisor"), &["ready_fd that nobody reads", meeting.path()]);
        let warden = Warden::start(&command);
        assert_in_vain(warden, meeting.daemon(), [Errno::EPIPE; 2]);
    }
}

fn supervised_process_stays_what_it_is() {
    for flavour in flavours() {
        let scratch = Scratch::new();
        let supervisor = Supervisor::at(&scratch);
        let (mut warden, mut daemon) = start_told(&supervisor, flavour, "stay", &scratch);
        let (before, after) = (daemon.state(), daemon.state());
        for key in ["pid", "parent", "group", "session", "fd 0000", "fd 0001", "fd 0002", "fd 0003", "fd 0004"] {
            assert_eq!(before[key], after[key], "{flavour:?}: {key}");
        }
        assert_eq!((after["directory"].as_str(), after["umask"].as_str()), ("/", "0027"), "{flavour:?}");
        assert!(before.contains_key("fd 0700"));
        let mut open = descriptors(&after);
        open.retain(|fd| ![0, 1, 2, 3, 4].contains(fd));
        assert_eq!(open.len(), 1, "{flavour:?}: the socket to the supervisor, and nothing else: {open:?}");
        assert!(after[&format!("fd {:04}", open[0])].contains(" 1 "), "close-on-exec");
        assert_eq!(daemon.line().as_deref(), Some("0 -7 -7"), "{flavour:?}");
        assert_eq!(daemon.line(), Some(refused_words(READY, Errno::EALREADY)));
        assert_eq!(supervisor.hears(), format!("READY=1\nMAINPID={}", after["pid"]));
        assert_eq!(warden.living(), [number(&after, "pid")]);
        drop(daemon);
        assert_eq!(warden.caller(), End::Exited(0), "{flavour:?}: the process that was started");
        assert_eq!(warden.rest(), []);
    }
}

fn process_that_is_not_supervised_forks_as_ever() {
    for flavour in flavours() {
        let mut story = Story::begin_untty(flavour.program("supervisor"), &["stay elsewhere"], None);
        assert_eq!(story.visitor.line().as_deref(), Some("0 -7 -7"), "{flavour:?}");
        assert_eq!(story.visitor.line(), Some(refused_words(READY, Errno::EALREADY)));
        assert_eq!(story.warden.caller(), End::Exited(0));
        assert!(descriptors(&story.before).contains(&700) && !descriptors(&story.after).contains(&3));
        story.end();
    }
}

// Users, roots, logs.

fn user_and_groups_are_as_asked() {
    if !is_root() {
        return skipped("user_and_groups_are_as_asked", "only root may become somebody else");
    }
    for flavour in flavours() {
        // Numbers that have more than 16 bits, and the largest that there is.
        for (mode, groups) in [("user", "4 70002 4294967294"), ("user alone", "")] {
            let scratch = Scratch::new();
            let meeting = Meeting::new(&scratch);
            fs::set_permissions(meeting.path(), fs::Permissions::from_mode(0o777)).expect("the socket's mode");
            let mut warden = Warden::start(&with(flavour.program("powers"), &[mode, meeting.path()]));
            let mut daemon = meeting.daemon();
            let line = format!("70000 70000 70000 70001 70001 70001 groups {groups}");
            assert_eq!(daemon.line().as_deref(), Some(line.trim_end()), "{flavour:?}");
            assert_eq!(warden.caller(), End::Exited(0));
            let [pid] = warden.living()[..] else { panic!("one daemon, not {:?}", warden.living()) };
            let status = read(&format!("/proc/{pid}/status"));
            let kernel = ["Uid:", "Gid:", "Groups:"].map(|key| {
                let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("the kernel says it");
                line.split_whitespace().collect::<Vec<_>>().join(" ")
            });
            assert_eq!(kernel, ["70000 70000 70000 70000", "70001 70001 70001 70001", groups], "{flavour:?}");
        }
    }
}

fn user_without_privileges_is_refused() {
    for flavour in flavours() {
        let mut command = with(flavour.program("powers"), &["user", "nobody calls"]);
        if is_root() {
            let program = Path::new(command.get_program()).to_owned();
            command = Command::new("setpriv");
            command.args(["--bounding-set=-all", "--inh-caps=-all"]).arg(program).args(["user", "nobody calls"]);
        }
        let (end, output, orphans) = finish(&command);
        assert_eq!(output, ["-1 20 1: the caller, as it was"], "{flavour:?}: EPERM of setgroups");
        assert_eq!(end, End::Exited(120));
        assert_gave_up(&orphans, 1);
    }
}

fn root_is_changed_when_the_files_are_open() {
    if !is_root() {
        return skipped("root_is_changed_when_the_files_are_open", "only root may chroot");
    }
    for flavour in flavours() {
        for (mode, directory) in [("root", "/below"), ("root kept", "/")] {
            let scratch = Scratch::new();
            let (log, root) = (scratch.file("log"), scratch.file("root"));
            fs::create_dir_all(format!("{root}/below")).expect("directories");
            let meeting = Meeting::at(format!("{root}/meeting"));
            let mut warden = Warden::start(&with(flavour.program("powers"), &[mode, &root, &log]));
            let mut daemon = meeting.daemon();
            let pid = daemon.line().expect("its pid");
            let said: Vec<String> = (0..5).map(|_| daemon.line().expect("an answer")).collect();
            let expected = [directory, "the log is outside", &format!("{pid} -7 -7"), "0 -7 -7", "0 -7 -7"];
            assert_eq!(said, expected, "{flavour:?}: {mode}, without /proc and /dev");
            assert_eq!(warden.caller(), End::Exited(0));
            assert_eq!((read(&log), read(&format!("{root}/log"))), ("outside\n".into(), "inside\n".into()));
            assert!(!Path::new(&root).join("pid").exists());
        }
    }
}

fn log_is_opened_anew_in_its_place() {
    for flavour in flavours() {
        let scratch = Scratch::new();
        let (path, meeting) = (scratch.file("log"), Meeting::new(&scratch));
        let mut warden = Warden::start(&with(flavour.program("log"), &[&path, meeting.path()]));
        let mut daemon = meeting.daemon();
        assert_eq!(warden.caller(), End::Exited(0));
        for round in 0..3 {
            let flags = daemon.line().expect("the flags");
            let words: Vec<&str> = flags.split(' ').collect();
            assert_eq!(words[..2], ["0", "1"], "{flavour:?}: close-on-exec stays as it was");
            let append = |flags: &str| i32::from_str_radix(flags, 8).is_ok_and(|flags| flags & libc::O_APPEND != 0);
            let waits = |flags: &str| i32::from_str_radix(flags, 8).is_ok_and(|flags| flags & libc::O_NONBLOCK == 0);
            assert!(words[2..].iter().all(|flags| append(flags) && waits(flags)), "{flavour:?}: {flags}");
            let old = scratch.file(&format!("log.{round}"));
            fs::rename(&path, &old).expect("the log is there");
            daemon.say("open it");
            for _ in 0..2 {
                assert_eq!(daemon.line().as_deref(), Some("0 -7 -7"), "{flavour:?}");
            }
            assert_eq!(read(&old), format!("round {round}\nround {round}\n"), "{flavour:?}");
            assert_eq!(fs::metadata(&path).expect("a new one").mode() & 0o7777, 0o640, "less the umask of 027");
        }
        assert_eq!(read(&path), "");
    }
}

/// Machines of 32 bits have calls that end there.
fn log_grows_beyond_2_gib() {
    const LARGE: u64 = 3 << 30;
    for flavour in flavours() {
        let scratch = Scratch::new();
        let (path, meeting) = (scratch.file("log"), Meeting::new(&scratch));
        fs::File::create(&path).and_then(|file| file.set_len(LARGE)).expect("a large file with nothing in it");
        let mut warden = Warden::start(&with(flavour.program("log"), &[&path, meeting.path()]));
        assert_eq!((warden.caller(), warden.output()), (End::Exited(0), vec![]), "{flavour:?}");
        assert!(meeting.daemon().line().is_some(), "it has written");
        assert_eq!(fs::metadata(&path).expect("the log").len(), LARGE + 2 * "round 0\n".len() as u64, "{flavour:?}");
    }
}

// The examples.

/// Whether what the compiler makes runs in an emulator, which needs descriptors of its own (.ci/architectures).
fn is_emulated(test: &str) -> bool {
    let emulated = env::var_os("UNTTY_EMULATED").is_some();
    if emulated {
        skipped(test, "with few descriptors, because the emulator needs some");
    }
    emulated
}

/// A shell that starts the program with few descriptors.
fn with_few_descriptors(command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -n 3; exec \"$0\" \"$@\""]).arg(command.get_program()).args(command.get_args());
    shell
}

fn assert_is_shortest(command: &Command) {
    let mut warden = Warden::start(command);
    assert_eq!(warden.caller(), End::Exited(0));
    let [daemon] = warden.living()[..] else { panic!("one daemon, not {:?}", warden.living()) };
    let fields = harness::stat_fields(daemon).expect("it lives");
    let [parent, group, session, terminal] = [1, 2, 3, 4].map(|index| fields[index].parse::<i32>().expect("a number"));
    assert_eq!((parent, group, terminal), (warden.pid(), session, 0));
    assert_ne!(session, daemon);
    terminate(daemon);
    assert_eq!(warden.rest(), [(daemon, End::Killed(15))]);
    assert_eq!(warden.all_output(), Vec::<String>::new());
}

fn example_shortest() {
    for flavour in flavours() {
        assert_is_shortest(&flavour.example("shortest"));
        if !flavour.shared && !is_emulated("example_shortest") {
            let (end, output, orphans) = finish(&with_few_descriptors(&flavour.example("shortest")));
            assert_eq!(output, ["shortest: stdin: cannot open standard input or put it in place: EMFILE"]);
            assert_eq!((end, orphans), (End::Exited(1), vec![]));
        }
    }
}

fn assert_is_tcp_server(command: impl Fn() -> Command) {
    let mut first = Warden::start(&with(command(), &["0"]));
    let line = first_line(&mut first);
    assert_eq!(first.caller(), End::Exited(0), "{line}");
    let port: u16 = line.strip_prefix("tcp_server: 127.0.0.1:").and_then(|port| port.parse().ok()).expect("its port");
    let [daemon] = first.living()[..] else { panic!("one daemon, not {:?}", first.living()) };
    for _ in 0..3 {
        assert_eq!(visit(port), format!("hello from process {daemon}\n"));
    }
    for fd in 0..3 {
        let stream = fs::read_link(format!("/proc/{daemon}/fd/{fd}")).expect("it is open");
        assert_eq!(stream, Path::new("/dev/null"), "{fd}");
    }
    // A client that is gone at once does no harm.
    drop(TcpStream::connect(("127.0.0.1", port)).expect("it listens"));

    let (end, output, orphans) = finish(&with(command(), &[&port.to_string()]));
    assert_eq!((end, orphans), (End::Exited(1), vec![]), "{output:?}");
    let [error] = &output[..] else { panic!("one line, not {output:?}") };
    assert!(error.starts_with(&format!("tcp_server: 127.0.0.1:{port}: Address already in use")), "{error}");

    assert_eq!(visit(port), format!("hello from process {daemon}\n"), "the first one serves on");
    terminate(daemon);
    assert_eq!(first.rest(), [(daemon, End::Killed(15))]);
    assert_eq!(first.all_output(), [line]);

    for wrong in [&[][..], &["x"], &["65536"], &["1", "2"]] {
        let (end, output, orphans) = finish(&with(command(), wrong));
        assert_eq!((end, orphans), (End::Exited(2), vec![]), "{wrong:?}");
        assert_eq!(output, ["usage: tcp_server PORT"]);
    }
}

fn example_tcp_server() {
    for flavour in flavours() {
        assert_is_tcp_server(|| flavour.example("tcp_server"));
    }
}

fn example_keep_fd() {
    for flavour in flavours() {
        let scratch = Scratch::new();
        let mut command = with(flavour.example("keep_fd"), &["./socket"]);
        let mut warden = Warden::start(command.current_dir(scratch.path()));
        assert_eq!(warden.caller(), End::Exited(0));
        let line = first_line(&mut warden);
        let mut told = String::new();
        let stream = UnixStream::connect(scratch.file("socket")).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        BufReader::new(stream).read_line(&mut told).expect("it answers");
        let kept = line.strip_prefix("keep_fd: ").and_then(|rest| rest.split(' ').next()).expect("a descriptor");
        assert_eq!(told, format!("open: 0 1 2 {kept}\n"), "{flavour:?}: {line}");
        let [daemon] = warden.living()[..] else { panic!("one daemon, not {:?}", warden.living()) };
        terminate(daemon);
        assert_eq!(warden.rest(), [(daemon, End::Killed(15))]);

        // The socket is still there, so a second start fails, on the terminal.
        let mut command = with(flavour.example("keep_fd"), &["./socket"]);
        let (end, output, orphans) = finish(command.current_dir(scratch.path()));
        assert_eq!((end, orphans), (End::Exited(1), vec![]));
        assert_eq!(output, ["keep_fd: ./socket: Address already in use"]);
    }
}

fn assert_is_what_changed(command: &mut Command) {
    let scratch = Scratch::new();
    let (end, output, orphans) = finish(command.current_dir(scratch.path()));
    assert_eq!(end, End::Exited(0), "{output:?}");
    let mut items = BTreeMap::new();
    for lines in output.windows(2) {
        if let Some((item, values)) = lines[0].split_once(": ").filter(|_| lines[1].starts_with("    ")) {
            items.insert(item, values.split_once(" -> ").expect("before and after"));
        }
    }
    let names = ["descriptors", "directory", "process", "process group", "session", "session leader"];
    let names = names.into_iter().chain(["signals ignored", "standard input", "terminal", "umask"]);
    assert_eq!(items.keys().copied().collect::<Vec<_>>(), names.collect::<Vec<_>>(), "{output:?}");
    let daemon = items["process"].1;
    for item in ["process", "process group", "session"] {
        assert_ne!(items[item].0, items[item].1, "{item}");
    }
    assert_eq!(items["process group"].1, items["session"].1);
    assert_ne!(items["session"].1, daemon);
    assert_eq!(items["session leader"].1, "no");
    assert_eq!(items["terminal"].1, "no");
    assert_eq!(items["signals ignored"].1, "0");
    let here = fs::canonicalize(scratch.path()).expect("a path").display().to_string();
    assert_eq!(items["directory"], (here.as_str(), "/"));
    assert_eq!(items["umask"].1, "0027");
    assert_eq!(items["standard input"].1, "/dev/null");
    let open: Vec<i32> = items["descriptors"].1.split(' ').filter_map(|fd| fd.parse().ok()).collect();
    assert_eq!((&open[..3], open.len()), (&[0, 1, 2][..], 4), "and the handle's");
    let caller = items["process"].0;
    let last = format!("The caller is process {caller} again, and its daemon is process {daemon}.");
    assert_eq!(output.last(), Some(&last), "the caller has the last word");
    assert_eq!(orphans, [(daemon.parse().expect("a pid"), End::Exited(0))]);
}

fn example_what_changed() {
    for flavour in flavours() {
        assert_is_what_changed(&mut flavour.example("what_changed"));
    }
}

/// A service that runs, with its files.
struct Service {
    scratch: Scratch,
    supervisor: Supervisor,
}

impl Service {
    /// A place for it, where a supervisor listens.
    fn place() -> Self {
        let scratch = Scratch::new();
        let supervisor = Supervisor::at(&scratch);
        Self { scratch, supervisor }
    }

    fn command(&self, flavour: Flavour, user: &[&str]) -> Command {
        let (pid_file, log) = (self.scratch.file("pid"), self.scratch.file("log"));
        let command = with(flavour.example("service"), &[&pid_file, &log]);
        self.supervisor.told_to(with(command, user))
    }

    /// Waits until it is ready: its pid.
    fn ready(&self) -> i32 {
        let message = self.supervisor.hears();
        let pid = message.strip_prefix("READY=1\nMAINPID=").and_then(|pid| pid.parse().ok()).expect("it is ready");
        assert_eq!(read(&self.scratch.file("pid")), format!("{pid}\n"));
        pid
    }

    /// Does what logrotate(8) does, and reads what the service has written by then.
    fn rotate(&self, pid: i32) -> String {
        let (log, old) = (self.scratch.file("log"), self.scratch.file("old"));
        fs::rename(&log, &old).expect("the log");
        kill(Pid::from_raw(pid), Signal::SIGHUP).expect("it lives");
        assert!(self.supervisor.hears().starts_with("RELOADING=1\nMONOTONIC_USEC="));
        assert_eq!(self.supervisor.hears(), "READY=1");
        assert_eq!(read(&log), "service: the log is open\n");
        read(&old)
    }

    fn stop(&self, pid: i32) {
        terminate(pid);
        assert_eq!(self.supervisor.hears(), "STOPPING=1");
    }
}

fn example_service() {
    for flavour in flavours() {
        let service = Service::place();
        let mut warden = Warden::start(&service.command(flavour, &[]));
        let pid = service.ready();
        assert_eq!(warden.caller(), End::Exited(0), "{flavour:?}");
        assert_eq!(warden.living(), [pid]);
        let (end, output, orphans) = finish(&service.command(flavour, &[]));
        assert_eq!(output, ["service: pid file: already running or being started: EEXIST"], "{flavour:?}");
        assert_eq!((end, orphans), (End::Exited(1), vec![]));
        for _ in 0..2 {
            service.rotate(pid);
        }
        service.stop(pid);
        assert_eq!(warden.rest(), [(pid, End::Exited(0))]);
        assert!(!Path::new(&service.scratch.file("pid")).exists());
        assert_eq!(warden.all_output(), Vec::<String>::new());

        for wrong in [&[][..], &["/pid"], &["pid", "/log"], &["/pid", "log"], &["/pid", "/log", "root", "x"]] {
            let (end, output, _) = finish(&with(flavour.example("service"), wrong));
            assert_eq!((end, output), (End::Exited(2), vec!["usage: service PID-FILE LOG [USER]".to_owned()]));
        }
        if !flavour.shared {
            continue; // glibc's getpwnam may load modules, for which a static program is not made
        }
        let (end, output, _) = finish(&service.command(flavour, &["no such user"]));
        assert_eq!((end, output), (End::Exited(1), vec!["service: no such user: no such user".to_owned()]));
    }
}

fn example_service_as_another_user() {
    if !is_root() {
        return skipped("example_service_as_another_user", "only root may become somebody else");
    }
    for flavour in flavours() {
        let service = Service::place();
        for _ in 0..2 {
            let mut warden = Warden::start(&service.command(flavour, &["nobody"]));
            let pid = service.ready();
            assert_eq!(warden.caller(), End::Exited(0), "{flavour:?}");
            assert_ne!(fs::metadata(format!("/proc/{pid}")).expect("it lives").uid(), 0);
            service.stop(pid);
            assert_eq!(warden.rest(), [(pid, End::Exited(0))]);
            // It may not remove it; the next round takes it over.
            assert_eq!(read(&service.scratch.file("pid")), format!("{pid}\n"));
        }
    }
}

fn example_service_is_supervised() {
    if Command::new("runsv").output().is_err() {
        return skipped("example_service_is_supervised", "there is no runsv (of runit)");
    }
    for flavour in flavours() {
        let service = Service::place();
        let directory = service.scratch.file("service");
        fs::create_dir(&directory).expect("a directory");
        let command = service.command(flavour, &[]);
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<String> = words.map(|word| format!("'{}'", word.to_str().expect("text"))).collect();
        let run = format!("#!/bin/sh\nexec {}\n", words.join(" "));
        let script = format!("{directory}/run");
        succeed(Command::new("sh").args(["-c", "printf %s \"$1\" >\"$2\" && chmod 755 \"$2\"", "sh", &run, &script]));
        let mut runsv = Command::new("runsv");
        runsv.arg(&directory).envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut warden = Warden::start(&runsv);
        let pid = service.ready();
        let parent = harness::stat_fields(pid).expect("it lives")[1].clone();
        assert_eq!(fs::read_to_string(format!("/proc/{parent}/comm")).expect("it lives"), "runsv\n", "{flavour:?}");
        service.rotate(pid);
        // runsv takes its service with it.
        terminate(parent.parse().expect("a pid"));
        assert_eq!(service.supervisor.hears(), "STOPPING=1");
        assert_eq!(warden.caller(), End::Exited(0));
        assert_eq!(warden.rest(), []);
        assert!(!Path::new(&service.scratch.file("pid")).exists());
    }
}

/// The code in untty(3)'s EXAMPLES.
fn code_of_the_manual() -> String {
    let page = read(&format!("{ROOT}/man/untty.3"));
    let examples = page.split_once("\n.SH EXAMPLES\n").expect("the section").1;
    let code = examples.split_once("\n.EX\n").expect("code").1.split_once("\n.EE\n").expect("its end").0;
    code.replace(r"\e", r"\").replace(r"\-", "-").replace(r"\&", "") + "\n"
}

fn example_of_the_manual() {
    let scratch = Scratch::new();
    let source = scratch.file("exampled.c");
    fs::write(&source, code_of_the_manual()).expect("a file");
    for backend in backends() {
        let program = scratch.file(&format!("exampled-{backend}"));
        let mut compiler = Command::new("gcc");
        let prefix = prefix(backend);
        compiler.args(STRICT).arg("-I").arg(prefix.join("include")).args(["-o", &program, &source]);
        succeed(compiler.arg(prefix.join("lib/libuntty.a")));
        let command = || {
            let mut command = Command::new(&program);
            command.current_dir(scratch.path());
            command
        };
        let mut warden = Warden::start(&command());
        assert_eq!(warden.caller(), End::Exited(0), "{backend}");
        let [daemon] = warden.living()[..] else { panic!("one daemon, not {:?}", warden.living()) };
        assert_eq!(read(&scratch.file("exampled.pid")), format!("{daemon}\n"));
        assert!(read(&scratch.file("exampled.log")).ends_with(&format!("process {daemon}\n")));
        let (end, output, orphans) = finish(&command());
        assert_eq!(output, ["exampled: pid file: already running or being started: EEXIST"]);
        assert_eq!((end, orphans), (End::Exited(1), vec![]));
        terminate(daemon);
        assert_eq!(warden.rest(), [(daemon, End::Killed(15))]);
    }
}

/// The daemon's word, `daemon PID in session SID` and what follows, and that it was alone.
fn assert_says_who_it_is(command: &Command, rest: &str) {
    let (end, output, orphans) = finish(command);
    let [line] = &output[..] else { panic!("one line, not {output:?}") };
    let words: Vec<&str> = line.split([' ', ':']).collect();
    let (pid, session) = (words[1], words[4]);
    assert_eq!(line, &format!("daemon {pid} in session {session}{rest}"));
    assert_ne!(pid, session);
    assert_eq!((end, orphans), (End::Exited(0), vec![(pid.parse().expect("a pid"), End::Exited(0))]));
}

fn example_freestanding() {
    if !has_backend("raw") {
        return skipped("example_freestanding", "the raw backend is not for this machine");
    }
    let flavour = Flavour { backend: "raw", shared: false };
    assert_says_who_it_is(&with(flavour.example("freestanding"), &["hello"]), ": hello");
    assert_says_who_it_is(&flavour.example("freestanding"), "");
    if !is_emulated("example_freestanding") {
        let (end, output, orphans) = finish(&with_few_descriptors(&flavour.example("freestanding")));
        assert_eq!(output, ["freestanding: stdin: cannot open standard input or put it in place: EMFILE"]);
        assert_eq!((end, orphans), (End::Exited(1), vec![]));
    }
    let command = flavour.example("freestanding");
    let program = command.get_program();
    assert_eq!(succeed(Command::new("nm").arg("-u").arg(program)), "", "no symbol is undefined");
    let dynamic = succeed(Command::new("readelf").arg("-d").arg(program));
    assert!(dynamic.contains("no dynamic section"), "{dynamic}");
    // The library's own memory functions stay its own: a program may bring some too.
    let defined = succeed(Command::new("nm").args(["-g", "--defined-only"]).arg(program));
    assert!(!defined.lines().any(|line| line.ends_with(" memcpy")), "{defined}");
}

fn rust_examples_do_the_same() {
    // This binary is target/PROFILE/deps/NAME; cargo test builds the examples next to it, unless told not to.
    let this = env::current_exe().expect("this binary");
    let examples = this.ancestors().nth(2).expect("target/PROFILE").join("examples");
    let example = |name: &str| Some(examples.join(name)).filter(|path| path.exists()).map(Command::new);
    for name in ["shortest", "tcp_server", "what_changed"] {
        let Some(mut command) = example(name) else {
            skipped("rust_examples_do_the_same", &format!("{name} has not been built; cargo test without --test does"));
            continue;
        };
        match name {
            "shortest" => assert_is_shortest(&command),
            "tcp_server" => assert_is_tcp_server(|| example(name).expect("it was there")),
            _ => assert_is_what_changed(&mut command),
        }
    }
}

/// The example without std, which is a package of its own.
fn rust_example_without_std_is_a_daemon() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if !root.join("examples/bare").exists() {
        return skipped("rust_example_without_std_is_a_daemon", "the published package does not hold examples/bare");
    }
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--manifest-path"])
        .arg(root.join("examples/bare/Cargo.toml"))
        .arg("--target-dir")
        .arg(root.join("target/bare"))
        .status()
        .expect("cargo");
    assert!(built.success());
    assert_says_who_it_is(&Command::new(root.join("target/bare/debug/bare")), "");
}
