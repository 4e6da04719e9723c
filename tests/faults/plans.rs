//! What is started: every way in, with what an option adds to it, and every rung of the ladder that closes descriptors.

use super::inject::Begin;
use crate::harness::{self, Scratch};
use std::path::{Path, PathBuf};
use std::process::Command;

/// One way to start a daemon. `{S}` in a word is a directory of the run's own, `{PARK}` the program that is started.
#[derive(Clone)]
pub struct Plan {
    pub name: String,
    pub words: Vec<String>,
    pub begin: Begin,
    pub environment: Vec<(String, String)>,
    /// What is in the directory before: names and contents.
    pub files: Vec<(&'static str, &'static str)>,
    pub has_deadline: bool,
    /// Calls that always fail, so that another rung of the ladder has to do.
    pub forbidden: Vec<(i64, i32)>,
    /// A limit of descriptors.
    pub descriptors: Option<u64>,
    /// `{S}/notify` is a supervisor's socket.
    pub supervisor: bool,
    /// The caller's parent looks like runit, and the caller becomes the daemon itself.
    pub in_place: bool,
    pub is_command: bool,
    /// The daemon takes its caller's memory over.
    pub handover: bool,
    /// Nothing is known of what it should be, but by what it is.
    pub is_peer: bool,
    /// What the daemon must be, as far as it is not what it is by default.
    pub expected: Vec<(&'static str, String)>,
    /// Descriptors above 2 that it has.
    pub open: Vec<i32>,
}

impl Plan {
    fn new(name: &str, words: Vec<String>, begin: Begin) -> Self {
        Self {
            name: name.to_owned(),
            words,
            begin,
            environment: vec![],
            files: vec![],
            has_deadline: false,
            forbidden: vec![],
            descriptors: None,
            supervisor: false,
            in_place: false,
            is_command: begin == Begin::Entry,
            handover: false,
            is_peer: false,
            expected: vec![],
            open: vec![],
        }
    }

    fn command(words: &str) -> Self {
        let untty = harness::untty().get_program().to_str().expect("text").to_owned();
        let all = [untty].into_iter().chain(words.split(' ').map(str::to_owned)).collect();
        Self::new(&format!("untty {words}"), all, Begin::Entry)
    }

    /// The Rust functions, as the helper `entry` calls them.
    fn rust(words: &[&str]) -> Self {
        let binary = std::env::current_exe().expect("this binary").display().to_string();
        let all = [binary.as_str(), "helper", "entry"].into_iter().chain(words.iter().copied()).map(str::to_owned);
        Self::new(&format!("rust {}", words.join(", ")), all.collect(), Begin::Marker)
    }

    /// The C functions, as `tests/c/entry.c` calls them.
    fn c(words: &str) -> Self {
        let all = ["{C}"].into_iter().chain(words.split(' ')).map(str::to_owned).collect();
        Self::new(&format!("c {words}"), all, Begin::Marker)
    }

    /// A peer, of whom nothing is known.
    pub fn peer(name: &str, begin: Begin, words: &str) -> Self {
        let mut plan = Self::new(name, words.split(' ').map(str::to_owned).collect(), begin);
        (plan.is_command, plan.is_peer) = (false, true);
        plan.descriptors = Some(64); // some close all numbers up to the limit
        plan.environment = vec![("LC_ALL".into(), "C".into()), ("PATH".into(), "/usr/bin:/bin".into())];
        plan
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn deadline(self) -> Self {
        self.with(|plan| plan.has_deadline = true)
    }

    fn file(self, name: &'static str, content: &'static str) -> Self {
        self.with(|plan| plan.files.push((name, content)))
    }

    fn expect(self, key: &'static str, value: &str) -> Self {
        self.with(|plan| plan.expected.push((key, value.to_owned())))
    }

    fn forbid(self, call: i64) -> Self {
        self.with(|plan| plan.forbidden.push((call, libc::ENOSYS)))
    }

    fn handover(self) -> Self {
        self.with(|plan| plan.handover = true)
    }

    fn called(self, name: &str) -> Self {
        self.with(|plan| plan.name = name.to_owned())
    }

    fn few_descriptors(self) -> Self {
        self.with(|plan| plan.descriptors = Some(40))
    }

    fn for_nobody(self) -> Self {
        self.expect("Uid", "65534 65534 65534 65534").expect("Gid", "65534 65534 65534 65534").expect("Groups", "65534")
    }

    /// A word with its places filled in.
    pub fn filled(word: &str, scratch: &str) -> String {
        let workshop = workshop().display().to_string();
        word.replace("{S}", scratch)
            .replace("{W}", &workshop)
            .replace("{PARK}", &format!("{workshop}/park"))
            .replace("{C}", &format!("{workshop}/entry"))
    }
}

/// The C library's daemon(3), of which it is known what it hides.
pub const DAEMON_3: &str = "daemon(3)";

/// All of them. As an ordinary user, those that need root are left out.
pub fn all() -> Vec<Plan> {
    let mut plans = vec![
        Plan::command("{PARK}"),
        Plan::command("-p {S}/pid {PARK}").file("pid", ""),
        Plan::command("-p {S}/new -o {S}/log -e {S}/errors -i {S}/input {PARK}")
            .file("input", "text")
            .file("log", "old\n")
            .expect("fd 0", "{S}/input 0100000")
            .expect("fd 1", "{S}/log 0502001")
            .expect("fd 2", "{S}/errors 0502001"),
        Plan::command("-n -t 2 {PARK}").deadline(),
        Plan::command("-R 7 -t 2 {PARK} -R 7").deadline(),
        // A program that leaves for a session of its own.
        Plan::command("-n -t 2 /usr/bin/setsid {PARK}")
            .deadline()
            .with(|plan| plan.environment.push(("LC_ALL".into(), "C".into())))
            .expect("group", "daemon")
            .expect("session", "daemon"),
        Plan::command("-P -p {S}/pid -o {S}/log -C {S} -m 77 -k 5 -n -t 2 park")
            .deadline()
            .file("pid", "99999999\n")
            .with(|plan| plan.environment.push(("PATH".into(), "/nonexistent:{W}".into())))
            .expect("cwd", "{S}")
            .expect("Umask", "0077")
            .expect("fd 1", "{S}/log 0502001")
            .expect("fd 2", "{S}/log 0502001")
            .with(|plan| plan.open.push(5)),
        Plan::command("-S -p {S}/pid -o {S}/log {PARK}").file("pid", "99999999\n").with(|plan| {
            plan.in_place = true;
            plan.expected.extend([("fd 0", "/dev/null 0100000".into()), ("fd 1", "{S}/log 0502001".into())]);
            plan.expected.push(("fd 2", "{S}/log 0502001".into()));
        }),
        Plan::command("{PARK}").called("untty, closing by /proc").forbid(libc::SYS_close_range),
        Plan::command("{PARK}")
            .called("untty, closing by the size of the table")
            .forbid(libc::SYS_close_range)
            .forbid(libc::SYS_getdents64)
            .few_descriptors(),
        Plan::command("{PARK}")
            .called("untty, closing up to the limit")
            .forbid(libc::SYS_close_range)
            .forbid(libc::SYS_getdents64)
            .forbid(libc::SYS_pselect6)
            .few_descriptors(),
        Plan::rust(&["return"]),
        Plan::rust(&["deadline 2000"]).deadline(),
        Plan::rust(&["return", "pid_file {S}/pid", "stdout file {S}/log"])
            .file("pid", "99999999\n")
            .expect("fd 1", "{S}/log 0502001"),
        Plan::rust(&["return", "no_zombies", "deadline 2000"]).deadline(),
        Plan::rust(&["return", "tell", "pid_file {S}/pid"]).with(|plan| {
            plan.supervisor = true;
            plan.environment.push(("NOTIFY_SOCKET".into(), "{S}/notify".into()));
        }),
        Plan::rust(&["return", "spawn {PARK}"]),
        Plan::c("daemon")
            .expect("Umask", "0022")
            .expect("SigBlk", "0000000000000200")
            .expect("SigIgn", "0000000000000800")
            .with(|plan| plan.open.extend([5, 21])),
        Plan::c("detach pid {S}/pid"),
        Plan::c("detach return deadline handle").deadline(),
        Plan::c("detach handover").handover(),
        Plan::c("detach handover deadline handle pid {S}/pid").handover().deadline(),
        Plan::rust(&["handover", "deadline 2000", "no_zombies", "stdout file {S}/log"])
            .handover()
            .deadline()
            .expect("fd 1", "{S}/log 0502001"),
        Plan::rust(&["handover", "return", "spawn {PARK}"]).handover(),
        // The leader watches, aside.
        Plan::rust(&["handover", "return", "newline 7", "deadline 2000", "spawn {PARK} -R 7"]).handover().deadline(),
        Plan::c("detach return").called("c, closing by /proc").forbid(libc::SYS_close_range),
    ];
    if harness::is_root() {
        plans.extend([
            Plan::command("-u nobody -p {S}/pid -o {S}/log {PARK}")
                .for_nobody()
                .expect("fd 1", "{S}/log 0502001")
                .expect("fd 2", "{S}/log 0502001"),
            Plan::command("-u nobody -r {S} -n -t 2 /park")
                .deadline()
                .for_nobody()
                .file("park", "{PARK}")
                .expect("root", "{S}")
                .expect("cwd", "{S}"),
            Plan::rust(&["return", "user 65534 65534 65534 7", "pid_file {S}/pid"])
                .for_nobody()
                .expect("Groups", "7 65534"),
        ]);
    }
    plans.push(Plan::peer(DAEMON_3, Begin::Marker, "{W}/daemon_3"));
    plans
}

/// Where the C programs are, for all workers.
const WORKSHOP: &str = "UNTTY_FAULTS_WORKSHOP";

fn workshop() -> PathBuf {
    std::env::var_os(WORKSHOP).map_or_else(PathBuf::new, PathBuf::from) // peers need none
}

/// Builds the C programs in a directory that anybody may enter, and that goes when this is dropped; unless that has been
/// done, by who may.
pub fn build() -> Option<Scratch> {
    if std::env::var_os(WORKSHOP).is_some() {
        return None;
    }
    let scratch = harness::start::scratch();
    build_in(scratch.path());
    // SAFETY: no other thread runs yet.
    unsafe { std::env::set_var(WORKSHOP, scratch.path()) };
    Some(scratch)
}

/// Builds them there.
pub fn build_in(directory: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let compile = |name: &str, arguments: &[&str], files: &[PathBuf]| {
        let mut compiler = Command::new("cc");
        compiler.args(["-Wall", "-Wextra", "-Werror", "-O1"]).args(arguments).args(files);
        harness::succeed(compiler.arg("-o").arg(directory.join(name)));
    };
    let bare = ["-ffreestanding", "-fno-stack-protector", "-static", "-nostdlib"];
    compile("park", &bare, &[root.join("tests/peers/park.c")]);
    compile("daemon_3", &[], &[root.join("tests/peers/daemon.c")]);
    let backend = if cfg!(feature = "libc") { "libc" } else { "raw" };
    harness::make(&[format!("BACKEND={backend}")]);
    let include = root.join("include").display().to_string();
    let library = root.join(format!("target/c/{backend}/libuntty.a"));
    let backend_is = if cfg!(feature = "libc") { "-DLIBC" } else { "-DRAW" };
    compile("entry", &[backend_is, "-I", &include], &[root.join("tests/c/entry.c"), library]);
}
