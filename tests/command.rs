//! The command: its options, its exit status, its one line, and the daemon that it leaves.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::std_instead_of_core, reason = "tests have std")]

mod harness;

use harness::{
    Call, DAEMON, End, Event, LEADER, Meeting, Moment, PATIENCE, Scratch, Tracer, Warden, helper, is_root, stat_fields,
    state, untty,
};
use nix::fcntl::{OFlag, open};
use nix::sys::signal::{SigHandler, SigSet, Signal, kill, signal};
use nix::sys::stat::Mode;
use nix::unistd::Pid;
use std::ffi::{CString, OsStr};
use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::IntoRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{self, Command};
use std::time::{Duration, Instant};
use std::{env, thread};

fn main() {
    harness::main(
        &[
            ("status_tells_a_missing_program_from_one_that_cannot_run", status_tells_what_is_wrong_with_the_program),
            ("program_from_path_is_the_one_that_execvp_would_take", program_from_path_is_the_one_of_execvp),
            ("path_element_that_is_no_use_hides_nothing_behind_it", path_element_that_is_no_use_hides_nothing),
            ("relative_program_is_found_before_the_directory_changes", relative_program_is_found_at_home),
            ("script_without_an_interpreter_is_run_by_sh", script_without_an_interpreter_is_run_by_sh),
            ("arguments_arrive_unchanged", arguments_arrive_unchanged),
            ("environment_arrives_unchanged", environment_arrives_unchanged),
            ("no_argument_at_all_is_an_error", no_argument_at_all_is_an_error),
            ("every_spelling_of_an_option_is_understood", every_spelling_of_an_option_is_understood),
            ("options_after_the_command_are_its_own", options_after_the_command_are_its_own),
            ("misuse_is_one_line_and_125", misuse_is_one_line_and_125),
            ("control_characters_do_not_break_the_line", control_characters_do_not_break_the_line),
            ("name_of_any_length_leaves_one_line", name_of_any_length_leaves_one_line),
            ("help_and_version_are_printed_or_125", help_and_version_are_printed_or_125),
            ("output_is_appended_to_what_is_there", output_is_appended_to_what_is_there),
            ("new_log_has_mode_0640_less_the_umask", new_log_has_mode_0640_less_the_umask),
            ("input_error_directory_and_umask_are_as_asked", input_error_directory_and_umask_are_as_asked),
            ("wrong_file_is_reported_before_anything_starts", wrong_file_is_reported_before_anything_starts),
            ("wrong_directory_is_reported_and_nothing_starts", wrong_directory_is_reported_and_nothing_starts),
            ("program_has_the_whole_default_state", program_has_the_whole_default_state),
            ("kept_descriptors_are_there_and_no_others", kept_descriptors_are_there_and_no_others),
            ("printed_pid_is_the_daemons", printed_pid_is_the_daemons),
            ("pid_that_cannot_be_printed_is_in_the_error_line", pid_that_cannot_be_printed_is_in_the_error_line),
            ("closed_standard_output_is_no_place_for_a_pid", closed_standard_output_is_no_place_for_a_pid),
            ("any_of_0_to_2_may_be_closed", any_of_0_to_2_may_be_closed),
            ("start_that_hangs_ends_at_the_deadline", start_that_hangs_ends_at_the_deadline),
            ("kill_before_exec_is_no_success", kill_before_exec_is_no_success),
            (
                "where_the_line_cannot_be_written_the_status_still_tells",
                where_the_line_cannot_be_written_the_status_still_tells,
            ),
            ("kill_after_exec_is_no_failure", kill_after_exec_is_no_failure),
            ("killed_caller_leaves_no_daemon", killed_caller_leaves_no_daemon),
            ("children_in_another_namespace_are_refused", children_in_another_namespace_are_refused),
            ("process_1_of_a_namespace_is_told_why_it_cannot", process_1_of_a_namespace_is_told_why_it_cannot),
            ("program_that_ends_at_once_is_a_success", program_that_ends_at_once_is_a_success),
            ("program_runs_when_the_command_ends", program_runs_when_the_command_ends),
            ("command_can_start_itself", command_can_start_itself),
            ("daemon_outlives_a_shell_that_started_it_behind_its_back", daemon_outlives_its_shell),
            ("web_server_runs_as_in_the_readme", web_server_runs_as_in_the_readme),
        ],
        &[
            ("launch", launch),
            ("traced", traced),
            ("tell", tell),
            ("process_1", process_1),
            ("outside_of_a_namespace", outside_of_a_namespace),
        ],
    );
}

// Starting the command from a process prepared for it.

/// The usual places: in the tester's own PATH may be some that an ordinary user must not search.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// One start of the command: what is done in the process, in this order, before it executes it. Its standard output
/// and error go to files of their own.
struct Start {
    steps: Vec<String>,
    scratch: Scratch,
}

impl Start {
    fn new<Argument: AsRef<[u8]>>(arguments: &[Argument]) -> Self {
        let scratch = Scratch::new();
        let start = Self { steps: Vec::new(), scratch };
        let (out, err) = (start.scratch.file("out"), start.scratch.file("err"));
        let start = start.step("path", PATH).step("out", out).step("err", err);
        let start = start.step("arg", "untty");
        arguments.iter().fold(start, |start, argument| start.step("arg", argument))
    }

    fn step(mut self, what: &str, value: impl AsRef<[u8]>) -> Self {
        let hex: String = value.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        self.steps.push(format!("{what}={hex}"));
        self
    }

    fn go(self) -> Running {
        let warden = Warden::start(helper("launch").args(&self.steps));
        Running { warden, scratch: self.scratch, ends: Vec::new() }
    }

    /// For a start that fails, or does nothing: goes through it and finds nothing left.
    fn result(self) -> Told {
        let mut running = self.go();
        let told = running.told();
        // What there was of a daemon has ended as a failed step or a failed start does.
        let fails = |end| end == End::Exited(1) || end == End::Killed(Signal::SIGKILL as i32);
        let ends = running.rest();
        assert!(ends.len() <= 1 && ends.iter().all(|(_, end)| fails(*end)), "{told:?}: {ends:?}");
        told
    }

    /// For a program that ends by itself: what the command told. All is over then.
    fn complete(self) -> Told {
        let mut running = self.go();
        let told = running.told();
        assert_eq!(running.rest().len(), 1, "{told:?}");
        told
    }
}

struct Running {
    warden: Warden,
    scratch: Scratch,
    /// The daemon, if it ended before the command did.
    ends: Vec<(i32, End)>,
}

#[derive(Debug, PartialEq, Eq)]
struct Told {
    end: End,
    out: String,
    err: String,
}

impl Told {
    fn new(status: i32, out: &str, err: &str) -> Self {
        Self { end: End::Exited(status), out: out.into(), err: err.into() }
    }
}

impl Running {
    /// Waits for the command's end.
    fn told(&mut self) -> Told {
        let end = loop {
            match self.warden.next() {
                Event::Caller(end) => break end,
                Event::Orphan(pid, end) => self.ends.push((pid, end)),
                Event::None => panic!("the command is gone without a word"),
            }
        };
        let text = |name| {
            fs::read(self.scratch.file(name)).map_or(String::new(), |bytes| String::from_utf8_lossy(&bytes).into())
        };
        Told { end, out: text("out"), err: text("err") }
    }

    /// Waits until nothing is left: how everything but the command itself and its leader has ended.
    fn rest(&mut self) -> Vec<(i32, End)> {
        let mut ends = std::mem::take(&mut self.ends);
        ends.extend(self.warden.rest());
        ends
    }

    /// With -P: waits for success, and the pid.
    fn pid(&mut self) -> i32 {
        let told = self.told();
        assert_eq!((told.end, told.err.as_str()), (End::Exited(0), ""));
        told.out.strip_suffix('\n').and_then(|pid| pid.parse().ok()).unwrap_or_else(|| panic!("{told:?}"))
    }

    /// Ends a daemon that would run on, and sees that it was the only process.
    fn end(mut self, pid: i32) {
        kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
        assert_eq!(self.rest(), [(pid, End::Killed(Signal::SIGTERM as i32))]);
    }
}

/// Prepares this process and executes the command in it.
fn launch(steps: &[String]) {
    let (mut argv, mut envp, mut environment_is_given) = (Vec::new(), Vec::new(), false);
    for step in steps {
        let (what, hex) = step.split_once('=').unwrap();
        let bytes: Vec<u8> =
            (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..][..2], 16).unwrap()).collect();
        let path = OsStr::from_bytes(&bytes);
        let number = || std::str::from_utf8(&bytes).unwrap().parse::<i32>().unwrap();
        match what {
            // SAFETY: a helper has one thread.
            "path" => unsafe { env::set_var("PATH", path) },
            "arg" => argv.push(CString::new(bytes).unwrap()),
            "no arguments" => argv.clear(),
            "no environment" => environment_is_given = true,
            "env" => {
                environment_is_given = true;
                envp.push(CString::new(bytes).unwrap());
            }
            "out" => move_to(1, open(path, OFlag::O_WRONLY | OFlag::O_CREAT, Mode::from_bits_retain(0o600)).unwrap()),
            "err" => move_to(2, open(path, OFlag::O_WRONLY | OFlag::O_CREAT, Mode::from_bits_retain(0o600)).unwrap()),
            "broken pipe" => move_to(1, nix::unistd::pipe().unwrap().1),
            // A descriptor of that number, on the directory.
            "fd" => move_to(number(), open(c"/", OFlag::O_RDONLY, Mode::empty()).unwrap()),
            // SAFETY: takes no pointers; nobody uses the descriptor any more.
            "close" => drop(unsafe { libc::close(number()) }),
            "cwd" => env::set_current_dir(path).unwrap(),
            "remove" => fs::remove_dir(path).unwrap(),
            "umask" => drop(nix::sys::stat::umask(Mode::from_bits_retain(number().try_into().unwrap()))),
            "ignore" => {
                // SAFETY: nothing but the disposition changes.
                unsafe { signal(Signal::try_from(number()).unwrap(), SigHandler::SigIgn) }.unwrap();
            }
            "block" => SigSet::from(Signal::try_from(number()).unwrap()).thread_block().unwrap(),
            other => panic!("{other}"),
        }
    }
    if !environment_is_given {
        let variables = env::vars_os().map(|(name, value)| [name.into_vec(), value.into_vec()].join(&b'='));
        envp = variables.map(|entry| CString::new(entry).unwrap()).collect();
    }
    let pointers = |strings: &[CString]| -> Vec<_> {
        strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let program = CString::new(untty().get_program().as_bytes()).unwrap();
    // SAFETY: the arrays end with NULL and hold strings that live through the call.
    unsafe { libc::execve(program.as_ptr(), pointers(&argv).as_ptr(), pointers(&envp).as_ptr()) };
    process::exit(99);
}

/// Gives a descriptor that number, inherited by programs.
fn move_to(number: i32, fd: impl IntoRawFd) {
    let fd = fd.into_raw_fd();
    // SAFETY: takes no pointers; nobody uses the descriptor that is replaced.
    assert_eq!(unsafe { libc::dup2(fd, number) }, number);
    // SAFETY: takes no pointers; the descriptor is our own.
    assert!(fd == number || unsafe { libc::close(fd) } == 0);
}

/// A program for the daemon to execute: tells its state, and stays until the test hangs up.
fn tell(arguments: &[String]) {
    let state = state();
    let mut call = Call::to(&arguments[0]);
    call.tell_state(&state);
    call.wait_for_the_end();
}

fn teller(meeting: &Meeting) -> [String; 4] {
    let program = helper("tell").get_program().to_str().unwrap().to_owned();
    [program, "helper".into(), "tell".into(), meeting.path().into()]
}

/// An argument list: options, then the program.
fn with<'a>(options: &[&'a str], program: &'a [String]) -> Vec<&'a str> {
    options.iter().copied().chain(program.iter().map(String::as_str)).collect()
}

/// Makes a file, executable or not. It is written by another process: nothing that is started here at the same time
/// can have it open for writing, which would be ETXTBSY.
fn make_file(path: &str, content: &str, mode: u32) {
    let mut writer = Command::new("sh");
    let mut writer = writer.args(["-c", "cat >\"$1\"", "sh", path]).stdin(process::Stdio::piped()).spawn().unwrap();
    writer.stdin.take().unwrap().write_all(content.as_bytes()).unwrap();
    assert!(writer.wait().unwrap().success());
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap()
}

// Which program.

fn status_tells_what_is_wrong_with_the_program() {
    let scratch = Scratch::new();
    let plain = scratch.file("plain");
    make_file(&plain, "#!/bin/sh\n", 0o644);
    let missing_interpreter = scratch.file("missing-interpreter");
    make_file(&missing_interpreter, &format!("#!{}\n", scratch.file("missing")), 0o755);
    let bad_interpreter = scratch.file("bad-interpreter");
    make_file(&bad_interpreter, &format!("#!{plain}\n"), 0o755);
    let directory = scratch.path().to_str().unwrap().to_owned();
    let dangling = scratch.file("dangling");
    symlink(scratch.file("missing"), &dangling).unwrap();
    let looped = scratch.file("loop");
    symlink(&looped, &looped).unwrap();
    for (program, status, errno) in [
        (plain.as_str(), 126, "EACCES"),
        (&directory, 126, "EACCES"),
        (&bad_interpreter, 126, "EACCES"),
        (&missing_interpreter, 127, "ENOENT"),
        (&scratch.file("missing"), 127, "ENOENT"),
        (&scratch.file("missing/program"), 127, "ENOENT"),
        (&dangling, 127, "ENOENT"),
        (&looped, 126, "ELOOP"),
        (&format!("{plain}/program"), 126, "ENOTDIR"),
        ("no-such-program-anywhere", 127, "ENOENT"),
        ("", 127, "ENOENT"),
        (&"n".repeat(300), 126, "ENAMETOOLONG"),
    ] {
        let told = Start::new(&[program]).result();
        assert_eq!(told, Told::new(status, "", &format!("untty: exec: {program}: {errno}\n")));
        // With SIGCHLD ignored the kernel reaps the leader itself.
        let told = Start::new(&[program]).step("ignore", (Signal::SIGCHLD as i32).to_string()).result();
        assert_eq!(told, Told::new(status, "", &format!("untty: exec: {program}: {errno}\n")));
    }
}

/// A directory with places of a path: `a` and `b` have the program, `rel` too; the others do not.
fn places() -> Scratch {
    let scratch = Scratch::new();
    for place in ["a", "b", "rel", "plain", "directory", "directory/tool", "empty"] {
        fs::create_dir(scratch.file(place)).unwrap();
    }
    for place in ["a", "b", "rel"] {
        make_file(&scratch.file(&format!("{place}/tool")), &format!("#!/bin/sh\necho {place} \"$@\"\n"), 0o755);
    }
    make_file(&scratch.file("plain/tool"), "#!/bin/sh\n", 0o644);
    make_file(&scratch.file("file"), "", 0o755);
    scratch
}

/// Runs `tool one two` with that PATH (`@` is the directory of the places), there: what it printed, or the error.
fn run_tool(places: &Scratch, path: &str, directory: &str, remove: bool) -> Result<String, (i32, String)> {
    let log = places.file("log");
    let _ = fs::remove_file(&log);
    let path = path.replace('@', places.path().to_str().unwrap());
    let start = Start::new(&["-o", &log, "tool", "one", "two"]).step("env", format!("PATH={path}"));
    let mut start = start.step("cwd", directory);
    if remove {
        start = start.step("remove", directory);
    }
    let mut running = start.go();
    let told = running.told();
    let ends = running.rest();
    match told.end {
        End::Exited(0) => {
            assert_eq!((ends.len(), told.err.as_str()), (1, ""));
            Ok(read(&log).trim_end().to_owned())
        }
        End::Exited(status) => {
            assert_eq!((ends.len(), told.err.lines().count()), (0, 1), "{told:?}");
            Err((status, told.err.trim_end().rsplit(": ").next().unwrap().to_owned()))
        }
        End::Killed(_) => panic!("{told:?}"),
    }
}

fn program_from_path_is_the_one_of_execvp() {
    let places = places();
    let (here, a) = (places.path().to_str().unwrap(), places.file("a"));
    for (path, directory, found) in [
        ("@/a:@/b", "/", "a"),
        ("@/b:@/a", "/", "b"),
        ("@/missing:@/a", "/", "a"),
        ("@/empty:@/a", "/", "a"),
        ("@/file:@/a", "/", "a"),
        ("@/plain:@/b", "/", "b"),
        ("@/directory:@/b", "/", "b"),
        ("rel:@/a", here, "rel"),
        ("rel:@/b", "/", "b"),
        ("./rel/:@/a", here, "rel"),
        (":@/b", a.as_str(), "a"),
        ("@/b:", a.as_str(), "b"),
        ("@/empty::@/b", a.as_str(), "a"),
        ("@/empty:", a.as_str(), "a"),
        ("", a.as_str(), "a"),
        (".", a.as_str(), "a"),
    ] {
        assert_eq!(run_tool(&places, path, directory, false), Ok(format!("{found} one two")), "{path}");
    }
    for (path, status, errno) in [
        ("@/missing", 127, "ENOENT"),
        ("@/file", 127, "ENOENT"),
        ("@/plain", 126, "EACCES"),
        ("@/plain:@/missing", 126, "EACCES"),
        ("@/directory", 126, "EACCES"),
        ("", 127, "ENOENT"),
    ] {
        assert_eq!(run_tool(&places, path, "/", false), Err((status, errno.into())), "{path}");
    }
    // What makes too long a path for the kernel hides nothing behind it, and is not what is told.
    for length in [4080, 4096, 4200, 5100, 6000] {
        let long = "/a".repeat(length / 2);
        let found = run_tool(&places, &format!("{long}:@/a"), "/", false);
        assert_eq!(found, Ok("a one two".to_owned()), "{length}");
        let found = run_tool(&places, &format!("{long}:@/missing"), "/", false);
        assert_eq!(found, Err((127, "ENOENT".to_owned())), "{length}");
    }
    // Where PATH is not set, there is a default; PATH in other names does not count.
    let log = places.file("default");
    let start = Start::new(&["-o", &log, "sh", "-c", "echo default"]).step("env", "XPATH=/x").step("env", "PATHS=/x");
    assert_eq!(start.complete(), Told::new(0, "", ""));
    assert_eq!(read(&log), "default\n");
}

fn path_element_that_is_no_use_hides_nothing() {
    let places = places();
    let long = format!("/{}:@/a", "long/".repeat(1000));
    assert_eq!(run_tool(&places, &long, "/", false), Ok("a one two".into()), "an overlong element");
    let long = format!("/{}:@/a", "l".repeat(300));
    assert_eq!(run_tool(&places, &long, "/", false), Ok("a one two".into()), "an overlong name");
    for path in [":@/a", "rel:@/a"] {
        let gone = places.file("gone");
        fs::create_dir(&gone).unwrap();
        assert_eq!(run_tool(&places, path, &gone, true), Ok("a one two".into()), "{path} in a removed directory");
    }
    // Root may search it anyway.
    let secret = places.file("b");
    fs::set_permissions(&secret, Permissions::from_mode(0o000)).unwrap();
    let expected = if is_root() { "b one two" } else { "a one two" };
    assert_eq!(run_tool(&places, "@/b:@/a", "/", false), Ok(expected.into()), "a locked directory");
    fs::set_permissions(&secret, Permissions::from_mode(0o755)).unwrap();
}

fn relative_program_is_found_at_home() {
    let places = places();
    let here = places.path().to_str().unwrap();
    let elsewhere = places.file("empty");
    for (program, directory) in [("./tool", "a"), ("../a/tool", "b"), ("a/tool", "."), ("a/../a/tool", "")] {
        for away in [None, Some(elsewhere.as_str()), Some("/")] {
            let log = places.file("log");
            let _ = fs::remove_file(&log);
            let mut arguments = vec!["-o", &log];
            arguments.extend(away.iter().flat_map(|away| ["-C", away]));
            let start = Start::new(&[arguments, vec![program, "x"]].concat());
            assert_eq!(start.step("cwd", format!("{here}/{directory}")).complete(), Told::new(0, "", ""));
            assert_eq!(read(&log), "a x\n", "{program} with {away:?}");
        }
    }
    // And only there.
    let told = Start::new(&["-C", &places.file("a"), "./tool"]).step("cwd", &elsewhere).result();
    assert_eq!(told, Told::new(127, "", "untty: exec: ./tool: ENOENT\n"));
}

fn script_without_an_interpreter_is_run_by_sh() {
    let scratch = Scratch::new();
    let (script, log) = (scratch.file("script"), scratch.file("log"));
    make_file(&script, "echo \"$0\"; for argument; do echo \"<$argument>\"; done; echo $$; pwd\n", 0o755);
    let here = scratch.path().to_str().unwrap();
    for program in [script.as_str(), "./script", "script"] {
        let _ = fs::remove_file(&log);
        let start = Start::new(&["-P", "-o", &log, "-C", "/usr", "--", program, "", "-x", "a  b"]);
        let path = format!("PATH={here}:/usr/bin:/bin");
        let mut running = start.step("env", path).step("cwd", here).go();
        let pid = running.pid();
        let mut ends = running.rest();
        ends.retain(|end| *end != (pid, End::Exited(0)));
        assert!(ends.len() <= 1, "{ends:?}"); // the first daemon, which could not execute it
        let path = if program == "./script" { format!("{here}/./script") } else { script.clone() };
        assert_eq!(read(&log), format!("{path}\n<>\n<-x>\n<a  b>\n{pid}\n/usr\n"), "{program}");
    }
}

// What the program gets.

/// A FIFO that somebody has open for writing, so that whoever reads it waits.
fn fifo(scratch: &Scratch) -> (String, File) {
    let path = scratch.file("fifo");
    nix::unistd::mkfifo(path.as_str(), Mode::from_bits_retain(0o600)).unwrap();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    (path, file)
}

fn arguments_arrive_unchanged() {
    let scratch = Scratch::new();
    let (path, fifo) = fifo(&scratch);
    symlink("/bin/sh", scratch.file("my shell")).unwrap();
    let odd: [&[u8]; 7] = [b"", b"a b", b"\xff\xfe", b"-o", b"--", b"new\nline", b""];
    for program in ["sh", "/bin/sh", "./my shell"] {
        let command = [program.as_bytes(), b"-c", b"read line", b"name"].into_iter().chain(odd);
        let arguments: Vec<&[u8]> =
            [b"-P".as_slice(), b"-i", path.as_bytes()].into_iter().chain(command.clone()).collect();
        let mut running = Start::new(&arguments).step("cwd", scratch.path().as_os_str().as_bytes()).go();
        let pid = running.pid();
        let expected: Vec<u8> = command.flat_map(|argument| [argument, b"\0"].concat()).collect();
        assert_eq!(fs::read(format!("/proc/{pid}/cmdline")).unwrap(), expected, "{program}");
        (&fifo).write_all(b"\n").unwrap();
        assert_eq!(running.rest(), [(pid, End::Exited(0))]);
    }
}

fn environment_arrives_unchanged() {
    let odd: [&[u8]; 7] = [b"B=2", b"A=1", b"A=again", b"EMPTY=", b"no equals sign", b"X=\xff\xfe", b"=strange"];
    for entries in [&odd[..], &[]] {
        let start = Start::new(&["-P", "/bin/sleep", "1000"]).step("no environment", "");
        let mut running = entries.iter().fold(start, |start, entry| start.step("env", entry)).go();
        let pid = running.pid();
        let expected: Vec<u8> = entries.iter().flat_map(|entry| [entry, b"\0".as_slice()].concat()).collect();
        assert_eq!(fs::read(format!("/proc/{pid}/environ")).unwrap(), expected);
        running.end(pid);
    }
}

fn no_argument_at_all_is_an_error() {
    let told = Start::new(&["x"]).step("no arguments", "").result();
    assert_eq!((told.end, told.out.as_str()), (End::Exited(125), ""));
    assert!(told.err.starts_with("untty: options: ") && told.err.ends_with(": EINVAL\n"), "{told:?}");
    assert_eq!(told.err.lines().count(), 1);
}

// The options.

fn every_spelling_of_an_option_is_understood() {
    let scratch = Scratch::new();
    let log = scratch.file("log");
    let attached = [format!("-o{log}"), format!("--output={log}"), format!("-Po{log}"), format!("-PPo{log}")];
    let spellings: [&[&str]; 13] = [
        &["-o", &log],
        &["--output", &log],
        &[&attached[0]],
        &[&attached[1]],
        &[&attached[2]],
        &[&attached[3]],
        &["-Po", &log],
        &["-P", "-o", &log],
        &["--print-pid", "--output", &log, "--"],
        &["-o", "/nowhere/the last one counts", "-o", &log],
        &["-t", "60", "-o", &log],
        &["-t60.125", "-o", &log],
        &["--timeout=0060.5", "-o", &log],
    ];
    for options in spellings {
        let _ = fs::remove_file(&log);
        let told = Start::new(&[options, &["sh", "-c", "echo out; echo err >&2"]].concat()).complete();
        assert_eq!((told.end, told.err.as_str()), (End::Exited(0), ""), "{options:?}");
        let prints = options.iter().any(|option| option.starts_with("-P") || *option == "--print-pid");
        assert_eq!(told.out.is_empty(), !prints, "{options:?}: {told:?}");
        assert_eq!(read(&log), "out\nerr\n", "{options:?}");
    }
    // All the other long names, each with its value apart and attached.
    let (input, error) = (scratch.file("input"), scratch.file("error"));
    fs::write(&input, "from the file\n").unwrap();
    let place = scratch.path().to_str().unwrap();
    let values = [("--input", input.as_str()), ("--error", &error), ("--directory", place), ("--umask", "123")];
    let attached: Vec<String> = values.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let apart: Vec<&str> = values.iter().flat_map(|(name, value)| [*name, value]).collect();
    for options in [attached.iter().map(String::as_str).collect::<Vec<&str>>(), apart] {
        for file in [&log, &error] {
            let _ = fs::remove_file(file);
        }
        let program = ["--output", &log, "--keep-fd", "0", "sh", "-c", "cat; pwd; umask; echo bad >&2"];
        assert_eq!(Start::new(&[&options[..], &program].concat()).complete(), Told::new(0, "", ""));
        assert_eq!(read(&log), format!("from the file\n{place}\n0123\n"), "{options:?}");
        assert_eq!(read(&error), "bad\n");
    }
}

fn options_after_the_command_are_its_own() {
    let scratch = Scratch::new();
    let log = scratch.file("log");
    let odd = ["-o", "-h", "--help", "--", "-k", "x", "--bogus"];
    let told = Start::new(&[&["-o", &log, "printf", "%s\n"], &odd[..]].concat()).complete();
    assert_eq!(told, Told::new(0, "", ""));
    assert_eq!(read(&log), odd.map(|word| format!("{word}\n")).concat());
    // After --, what looks like an option is the command; a lone - always is.
    for (arguments, program) in [(&["--", "-o", "x"][..], "-o"), (&["--", "--", "x"], "--"), (&["-"], "-")] {
        let told = Start::new(arguments).result();
        assert_eq!(told, Told::new(127, "", &format!("untty: exec: {program}: ENOENT\n")));
    }
    make_file(&scratch.file("-o"), "#!/bin/sh\necho ran \"$@\" >>\"$LOG\"\n", 0o755);
    let start = Start::new(&["--", "-o", "x"]).step("env", format!("PATH={}:/bin:/usr/bin", scratch.file("")));
    assert_eq!(start.step("env", format!("LOG={log}")).complete(), Told::new(0, "", ""));
    assert!(read(&log).ends_with("ran x\n"));
}

fn misuse_is_one_line_and_125() {
    const MASK: &str = "not a umask from 0 to 777";
    const FD: &str = "not a descriptor";
    const TIME: &str = "not a number of seconds above 0";
    let mut cases: Vec<(Vec<&str>, String)> = vec![
        (vec![], "COMMAND is missing: EINVAL".into()),
        (vec!["--"], "COMMAND is missing: EINVAL".into()),
        (vec!["-P"], "COMMAND is missing: EINVAL".into()),
        (vec!["-o", "x"], "COMMAND is missing: EINVAL".into()),
        (vec!["-k", "700", "true"], "a descriptor to keep is not open: EBADF".into()),
        (vec!["-k", "2147483647", "true"], "a descriptor to keep is not open: EBADF".into()),
        (vec!["--print-pid=yes", "true"], "option '--print-pid=yes' takes no value: EINVAL".into()),
        (vec!["--help=", "true"], "option '--help=' takes no value: EINVAL".into()),
        ([["-k", "0"].repeat(65), vec!["true"]].concat(), "more than 64 descriptors to keep: EINVAL".into()),
    ];
    for option in ["-x", "-Px", "-xP", "--bogus", "--outputs", "--out", "--output-", "---", "--=x", "-?", "-\u{e9}"] {
        cases.push((vec![option, "true"], format!("unknown option '{option}': EINVAL")));
    }
    for option in ["-o", "-Po", "-e", "-i", "-C", "-m", "-k", "-t", "--output", "--timeout", "--keep-fd"] {
        cases.push((vec![option], format!("option '{option}' needs a value: EINVAL")));
    }
    for mask in ["8", "1777", "1000", "", "-1", "+7", "0x7", " 7", "7 ", "u=rwx", "99999999999999999999"] {
        cases.push((vec!["-m", mask, "true"], format!("{MASK}: '{mask}': EINVAL")));
    }
    for fd in ["x", "-1", "", "1x", "+1", "2147483648", "4294967296", "4294967297", "1,2"] {
        cases.push((vec!["-k", fd, "true"], format!("{FD}: '{fd}': EINVAL")));
    }
    for time in
        ["0", "x", "1.", "1.2345", ".", "", "-1", "99999999999", "4294967296", "0.0", "0.000", "1.x", "1e3", "1.2.3"]
    {
        cases.push((vec!["-t", time, "true"], format!("{TIME}: '{time}': EINVAL")));
    }
    cases.push((vec!["--timeout=", "true"], format!("{TIME}: '': EINVAL")));
    for (arguments, line) in cases {
        let told = Start::new(&arguments).result();
        assert_eq!(told, Told::new(125, "", &format!("untty: options: {line}\n")), "{arguments:?}");
    }
    // The control: what is just not too much.
    let told = Start::new(&[["-k", "0"].repeat(64), vec!["-m", "777", "-t", "4294967295.999", "true"]].concat());
    assert_eq!(told.complete(), Told::new(0, "", ""));
}

fn control_characters_do_not_break_the_line() {
    let odd = "/no\nsuch\x1b[31m/\x7f\rname\t";
    let shown = "/no?such?[31m/??name?";
    for (arguments, status, start) in [
        (&["-o", odd, "true"][..], 125, format!("untty: stdout: {shown}: ENOENT")),
        (&["-e", odd, "true"], 125, format!("untty: stderr: {shown}: ENOENT")),
        (&["-i", odd, "true"], 125, format!("untty: stdin: {shown}: ENOENT")),
        (&["-C", odd, "true"], 125, format!("untty: chdir: {shown}: ENOENT")),
        (&[odd], 127, format!("untty: exec: {shown}: ENOENT")),
        (&["-m", odd, "true"], 125, format!("untty: options: not a umask from 0 to 777: '{shown}': EINVAL")),
        (&["-\n", "true"], 125, "untty: options: unknown option '-?': EINVAL".into()),
        (&["--\n", "true"], 125, "untty: options: unknown option '--?': EINVAL".into()),
    ] {
        assert_eq!(Start::new(arguments).result(), Told::new(status, "", &format!("{start}\n")));
    }
}

fn where_the_line_cannot_be_written_the_status_still_tells() {
    let scratch = Scratch::new();
    let untty = untty().get_program().to_str().expect("text").to_owned();
    let file = scratch.file("line");
    for way in [
        format!("ulimit -f 0; exec {untty} -C /nonexistent true 2>{file}"),
        format!("exec {untty} -C /nonexistent true 2>/dev/full"),
        format!("exec {untty} -C /nonexistent true 2>&-"),
    ] {
        let (status, _, _) = harness::run(Command::new("sh").args(["-c", &way]));
        assert_eq!(harness::end_of(status), End::Exited(125), "{way}");
    }
    // A pipe that nobody reads any more. (Rust's children have SIGPIPE at its default.)
    let (reader, writer) = nix::unistd::pipe().expect("a pipe");
    drop(reader);
    let status = Command::new(&untty).args(["-C", "/nonexistent", "true"]).stderr(writer).status().expect("a command");
    assert_eq!(harness::end_of(status), End::Exited(125));
}

fn name_of_any_length_leaves_one_line() {
    for length in [256, 4095, 4096, 5000] {
        for slash in ["", "/"] {
            let name = format!("{slash}{}", "n".repeat(length));
            let told = Start::new(&[&name]).result();
            assert_eq!(told, Told::new(126, "", &format!("untty: exec: {name}: ENAMETOOLONG\n")), "{length}");
            for (option, step) in [("-o", "stdout"), ("-e", "stderr"), ("-i", "stdin"), ("-C", "chdir")] {
                let told = Start::new(&[option, &name, "true"]).result();
                assert_eq!(told, Told::new(125, "", &format!("untty: {step}: {name}: ENAMETOOLONG\n")), "{length}");
            }
        }
    }
    // No name of a file is that long, and no line either.
    for arguments in [vec!["n".repeat(60_000)], vec!["-o".into(), "n".repeat(60_000), "true".into()]] {
        let told = Start::new(&arguments).result();
        assert!(matches!(told.end, End::Exited(125 | 126)), "{:?}", told.end);
        assert!(told.err.starts_with("untty: ") && told.err.ends_with('\n') && told.err.lines().count() == 1);
    }
}

fn help_and_version_are_printed_or_125() {
    let version = concat!("untty ", env!("CARGO_PKG_VERSION"), "\n");
    for arguments in [&["-V"][..], &["--version"], &["-PV"], &["-V", "--bogus"], &["-V", "true"]] {
        assert_eq!(Start::new(arguments).result(), Told::new(0, version, ""), "{arguments:?}");
    }
    for arguments in [&["-h"][..], &["--help"], &["-Ph"], &["-h", "--bogus"], &["-o", "/nowhere/log", "-h"]] {
        let told = Start::new(arguments).result();
        assert_eq!((told.end, told.err.as_str()), (End::Exited(0), ""));
        assert!(told.out.starts_with("Usage: untty [OPTION]... [--] COMMAND [ARG]...\n"), "{told:?}");
        for word in ["-o, --output FILE", "-e, --error FILE", "-i, --input FILE", "-C, --directory DIR"]
            .into_iter()
            .chain(["-m, --umask OCTAL", "-k, --keep-fd N", "-t, --timeout SECONDS", "-P, --print-pid"])
            .chain(["-h, --help", "-V, --version", "125", "126", "127"])
        {
            assert!(told.out.contains(word), "no word of {word}");
        }
    }
    for option in ["-h", "-V"] {
        let line = |errno| Told::new(125, "", &format!("untty: print: cannot write to standard output: {errno}\n"));
        assert_eq!(Start::new(&[option]).step("out", "/dev/full").result(), line("ENOSPC"));
        assert_eq!(Start::new(&[option]).step("close", "1").result(), line("EBADF"));
    }
}

// Files and directories.

fn output_is_appended_to_what_is_there() {
    let scratch = Scratch::new();
    let (log, other) = (scratch.file("log"), scratch.file("other"));
    fs::write(&log, "before\n").unwrap();
    for _ in 0..2 {
        let told = Start::new(&["-o", &log, "sh", "-c", "echo out; echo err >&2; echo out again"]).complete();
        assert_eq!(told, Told::new(0, "", ""));
    }
    assert_eq!(read(&log), format!("before\n{0}{0}", "out\nerr\nout again\n"));
    // Two opened apart do not write over each other either; -e alone leaves standard output on /dev/null.
    fs::write(&log, "").unwrap();
    let told = Start::new(&["-o", &log, "-e", &log, "sh", "-c", "echo 1; echo 2 >&2; echo 3"]).complete();
    assert_eq!((told, read(&log).as_str()), (Told::new(0, "", ""), "1\n2\n3\n"));
    let told = Start::new(&["-e", &other, "sh", "-c", "echo out; echo err >&2"]).complete();
    assert_eq!((told, read(&other).as_str()), (Told::new(0, "", ""), "err\n"));
}

fn new_log_has_mode_0640_less_the_umask() {
    for (mask, mode) in [(0, 0o640), (0o022, 0o640), (0o077, 0o600), (0o777, 0)] {
        let scratch = Scratch::new();
        let log = scratch.file("log");
        assert_eq!(Start::new(&["-o", &log, "true"]).step("umask", mask.to_string()).complete(), Told::new(0, "", ""));
        assert_eq!(fs::metadata(&log).unwrap().permissions().mode() & 0o7777, mode);
    }
}

fn input_error_directory_and_umask_are_as_asked() {
    let scratch = Scratch::new();
    let (log, input) = (scratch.file("log"), scratch.file("input"));
    fs::write(&input, "input\n").unwrap();
    fs::create_dir(scratch.file("place")).unwrap();
    // Relative names are those of the caller's directory, also that of -C.
    let program = ["-o", "log", "-i", "input", "-C", "place", "-m", "7", "sh", "-c", "cat; pwd; umask"];
    let told = Start::new(&program).step("cwd", scratch.path().as_os_str().as_bytes()).complete();
    assert_eq!(told, Told::new(0, "", ""));
    assert_eq!(read(&log), format!("input\n{}\n0007\n", scratch.file("place")));
    fs::remove_file(&log).unwrap();
    let told = Start::new(&["-o", &log, "sh", "-c", "pwd; umask; cat"]).complete();
    assert_eq!((told, read(&log).as_str()), (Told::new(0, "", ""), "/\n0027\n"));
}

fn wrong_file_is_reported_before_anything_starts() {
    let scratch = Scratch::new();
    let file = |name| scratch.file(name);
    fs::write(file("real"), "").unwrap();
    symlink(file("real"), file("link")).unwrap();
    symlink(file("missing"), file("dangling")).unwrap();
    nix::unistd::mkfifo(file("pipe").as_str(), Mode::from_bits_retain(0o600)).unwrap();
    fs::write(file("read-only"), "").unwrap();
    fs::set_permissions(file("read-only"), Permissions::from_mode(0o444)).unwrap();
    fs::write(file("secret"), "").unwrap();
    fs::set_permissions(file("secret"), Permissions::from_mode(0o000)).unwrap();
    let mut cases = vec![
        ("-o", file("missing/log"), "ENOENT"),
        ("-o", file("real/log"), "ENOTDIR"),
        ("-o", file("link"), "ELOOP"),
        ("-o", file("dangling"), "ELOOP"),
        ("-o", file(""), "EISDIR"),
        ("-o", file("pipe"), "ENXIO"),
        ("-o", String::new(), "ENOENT"),
        ("-e", file("missing/log"), "ENOENT"),
        ("-e", file("link"), "ELOOP"),
        ("-i", file("missing"), "ENOENT"),
        ("-i", file("dangling"), "ENOENT"),
    ];
    if !is_root() {
        cases.extend([
            ("-o", file("read-only"), "EACCES"),
            ("-e", "/etc/no-log-here".to_owned(), "EACCES"),
            ("-i", file("secret"), "EACCES"),
        ]);
    }
    for (option, path, errno) in cases {
        let step = ["stdout", "stderr", "stdin"][["-o", "-e", "-i"].iter().position(|name| *name == option).unwrap()];
        let told = Start::new(&[option, &path, "touch", &file("started")]).result();
        assert_eq!(told, Told::new(125, "", &format!("untty: {step}: {path}: {errno}\n")));
        assert!(!fs::exists(file("started")).unwrap(), "{option} {path}");
    }
    assert!(!fs::exists(file("missing")).unwrap());
    // The control: input may be a link.
    assert_eq!(Start::new(&["-i", &file("link"), "touch", &file("started")]).complete(), Told::new(0, "", ""));
    assert!(fs::exists(file("started")).unwrap());
}

fn wrong_directory_is_reported_and_nothing_starts() {
    let scratch = Scratch::new();
    let (missing, plain, started) = (scratch.file("missing"), scratch.file("plain"), scratch.file("started"));
    fs::write(&plain, "").unwrap();
    for (path, errno) in [(missing.as_str(), "ENOENT"), (&plain, "ENOTDIR"), ("", "ENOENT")] {
        for option in ["-C", "--directory"] {
            let told = Start::new(&[option, path, "touch", &started]).result();
            assert_eq!(told, Told::new(125, "", &format!("untty: chdir: {path}: {errno}\n")));
        }
    }
    assert!(!fs::exists(&started).unwrap());
}

// What the daemon is.

/// One of the signal sets of `/proc/PID/status`.
fn signal_set(pid: i32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let set = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t")).unwrap();
    u64::from_str_radix(set, 16).unwrap()
}

/// Signals that were ignored and blocked, and descriptors that were open, when the command was started.
fn burdened(start: Start) -> Start {
    let ignored = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGCHLD, Signal::SIGPIPE, Signal::SIGTTOU];
    let start = ignored.into_iter().fold(start, |start, signal| start.step("ignore", (signal as i32).to_string()));
    let start = [Signal::SIGTERM, Signal::SIGUSR1]
        .into_iter()
        .fold(start, |start, signal| start.step("block", (signal as i32).to_string()));
    ["5", "9", "100", "255"].into_iter().fold(start, |start, fd| start.step("fd", fd)).step("umask", "63")
}

fn program_has_the_whole_default_state() {
    let scratch = Scratch::new();
    let meeting = Meeting::new(&scratch);
    let mut running = burdened(Start::new(&teller(&meeting))).step("cwd", scratch.path().as_os_str().as_bytes()).go();
    assert_eq!(running.told(), Told::new(0, "", ""));
    let mut daemon = meeting.daemon();
    let state = daemon.state();
    let descriptors: Vec<(&str, &str)> = state
        .iter()
        .filter(|(key, _)| key.starts_with("fd "))
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    let null = |name| (name, descriptors[0].1);
    assert!(descriptors[0].1.starts_with("/dev/null 0 "), "{descriptors:?}");
    assert_eq!(descriptors, [null("fd 00000"), null("fd 00001"), null("fd 00002")]);
    assert_eq!((state["directory"].as_str(), state["umask"].as_str()), ("/", "0027"));
    assert_eq!(state["session"], state["group"]);
    assert_ne!(state["session"], state["pid"]);
    assert_eq!(state["terminal"], "0");
    let pid: i32 = state["pid"].parse().unwrap();
    assert_eq!(stat_fields(pid).unwrap()[1], running.warden.pid().to_string());
    assert!(stat_fields(state["session"].parse().unwrap()).is_none(), "the leader is still there");
    drop(daemon);
    assert_eq!(running.rest(), [(pid, End::Exited(0))]);
    // Rust's runtime ignores SIGPIPE and catches some more, so signals are looked at in another program.
    let mut running = burdened(Start::new(&["-P", "sleep", "1000"])).go();
    let pid = running.pid();
    for set in ["SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd"] {
        assert_eq!(signal_set(pid, set), 0, "{set}");
    }
    running.end(pid);
}

fn kept_descriptors_are_there_and_no_others() {
    for (options, kept) in [
        (&[][..], &[][..]),
        (&["-k", "9"], &[9]),
        (&["-k9"], &[9]),
        (&["--keep-fd=255", "-k", "5", "-k", "5"], &[5, 255]),
        (&["-k", "0", "-k100", "-k1"], &[100]),
        (&["-k", "255", "-k", "100", "-k", "9", "-k", "5"], &[5, 9, 100, 255]),
    ] {
        let scratch = Scratch::new();
        let meeting = Meeting::new(&scratch);
        let mut running = burdened(Start::new(&with(options, &teller(&meeting)))).go();
        assert_eq!(running.told(), Told::new(0, "", ""));
        let mut daemon = meeting.daemon();
        let state = daemon.state();
        let mut open: Vec<(i32, &str)> = Vec::new();
        for (key, value) in state.iter().filter(|(key, _)| key.starts_with("fd ")) {
            open.push((key[3..].parse().unwrap(), value.split(' ').next().unwrap()));
        }
        let null = [0, 1, 2].map(|fd| (fd, "/dev/null"));
        let expected: Vec<(i32, &str)> = null.into_iter().chain(kept.iter().map(|fd| (*fd, "/"))).collect();
        assert_eq!(open, expected, "{options:?}");
        drop(daemon);
        assert_eq!(running.rest().len(), 1);
    }
}

fn printed_pid_is_the_daemons() {
    for option in ["-P", "--print-pid"] {
        let scratch = Scratch::new();
        let meeting = Meeting::new(&scratch);
        let mut running = Start::new(&with(&[option], &teller(&meeting))).go();
        let pid = running.pid();
        let mut daemon = meeting.daemon();
        assert_eq!(daemon.state()["pid"], pid.to_string());
        drop(daemon);
        assert_eq!(running.rest(), [(pid, End::Exited(0))]);
    }
}

fn pid_that_cannot_be_printed_is_in_the_error_line() {
    for (step, value, errno) in [("broken pipe", "", "EPIPE"), ("out", "/dev/full", "ENOSPC")] {
        let scratch = Scratch::new();
        let meeting = Meeting::new(&scratch);
        let mut running = Start::new(&with(&["-P"], &teller(&meeting))).step(step, value).go();
        let told = running.told();
        let mut daemon = meeting.daemon();
        let pid = daemon.state()["pid"].clone();
        let line = format!("untty: print: the daemon runs, but its process id cannot be printed: {pid}: {errno}\n");
        assert_eq!(told, Told::new(0, "", &line));
        drop(daemon);
        assert_eq!(running.rest(), [(pid.parse().unwrap(), End::Exited(0))]);
    }
}

fn closed_standard_output_is_no_place_for_a_pid() {
    let told = Start::new(&["-P", "sleep", "1000"]).step("close", "1").result();
    assert_eq!(told, Told::new(125, "", "untty: print: standard output is closed: EBADF\n"));
}

fn any_of_0_to_2_may_be_closed() {
    for combination in 0..8 {
        let close = |start| {
            let closed = (0..3).filter(|fd| combination >> fd & 1 == 1);
            closed.fold(start, |start: Start, fd| start.step("close", fd.to_string()))
        };
        let scratch = Scratch::new();
        let (input, log, error) = (scratch.file("input"), scratch.file("log"), scratch.file("error"));
        let meeting = Meeting::new(&scratch);
        let mut running = close(Start::new(&teller(&meeting))).go();
        assert_eq!(running.told(), Told::new(0, "", ""), "{combination:03b}");
        let mut daemon = meeting.daemon();
        let state = daemon.state();
        let open: Vec<&String> = state.keys().filter(|key| key.starts_with("fd ")).collect();
        assert_eq!(open, ["fd 00000", "fd 00001", "fd 00002"], "{combination:03b}");
        drop(daemon);
        assert_eq!(running.rest().len(), 1);
        // Each stream leads where it should, seen in a program that repairs nothing.
        fs::write(&input, "input\n").unwrap();
        let program = ["-i", &input, "-o", &log, "-e", &error, "sh", "-c", "cat; echo error >&2"];
        assert_eq!(close(Start::new(&program)).complete(), Told::new(0, "", ""), "{combination:03b}");
        assert_eq!((read(&log).as_str(), read(&error).as_str()), ("input\n", "error\n"), "{combination:03b}");
        let program = ["-o", &log, "sh", "-c", "cd /proc/$$/fd && readlink 0 1 2; :"];
        assert_eq!(close(Start::new(&program)).complete(), Told::new(0, "", ""), "{combination:03b}");
        assert_eq!(read(&log), format!("input\n/dev/null\n{log}\n{log}\n"), "{combination:03b}");
        let program = [
            "-i",
            &input,
            "sh",
            "-c",
            "links=$(readlink /proc/$$/fd/1 /proc/$$/fd/2); echo \"$links\" >>\"$1\"",
            "sh",
            &log,
        ];
        assert_eq!(close(Start::new(&program)).complete(), Told::new(0, "", ""), "{combination:03b}");
        assert!(read(&log).ends_with("/dev/null\n/dev/null\n"), "{combination:03b}");
        // Failures are failures, with or without a place for the line.
        let line = if combination & 4 == 0 { "untty: exec: missing-program: ENOENT\n" } else { "" };
        assert_eq!(close(Start::new(&["missing-program"])).result(), Told::new(127, "", line), "{combination:03b}");
    }
}

// Success and failure, at every moment.

/// Starts a program under ptrace, stops it at a moment, and does something then. Ends as it does. Arguments: role,
/// moment, what to do, the program.
fn traced(arguments: &[String]) {
    let [role, moment, action, program, rest @ ..] = arguments else { panic!("{arguments:?}") };
    let role = role.parse().unwrap();
    let moment = moment.parse().map_or(Moment::Executed, Moment::Call);
    let mut tracer = Tracer::start(Command::new(program).args(rest));
    let stopped = tracer.run_until(role, moment).expect("the moment comes before the end");
    let kill = |pid| kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    match action.as_str() {
        "kill" => kill(stopped),
        "kill the caller" => {
            tracer.leave_stopped(); // until the caller is dead
            kill(tracer.caller());
        }
        _ => tracer.leave_stopped(),
    }
    let end = tracer.run();
    tracer.release();
    match end {
        End::Exited(status) => process::exit(status),
        End::Killed(number) => {
            let number = Signal::try_from(number).unwrap();
            if number != Signal::SIGKILL {
                // SAFETY: nothing but the disposition changes.
                unsafe { signal(number, SigHandler::SigDfl) }.unwrap();
            }
            nix::sys::signal::raise(number).unwrap();
        }
    }
}

fn at(role: usize, moment: Moment, action: &str, arguments: &[&str]) -> Warden {
    let moment = if let Moment::Call(number) = moment { number.to_string() } else { "executed".into() };
    let mut command = helper("traced");
    command.args([role.to_string(), moment, action.into()]).arg(untty().get_program()).args(arguments);
    Warden::start(&command)
}

fn start_that_hangs_ends_at_the_deadline() {
    for (role, moment) in [
        (LEADER, Moment::Call(libc::SYS_setsid)),
        (LEADER, Moment::Call(libc::SYS_setpgid)), // the program runs already
        (DAEMON, Moment::Call(libc::SYS_chdir)),
        (DAEMON, Moment::Call(libc::SYS_execve)),
    ] {
        let began = Instant::now();
        let mut warden = at(role, moment, "leave it stopped", &["-t", "0.3", "sleep", "1000"]);
        assert_eq!(warden.caller(), End::Exited(125), "{role}, {moment:?}");
        assert!(began.elapsed() >= Duration::from_millis(300), "{role}, {moment:?}: {:?}", began.elapsed());
        for (pid, end) in warden.rest() {
            assert_eq!(end, End::Killed(Signal::SIGKILL as i32), "{role}, {moment:?}: {pid}");
        }
        let line = "untty: wait: the daemon was not ready in time and was ended: ETIMEDOUT";
        assert_eq!(warden.all_output(), [line], "{role}, {moment:?}");
    }
}

fn kill_before_exec_is_no_success() {
    for (role, moment) in [
        (LEADER, Moment::Call(libc::SYS_setsid)),
        (LEADER, Moment::Call(libc::SYS_setpgid)), // the only one who could tell
        (DAEMON, Moment::Call(libc::SYS_chdir)),
        (DAEMON, Moment::Call(libc::SYS_execve)),
    ] {
        let mut warden = at(role, moment, "kill", &["sleep", "1000"]);
        assert_eq!(warden.caller(), End::Exited(125), "{role}, {moment:?}");
        for (pid, end) in warden.rest() {
            assert_eq!(end, End::Killed(Signal::SIGKILL as i32), "{role}, {moment:?}: {pid}");
        }
        let line = "untty: wait: the daemon died before it was ready: ESRCH";
        assert_eq!(warden.all_output(), [line], "{role}, {moment:?}");
    }
}

/// The other side of that line: the program was executed, and what becomes of it is its own affair.
fn kill_after_exec_is_no_failure() {
    let mut warden = at(DAEMON, Moment::Executed, "kill", &["sleep", "1000"]);
    assert_eq!(warden.caller(), End::Exited(0));
    for (_, end) in warden.rest() {
        assert_eq!(end, End::Killed(Signal::SIGKILL as i32));
    }
    assert_eq!(warden.all_output(), [""; 0]);
}

fn killed_caller_leaves_no_daemon() {
    for (role, moment) in [
        (LEADER, Moment::Call(libc::SYS_setsid)),
        (LEADER, Moment::Call(libc::SYS_setpgid)),
        (DAEMON, Moment::Call(libc::SYS_chdir)),
        (DAEMON, Moment::Call(libc::SYS_execve)),
    ] {
        let mut warden = at(role, moment, "kill the caller", &["sleep", "1000"]);
        assert_eq!(warden.caller(), End::Killed(Signal::SIGKILL as i32), "{role}, {moment:?}");
        for (pid, end) in warden.rest() {
            assert_eq!(end, End::Killed(Signal::SIGKILL as i32), "{role}, {moment:?}: {pid}");
        }
        assert_eq!(warden.all_output(), [""; 0]);
    }
}

/// Runs a command as process 1 of a new namespace, and ends as it does.
fn process_1(arguments: &[String]) {
    if let Err(why) = harness::start::unshare(libc::CLONE_NEWPID) {
        println!("forbidden: {why}");
        process::exit(99);
    }
    let status = Command::new(&arguments[0]).args(&arguments[1..]).status().unwrap();
    process::exit(status.code().unwrap_or(98));
}

/// Becomes a command whose children will be in a new namespace, which has a first process already.
fn outside_of_a_namespace(arguments: &[String]) {
    use std::os::unix::process::CommandExt;
    if let Err(why) = harness::start::unshare(libc::CLONE_NEWPID) {
        println!("forbidden: {why}");
        process::exit(99);
    }
    let first = Command::new("sleep").arg("1000").spawn();
    let error = first.and_then(|_| Err::<(), _>(Command::new(&arguments[0]).args(&arguments[1..]).exec()));
    panic!("{error:?}");
}

/// Their numbers are those of other processes to who started them, and would be told, and killed.
fn children_in_another_namespace_are_refused() {
    for options in [&[][..], &["-P"], &["-n", "-t", "1"]] {
        let mut command = helper("outside_of_a_namespace");
        command.arg(untty().get_program()).args(options).args(["sleep", "1000"]);
        let mut warden = Warden::start(&command);
        let end = warden.caller();
        // The namespace's first process lives on, and all else is gone.
        warden.living().into_iter().for_each(|pid| kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap());
        assert!(warden.rest().len() <= 1, "{options:?}");
        let said = warden.all_output();
        if let Some(why) = said.iter().find_map(|line| line.strip_prefix("forbidden: ")) {
            return harness::start::skipped(why);
        }
        let line = "untty: setsid: cannot start a new session: EINVAL";
        assert_eq!((end, said), (End::Exited(125), vec![line.to_owned()]), "{options:?}");
    }
}

/// Its end would be the daemon's.
fn process_1_of_a_namespace_is_told_why_it_cannot() {
    let scratch = Scratch::new();
    let pid_file = scratch.file("pid");
    for options in [&[][..], &["-P"], &["-n"], &["-R7", "-t", "1000"], &["-S"], &["-p", &pid_file]] {
        let mut command = helper("process_1");
        command.env_remove("SYSTEMD_EXEC_PID").env_remove("INVOCATION_ID");
        command.arg(untty().get_program()).args(options).arg("true");
        let mut warden = Warden::start(&command);
        let end = warden.caller();
        assert_eq!(warden.rest(), [], "{options:?}");
        let said = warden.all_output();
        if let Some(why) = said.iter().find_map(|line| line.strip_prefix("forbidden: ")) {
            return harness::start::skipped(why);
        }
        let line = "untty: setsid: this is process 1, whose end would be the daemon's: EINVAL";
        assert_eq!((end, said), (End::Exited(125), vec![line.to_owned()]), "{options:?}");
        assert!(!fs::exists(&pid_file).unwrap());
    }
    // What does not leave a daemon behind is no matter.
    let mut command = helper("process_1");
    let mut warden = Warden::start(command.arg(untty().get_program()).arg("-V"));
    assert_eq!(warden.caller(), End::Exited(0));
    warden.rest();
}

fn program_that_ends_at_once_is_a_success() {
    for (program, end) in [
        (&["true"][..], End::Exited(0)),
        (&["false"], End::Exited(1)),
        (&["sh", "-c", "kill -9 $$"], End::Killed(Signal::SIGKILL as i32)),
    ] {
        for ignored in [false, true] {
            for _ in 0..50 {
                let mut start = Start::new(&[&["-P"], program].concat());
                if ignored {
                    start = start.step("ignore", (Signal::SIGCHLD as i32).to_string());
                }
                let mut running = start.go();
                let pid = running.pid();
                assert_eq!(running.rest(), [(pid, end)]);
            }
        }
    }
}

fn program_runs_when_the_command_ends() {
    for _ in 0..50 {
        let mut running = Start::new(&["-P", "sleep", "1000"]).go();
        let pid = running.pid();
        assert_eq!(fs::read_to_string(format!("/proc/{pid}/comm")).unwrap(), "sleep\n");
        assert_eq!(running.warden.living(), [pid]);
        running.end(pid);
    }
}

fn command_can_start_itself() {
    let scratch = Scratch::new();
    let meeting = Meeting::new(&scratch);
    let itself = untty().get_program().to_str().unwrap().to_owned();
    let mut running = Start::new(&with(&[&itself, "-m", "22", &itself], &teller(&meeting))).go();
    assert_eq!(running.told(), Told::new(0, "", ""));
    let mut daemon = meeting.daemon();
    let state = daemon.state();
    assert_eq!((state["umask"].as_str(), state["directory"].as_str()), ("0027", "/")); // the innermost one's
    assert_ne!(state["session"], state["pid"]);
    drop(daemon);
    let ends = running.rest();
    assert_eq!(ends.len(), 3, "{ends:?}");
    assert!(ends.iter().all(|(_, end)| *end == End::Exited(0)), "{ends:?}");
}

fn daemon_outlives_its_shell() {
    let scratch = Scratch::new();
    let meeting = Meeting::new(&scratch);
    let mut shell = Command::new("sh");
    shell.args(["-c", "\"$@\" & exit 7", "sh"]).arg(untty().get_program()).args(teller(&meeting));
    let mut warden = Warden::start(&shell);
    assert_eq!(warden.caller(), End::Exited(7));
    let mut daemon = meeting.daemon();
    let state = daemon.state();
    let Event::Orphan(command, end) = warden.next() else { panic!("no end of the command") };
    assert_ne!(command.to_string(), state["pid"]);
    assert_eq!(end, End::Exited(0));
    let pid: i32 = state["pid"].parse().unwrap();
    assert_eq!(stat_fields(pid).unwrap()[1], warden.pid().to_string());
    drop(daemon);
    assert_eq!(warden.rest(), [(pid, End::Exited(0))]);
    assert_eq!(warden.all_output(), [""; 0]);
}

/// `untty -o http.log python3 -m http.server --bind 127.0.0.1 PORT`
fn web_server_runs_as_in_the_readme() {
    let mut python = Command::new("python3");
    let python = python.env("PATH", PATH).args(["-c", "import http.server"]).output();
    if !python.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: web_server_runs_as_in_the_readme needs python3");
        return;
    }
    let scratch = Scratch::new();
    let log = scratch.file("http.log");
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let port = address.port().to_string();
    let program = ["-P", "-o", "http.log", "python3", "-m", "http.server", "--bind", "127.0.0.1", &port];
    let mut running = Start::new(&program).step("cwd", scratch.path().as_os_str().as_bytes()).go();
    let pid = running.pid();
    let began = Instant::now();
    let mut connection = loop {
        match TcpStream::connect(address) {
            Ok(connection) => break connection,
            Err(error) => assert!(began.elapsed() < PATIENCE, "{error}; {}", read(&log)),
        }
        thread::sleep(Duration::from_millis(5)); // it tells nobody when it listens
    };
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    connection.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut page = Vec::new();
    connection.read_to_end(&mut page).unwrap();
    let page = String::from_utf8_lossy(&page);
    assert!(page.starts_with("HTTP/1.0 200 OK\r\n") && page.contains("<html"), "{page}");
    assert!(read(&log).contains("\"GET / HTTP/1.0\" 200"), "{}", read(&log));
    let stat = stat_fields(pid).unwrap();
    assert_eq!((stat[1].as_str(), stat[4].as_str()), (running.warden.pid().to_string().as_str(), "0"));
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap().to_str(), Some("/"));
    running.end(pid);
}
