//! C libraries: the raw library and the one with the libc backend, in programs with glibc and musl, shared and static.
//! What holds in a program whose daemon was made by raw forks, and what does not, is one program a statement
//! (`tests/libcs`); the README says it in words.
//!
//! With glibc the raw backend puts right what glibc knows of its thread, so nearly all of it holds. It cannot with musl.

use super::assert_keeps_the_promise;
use crate::harness::c::{build_once, finish, prefix, skipped, with, workshop};
use crate::harness::{End, ROOT, Warden, is_root, run, succeed};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::thread::available_parallelism;
use std::{env, fs};

/// A library in a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kit {
    backend: &'static str,
    compiler: &'static [&'static str],
}

/// By the names of their compilers; other releases of glibc have more options.
const GLIBC: &[&str] = &["gcc"];
const GLIBC_STATIC: &[&str] = &["gcc", "-static"];
const MUSL: &[&str] = &["musl-gcc"];
const MUSL_STATIC: &[&str] = &["musl-gcc", "-static"];

impl Kit {
    fn has_musl(self) -> bool {
        self.compiler[0] == "musl-gcc"
    }

    /// The library, if it is there. One with the libc backend is of the C library that it was built for, so musl's
    /// has to be given (`.ci/libcs` does).
    fn library(self) -> Option<PathBuf> {
        if self.backend == "libc" && self.has_musl() {
            return env::var_os("UNTTY_MUSL_LIBRARY").map(PathBuf::from);
        }
        Some(prefix(self.backend).join("lib/libuntty.a"))
    }

    /// A program, from one file below `tests`.
    fn program(self, source: &str) -> Command {
        Command::new(self.built(source, &[]))
    }

    /// A program or a library.
    fn built(self, source: &str, options: &[&str]) -> PathBuf {
        let mut hasher = DefaultHasher::new(); // of what may be long
        self.compiler.hash(&mut hasher);
        let directory = workshop().join(format!("{}-{:x}", self.backend, hasher.finish()));
        let program = directory.join(source.replace(['/', '.'], "-") + &options.concat());
        build_once(&program, || {
            fs::create_dir_all(&directory).expect("a directory");
            let mut command = Command::new(self.compiler[0]);
            command.args(&self.compiler[1..]).args(options).args([
                "-std=c99",
                "-pedantic",
                "-Wall",
                "-Wextra",
                "-Werror",
                "-pthread",
            ]);
            command.arg("-I").arg(prefix("raw").join("include")).arg("-o").arg(&program);
            command
                .arg(Path::new(ROOT).join("tests").join(source))
                .arg(self.library().expect("the library"))
                .args(["-lrt", "-ldl"]); // glibc before 2.34
            succeed(&mut command);
        });
        program
    }
}

/// All that can be had here; what cannot, is said.
fn kits() -> Vec<Kit> {
    let mut kits = Vec::new();
    let musl = Command::new("musl-gcc").arg("--version").output().is_ok();
    let compilers = [&[GLIBC, GLIBC_STATIC, MUSL, MUSL_STATIC], other_glibcs()].concat();
    for backend in ["libc", "raw"] {
        for &compiler in &compilers {
            let kit = Kit { backend, compiler };
            if kit.has_musl() && !musl {
                skipped(&format!("{kit:?}"), "there is no musl-gcc");
            } else if kit.library().is_none() {
                skipped(&format!("{kit:?}"), "UNTTY_MUSL_LIBRARY names no library that was built for musl");
            } else {
                kits.push(kit);
            }
        }
    }
    kits
}

/// Compilers for the glibcs of other releases, which lie in directories of their own (`.ci/glibc`).
fn other_glibcs() -> &'static [&'static [&'static str]] {
    static COMPILERS: OnceLock<Vec<&[&str]>> = OnceLock::new();
    COMPILERS.get_or_init(|| {
        let roots = env::var_os("UNTTY_GLIBCS").unwrap_or_default();
        let roots = env::split_paths(&roots).filter(|root| !root.as_os_str().is_empty());
        roots.map(|root| &*compiler_for(&root).leak()).collect()
    })
}

/// The program finds that glibc by itself, and so does glibc what it loads later: hence the old kind of path.
fn compiler_for(root: &Path) -> Vec<&'static str> {
    let machine = succeed(Command::new("gcc").arg("-print-multiarch"));
    let [root, machine] = [root.to_str().expect("a plain name"), machine.trim_end()];
    let [old, new] = ["lib", "usr/lib"].map(|directory| format!("{root}/{directory}/{machine}"));
    let loader = fs::read_dir(format!("{root}/lib64")).expect("the loader's directory").next();
    let loader = loader.expect("a loader").expect("its name").path();
    let options = [
        format!("--sysroot={root}"),
        format!("-B{new}/"),
        format!("-L{new}"),
        format!("-Wl,--dynamic-linker={},--disable-new-dtags,-rpath,{old}:{new}", loader.display()),
    ];
    ["gcc"].into_iter().chain(options.map(|option| &*option.leak())).collect()
}

pub(crate) fn every_library_in_every_c_library() {
    for kit in kits() {
        assert_keeps_the_promise(&|arguments| with(kit.program("consumers/consumer.c"), arguments));
    }
}

/// How the program's caller and daemon have to end, and what is said.
type Ends = (End, End);
const WELL: Ends = (End::Exited(0), End::Exited(0));

/// The statement is a program's name, and its arguments.
fn assert_ends(kit: Kit, statement: &str, (caller, daemon): Ends, said: &[&str]) {
    let mut words = statement.split(' ');
    let name = words.next().expect("a name");
    let (end, output, orphans) = finish(kit.program(&format!("libcs/{name}.c")).args(words));
    let last = orphans.last().expect("a daemon");
    assert_eq!(
        (end, last.1, output),
        (caller, daemon, said.iter().map(ToString::to_string).collect()),
        "{kit:?}: {statement}"
    );
}

/// Whether a thread that binds itself to one processor can be told from others.
fn has_processors() -> bool {
    let is_enough = available_parallelism().is_ok_and(|number| number.get() > 1);
    if !is_enough {
        skipped("affinity", "this process may use one processor only");
    }
    is_enough
}

/// Whether ids can be given up.
fn has_ids() -> bool {
    if !is_root() {
        skipped("setuid", "only root may become somebody else");
    }
    is_root()
}

/// Whoever has made the forks.
pub(crate) fn what_holds_with_raw_forks_too() {
    for kit in kits() {
        let holds = |statement, said: &[&str]| assert_ends(kit, statement, WELL, said);
        holds("getpid", &["the daemon: its own", "the caller: its own"]);
        holds("malloc", &["the daemon: whole", "the caller: whole"]);
        holds("stdio", &["from before, the daemon", "from before, the caller"]);
        holds("kill", &["kill: got it", "sigqueue: got it"]);
        holds("fork", &["fork: whole", "system: 5"]);
        holds("exec", &["raise: got it"]);
        holds("threads", &["threads: whole"]);
        if let Some(root) = kit.compiler.get(1).and_then(|option| option.strip_prefix("--sysroot=")) {
            let package = fs::read_to_string(Path::new(root).join("unpacked")).expect("its version");
            let (version, _) = package.split_once('-').expect("glibc, and Debian's revision");
            holds("version", &[version]);
        }
    }
}

/// What the C library's own forks give, and where raw forks do not. Where a C library is not one of those that this has
/// been recorded with, what it does wrong after raw forks is its own affair; the right thing is always right.
pub(crate) fn what_does_not_hold_with_raw_forks() {
    for kit in kits() {
        if kit.backend == "libc" {
            with_the_c_librarys_forks(kit);
        } else if !kit.has_musl() {
            with_raw_forks_in_glibc(kit);
        } else if is_recorded(kit) {
            with_raw_forks_in_musl(kit);
        } else {
            skipped(&format!("what does not hold: {kit:?}"), "recorded with musl 1.2.3");
        }
    }
}

/// What has been recorded of musl.
fn is_recorded(kit: Kit) -> bool {
    // musl's loader tells its version to whoever calls it without a program.
    let loader = format!("/lib/ld-musl-{}.so.1", env::consts::ARCH);
    kit.has_musl() && Path::new(&loader).exists() && run(&mut Command::new(loader)).2.contains("Version 1.2.3")
}

fn with_the_c_librarys_forks(kit: Kit) {
    let says = |statement, said: &[&str]| assert_ends(kit, statement, WELL, said);
    says("atfork", &["the daemon: 2 0 2", "the caller: 1 1 0"]);
    says("timer", &["the daemon's timer: expired"]);
    if !kit.compiler.contains(&"-static") {
        assert_ends(kit, &loading(kit, "-DSECONDS=60"), WELL, &["the daemon: found it", "the caller: found it"]);
    }
    with_what_the_c_library_knows(kit);
    // musl 1.2.3's own fork forgets that the kernel has to tell of the first thread's end.
    if !kit.has_musl() {
        says("join", &["joined"]);
    } else if is_recorded(kit) {
        says("join", &["never joined"]);
    }
}

/// What is right where the C library knows its thread's id, the kernel where that is, and its robust mutexes, and the
/// library's own signals have their handlers.
fn with_what_the_c_library_knows(kit: Kit) {
    let says = |statement, said: &[&str]| assert_ends(kit, statement, WELL, said);
    says("raise", &["the daemon: got it", "the caller: nothing"]);
    assert_ends(kit, "abort", (End::Exited(0), End::Killed(libc::SIGABRT)), &[]);
    says("gettid", &["gettid: its own"]);
    says("pthread_kill", &["the daemon: got it, and the sender was told 0", "the caller: nothing"]);
    says("first", &["its clock: runs", "its name: 0"]);
    says("shared", &["the caller: not its own, not its own"]);
    says("robust", &["the caller: its owner is dead"]);
    says("robust_held", &["the daemon: not its own", "the caller: dead, nobody, dead", "its own: 0"]);
    says("cancel", &["the daemon's thread: cancelled"]);
    says("cancel keep", &["the daemon's thread: cancelled"]);
    says("inheritance 60", &["handed over"]);
    says("inheritance 60 gone", &["handed over"]);
    says("scheduling", &["the daemon: a batch job", "the caller: as before"]);
    if has_processors() {
        says("affinity", &["the daemon: bound", "the caller: as before"]);
    }
    if has_ids() {
        says("setuid", &["setuid: 0", "the first thread: changed"]);
        says("setuid_first", &["setuid: 0", "the other thread: changed"]);
        says("setuid_first keep", &["setuid: 0", "the other thread: changed"]);
    }
}

fn with_raw_forks_in_glibc(kit: Kit) {
    let says = |statement, said: &[&str]| assert_ends(kit, statement, WELL, said);
    with_what_the_c_library_knows(kit);
    says("join", &["joined"]);
    // Nobody tells it that there has been a fork.
    says("atfork", &["the daemon: 0 0 0", "the caller: 0 0 0"]);
    says("timer", &["the daemon's timer: refused"]);
    if !kit.compiler.contains(&"-static") {
        // The loader's lock is locked by the caller's id.
        assert_ends(
            kit,
            &loading(kit, "-DSECONDS=1"),
            (End::Exited(0), End::Killed(libc::SIGALRM)),
            &["the caller: found it"],
        );
    }
}

/// The program is given the library, in which an alarm ends what hangs.
fn loading(kit: Kit, seconds: &str) -> String {
    format!("loading {}", kit.built("libcs/loading.c", &["-shared", "-fPIC", seconds]).display())
}

/// The daemon has its caller's thread, as the C library sees it.
pub(crate) fn what_a_c_library_knows_after_handover() {
    for kit in kits() {
        if kit.has_musl() {
            continue; // its thread's id is not found: tests of what stands against handover
        }
        assert_ends(kit, "handover", WELL, &["way: 1", "asked"]);
        if has_ids() {
            assert_ends(kit, "handover root", WELL, &["way: 1", "asked"]);
        }
    }
}

fn with_raw_forks_in_musl(kit: Kit) {
    let says = |statement, said: &[&str]| assert_ends(kit, statement, WELL, said);
    says("atfork", &["the daemon: 0 0 0", "the caller: 0 0 0"]);
    // It has a thread for each timer.
    says("timer", &["the daemon's timer: expired"]);
    // It remembers the caller's id, and the caller gets what is meant for the daemon.
    says("raise", &["the daemon: nothing", "the caller: got it"]);
    assert_ends(kit, "abort", (End::Killed(libc::SIGABRT), End::Killed(libc::SIGSEGV)), &[]);
    says("gettid", &["gettid: another's"]);
    says("pthread_kill", &["the daemon: nothing, and the sender was told 0", "the caller: got it"]);
    says("first", &["its clock: is another's", &format!("its name: {}", libc::ENOENT)]);
    says("shared", &["the caller: its own, its own"]);
    says("robust", &["the caller: taken"]);
    says("robust_held", &["the daemon: its own", "the caller: alive, nobody, alive", "its own: 1"]);
    says("join", &["never joined"]);
    says("cancel keep", &["the daemon's thread: cancelled"]);
    says("scheduling", &["the daemon: as before", "the caller: a batch job"]);
    if has_processors() {
        says("affinity", &["the daemon: as before", "the caller: bound"]);
    }
    // The kernel knows the caller as the owner, or nobody; the contender waits until the alarm.
    for statement in ["inheritance 2", "inheritance 2 gone"] {
        assert_ends(kit, statement, (End::Exited(0), End::Killed(libc::SIGALRM)), &[]);
    }
    // Its signal for cancelling is 33, and the handler is gone, unless signals are kept.
    assert_ends(kit, "cancel", (End::Exited(0), End::Killed(33)), &[]);
    if has_ids() {
        // It finds that the first thread is not the one that it remembers, and takes it for the only one.
        says("setuid_first", &["setuid: 0", "the other thread: still root"]);
        says("setuid_first keep", &["setuid: 0", "the other thread: still root"]);
        // Its signal for calls in all threads is 34: the caller gets it, and the daemon waits for ever.
        let mut warden = Warden::start(&kit.program("libcs/setuid.c"));
        assert_eq!(warden.caller(), End::Killed(34), "{kit:?}");
        assert_eq!(warden.living().len(), 1, "{kit:?}: the daemon, which the warden ends");
    }
}
