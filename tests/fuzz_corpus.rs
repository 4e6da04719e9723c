//! The fuzz targets' corpus (tests/fuzz/corpus), replayed without a fuzzer: every input, and thousands made of them,
//! with both backends; and then the same starts really made, by processes of their own.

#![allow(
    clippy::multiple_unsafe_ops_per_block,
    clippy::undocumented_unsafe_blocks,
    clippy::ptr_as_ptr,
    reason = "tests: bare calls"
)]
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::std_instead_of_core, reason = "tests have std")]

/// The command's own code.
#[allow(dead_code, reason = "the command needs more of it")]
#[path = "../src/bin/untty/arguments.rs"]
mod arguments;
/// As `arguments`.
#[allow(dead_code, reason = "the command needs more of it")]
#[path = "../src/bin/untty/buffer.rs"]
mod buffer;
#[path = "fuzz/calls.rs"]
mod calls;
#[path = "fuzz/arguments.rs"]
mod fuzz_arguments;
mod harness;
/// As `arguments`.
#[allow(dead_code, reason = "the command needs more of it")]
#[path = "../src/bin/untty/messages.rs"]
mod messages;
#[path = "fuzz/options.rs"]
mod options;
#[allow(dead_code, reason = "the command needs more of it")]
#[cfg(feature = "libc")]
#[path = "../src/bin/untty/user.rs"]
mod user;
/// It compares with the C library's.
#[cfg(feature = "libc")]
#[path = "fuzz/users.rs"]
mod users;
#[path = "fuzz/world.rs"]
mod world;

use fuzz_arguments::exit;
use harness::{End, Event, Helper, ROOT, Scratch, Test, Warden, helper, make, run, untty};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::{env, fs, process};
use untty::Step;
use world::{Library, World, forbid_forks};

fn main() {
    let tests: &[Test] = harness::start::named![
        starts_of_the_corpus_fail_as_foretold_where_nothing_can_be_forked,
        starts_of_the_corpus_end_in_one_daemon_or_a_defined_error,
        calls_of_the_corpus_keep_their_contracts,
        arguments_of_the_corpus_mean_what_getopt_says,
        arguments_of_the_corpus_end_the_command_with_a_defined_status,
    ];
    let helpers: &[Helper] = harness::start::named![replay_options, replay_calls, replay_arguments, perform, execute,];
    #[cfg(feature = "libc")]
    let with_users: (&[Test], &[Helper]) = (
        harness::start::named![users_of_the_corpus_are_those_of_the_c_library,],
        harness::start::named![replay_users,],
    );
    #[cfg(not(feature = "libc"))]
    let with_users: (&[Test], &[Helper]) = (&[], &[]);
    harness::main(&[tests, with_users.0].concat(), &[helpers, with_users.1].concat());
}

const BACKENDS: [&str; 2] = ["libc", "raw"];
/// How many inputs are made of the corpus.
const MADE: usize = 3000;

/// Where the corpus is, and the libraries, for who can neither read this package nor write in it.
fn prepared() -> Option<PathBuf> {
    env::var_os("UNTTY_FUZZ").map(PathBuf::from)
}

/// The shared library with that backend.
fn library(backend: &str) -> PathBuf {
    if let Some(prepared) = prepared() {
        return prepared.join(format!("{backend}.so"));
    }
    let path = format!("target/c/{backend}/libuntty.so.{}", env!("CARGO_PKG_VERSION"));
    make(&[format!("BACKEND={backend}"), path.clone()]);
    Path::new(ROOT).join(path)
}

/// The inputs of a target, in the order of their names.
fn corpus(target: &str) -> BTreeMap<String, Vec<u8>> {
    let directory = prepared().unwrap_or_else(|| Path::new(ROOT).join("tests/fuzz")).join("corpus").join(target);
    let inputs: BTreeMap<_, _> = fs::read_dir(directory)
        .expect("a corpus")
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap()))
        .collect();
    assert!(inputs.len() >= 20, "a corpus of {}", inputs.len());
    inputs
}

/// Inputs like those of the corpus, always the same ones.
fn made(corpus: &BTreeMap<String, Vec<u8>>) -> impl Iterator<Item = Vec<u8>> {
    const EDGES: [u64; 8] = [0, 1, 0x7f, 0x80, 0xff, 0x7fff_ffff, 0xffff_ffff, u64::MAX];
    let inputs: Vec<Vec<u8>> = corpus.values().cloned().collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    // xorshift64*
    let mut random = move |below: usize| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        usize::try_from(state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % below.max(1)
    };
    (0..MADE).map(move |_| {
        let mut input = inputs[random(inputs.len())].clone();
        for _ in 0..=random(4) {
            let at = random(input.len());
            match random(5) {
                0 => input.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random(8)),
                1 => {
                    let bytes = EDGES[random(EDGES.len())].to_le_bytes();
                    input.iter_mut().skip(at).zip(&bytes[..1 << random(4)]).for_each(|(to, from)| *to = *from);
                }
                2 => {
                    let other = &inputs[random(inputs.len())];
                    input.splice(at.., other.iter().skip(at).copied()).for_each(drop);
                }
                3 => drop(input.splice(at..at, (0..random(9)).map(|_| 0).collect::<Vec<u8>>())),
                _ => input.truncate(at),
            }
        }
        input
    })
}

/// What a helper says first whose work this machine does not permit.
const SKIPPED: &str = "SKIPPED ";

/// Replays a target in a helper.
fn replayed(name: &str, arguments: &[&str]) {
    let (status, told, errors) = run(helper(name).args(arguments));
    if let Some(why) = told.strip_prefix(SKIPPED) {
        return harness::start::skipped(why.trim_end());
    }
    let input = told.lines().last();
    assert!(status.success(), "{name} {arguments:?}: {status}, of the input {input:?}\n{errors}");
}

/// All the inputs of a target. Each one is told before, for the case that the process dies of it.
fn replay(target: &str, mut fuzz: impl FnMut(&[u8])) {
    let inputs = corpus(target);
    for (name, input) in &inputs {
        println!("{name}");
        fuzz(input);
    }
    for input in made(&inputs) {
        println!("{}", input.escape_ascii());
        fuzz(&input);
    }
}

fn starts_of_the_corpus_fail_as_foretold_where_nothing_can_be_forked() {
    for backend in BACKENDS {
        let scratch = Scratch::new();
        let library = library(backend);
        replayed("replay_options", &[library.to_str().unwrap(), scratch.path().to_str().unwrap()]);
    }
}

fn replay_options(arguments: &[String]) {
    let world = World::new(Library::load(Path::new(&arguments[0])), Path::new(&arguments[1]));
    forbid_forks();
    let mut steps = BTreeMap::<i32, u32>::new();
    replay("options", |input| *steps.entry(options::fuzz(&world, input)).or_default() += 1);
    // Every step at which a start can fail up to its fork, by what the options say.
    let reached = [Step::Options, Step::Stdin, Step::Stdout, Step::Stderr, Step::Fork, Step::PidFile, Step::Notify];
    assert!(reached.iter().all(|step| steps.contains_key(&step.number())), "{steps:?}");
}

fn calls_of_the_corpus_keep_their_contracts() {
    for backend in BACKENDS {
        let scratch = Scratch::new();
        let library = library(backend);
        replayed("replay_calls", &[library.to_str().unwrap(), scratch.path().to_str().unwrap()]);
    }
}

fn replay_calls(arguments: &[String]) {
    let world = World::new(Library::load(Path::new(&arguments[0])), Path::new(&arguments[1]));
    forbid_forks();
    replay("calls", |input| calls::fuzz(&world, input));
}

fn arguments_of_the_corpus_mean_what_getopt_says() {
    replayed("replay_arguments", &[]);
}

fn replay_arguments(_: &[String]) {
    replay("arguments", fuzz_arguments::fuzz);
}

#[cfg(feature = "libc")]
fn users_of_the_corpus_are_those_of_the_c_library() {
    let scratch = Scratch::new();
    replayed("replay_users", &[scratch.path().to_str().unwrap()]);
}

#[cfg(feature = "libc")]
fn replay_users(arguments: &[String]) {
    match users::Database::mount(Path::new(&arguments[0])) {
        Ok(database) => replay("users", |input| users::fuzz(&database, input)),
        Err(why) => println!("{SKIPPED}{why}"),
    }
}

/// How a daemon has ended of which the caller says that there is none: as a failed step ends, or a failed start.
const NO_DAEMON: [End; 2] = [End::Exited(1), End::Killed(libc::SIGKILL)];

/// How the process that was started ended, and the others; nothing is left.
fn ends(warden: &mut Warden) -> (End, Vec<End>) {
    let (mut caller, mut orphans) = (None, Vec::new());
    loop {
        match warden.next() {
            Event::Caller(end) => caller = Some(end),
            Event::Orphan(_, end) => orphans.push(end),
            Event::None => return (caller.expect("the caller ended"), orphans),
        }
    }
}

fn starts_of_the_corpus_end_in_one_daemon_or_a_defined_error() {
    let daemon = [End::Exited(options::DAEMON)];
    let gave_up = [End::Exited(options::GAVE_UP)];
    let mut outcomes = BTreeMap::<&str, u32>::new();
    for backend in BACKENDS {
        let library = library(backend);
        for (name, input) in corpus("options") {
            let scratch = Scratch::new();
            let input_file = Scratch::new();
            fs::write(input_file.file("input"), input).unwrap();
            let mut command = helper("perform");
            command.arg(&library).arg(scratch.path()).arg(input_file.file("input"));
            let mut warden = Warden::start(&command);
            let (caller, orphans) = ends(&mut warden);
            let outcome = match caller {
                End::Exited(0 | options::RETURNED) if orphans == daemon => "daemon",
                // It was supervised, and so the daemon itself.
                End::Exited(options::DAEMON) if orphans.is_empty() => "stays",
                End::Exited(options::GAVE_UP) if orphans.is_empty() || orphans == gave_up => "gave up",
                End::Exited(options::FAILED) if orphans == gave_up => "error",
                End::Exited(options::FAILED | options::TIMED_OUT)
                    if orphans.len() <= 1 && orphans.iter().all(|end| NO_DAEMON.contains(end)) =>
                {
                    "error"
                }
                // At the very deadline it may have got ready, and gone.
                End::Exited(options::TIMED_OUT) if orphans == daemon => "error",
                _ => panic!("{backend} {name}: {caller:?} {orphans:?} {:?}", warden.all_output()),
            };
            *outcomes.entry(outcome).or_default() += 1;
        }
    }
    // The corpus has something of everything.
    assert!(["daemon", "stays", "error"].iter().all(|outcome| outcomes.contains_key(outcome)), "{outcomes:?}");
}

fn perform(arguments: &[String]) {
    let input = fs::read(&arguments[2]).unwrap();
    let world = World::new(Library::load(Path::new(&arguments[0])), Path::new(&arguments[1]));
    let status = options::perform(&world, &input);
    unsafe { libc::_exit(status) }
}

fn arguments_of_the_corpus_end_the_command_with_a_defined_status() {
    let mut statuses = BTreeMap::<i32, u32>::new();
    for (name, input) in corpus("arguments") {
        let scratch = Scratch::new();
        let [bin, home] = ["bin", "home"].map(|name| scratch.file(name));
        [&bin, &home].into_iter().for_each(|path| fs::create_dir(path).unwrap());
        std::os::unix::fs::symlink("/bin/true", format!("{bin}/true")).unwrap();
        let arguments: Vec<u8> =
            fuzz_arguments::tamed(&input).into_iter().flat_map(CString::into_bytes_with_nul).collect();
        fs::write(scratch.file("arguments"), arguments).unwrap();
        let mut command = helper("execute");
        command.arg(scratch.path()).env("PATH", &bin).current_dir(&home);
        let mut warden = Warden::start(&command);
        let (end, orphans) = ends(&mut warden);
        let End::Exited(status) = end else { panic!("{name}: {end:?}") };
        let said = fs::read(scratch.file("err")).unwrap();
        let lines = said.iter().filter(|byte| **byte == b'\n').count();
        let is_right = match status {
            0 => said.is_empty() && (orphans.is_empty() || orphans == [End::Exited(0)]),
            125..=127 => lines == 1 && said.ends_with(b"\n") && said.starts_with(b"untty: "),
            _ => false,
        };
        // At the very deadline the program may have run to its end.
        let late = said.ends_with(b": ETIMEDOUT\n");
        let no_daemon = |end: &End| NO_DAEMON.contains(end) || late && *end == End::Exited(0);
        let is_over = status == 0 || orphans.len() <= 1 && orphans.iter().all(no_daemon);
        assert!(is_right && is_over, "{name}: {status} {orphans:?} {}", said.escape_ascii());
        *statuses.entry(status).or_default() += 1;
    }
    assert!([0, 125, 127].iter().all(|status| statuses.contains_key(status)), "{statuses:?}");
}

/// Becomes the command, with arguments from a file.
fn execute(arguments: &[String]) {
    let directory = Path::new(&arguments[0]);
    let bytes = fs::read(directory.join("arguments")).unwrap();
    let strings: Vec<CString> = bytes
        .split_inclusive(|byte| *byte == 0)
        .map(|text| CString::from_vec_with_nul(text.to_vec()).unwrap())
        .collect();
    let argv: Vec<_> = strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect();
    for (name, fd) in [("out", 1), ("err", 2)] {
        let path = CString::new(directory.join(name).as_os_str().as_bytes()).unwrap();
        unsafe { libc::close(fd) };
        assert_eq!(unsafe { libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND, 0o644) }, fd);
    }
    let program = CString::new(untty().get_program().as_bytes()).unwrap();
    unsafe { libc::execv(program.as_ptr(), argv.as_ptr()) };
    process::exit(100);
}
