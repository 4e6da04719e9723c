//! The promise, checked: either exactly one daemon runs, in the whole state asked for, or the caller has the failing
//! step and its errno, is as it was, and nothing is left.

use super::calls;
use super::inject::{self, Extent, Fault, Made, Outcome, Present, Program, Record, Role, What, marker};
use super::look::Look;
use super::plans::Plan;
use crate::harness::{self, End, Scratch};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;
use untty::Step;

/// Names of files in the run's directory, with modes and contents.
type Files = BTreeMap<String, String>;

/// What came of one run.
pub struct Seen {
    pub record: Record,
    directory: String,
    before: Files,
    after: Files,
    /// Who holds the pid file's lock.
    owner: Option<i32>,
    /// What the supervisor has heard.
    heard: Vec<String>,
}

/// How a run is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// One daemon, complete, and the caller knows.
    Success,
    /// No daemon, and the caller knows why: the step, and the errno.
    Failure(String, String),
    /// The caller was killed by the fault, and nothing half-made is left.
    Killed,
    /// The fault's call was not made this time.
    Unmet,
    /// It is not kept, and cannot be: why.
    Limit(&'static str),
    /// It is broken.
    Broken(String),
}

/// A plan with what it does when nothing fails.
pub struct Reference {
    pub plan: Plan,
    /// Every call of every process.
    pub made: BTreeMap<Role, Vec<Made>>,
    daemon: Look,
    /// Who becomes the daemon.
    role: Role,
    files: Files,
    heard: Vec<String>,
    outcome: Outcome,
    said: String,
    errors: String,
}

/// Runs the plan once, with that fault.
pub fn run(plan: &Plan, fault: Option<&Fault>, verbose: bool) -> Seen {
    let scratch = harness::start::scratch();
    let directory = scratch.path().display().to_string();
    let filled = |word: &str| Plan::filled(word, &directory);
    for (name, content) in &plan.files {
        if *content == "{PARK}" {
            fs::copy(filled(content), scratch.file(name)).expect("a copy");
        } else {
            fs::write(scratch.file(name), content).expect("a file");
        }
    }
    let supervisor = plan.supervisor.then(|| {
        let socket = UnixDatagram::bind(scratch.file("notify")).expect("a socket");
        socket.set_nonblocking(true).expect("a socket");
        socket
    });
    let before = files(&scratch);
    let words: Vec<String> = plan.words.iter().map(|word| filled(word)).collect();
    let environment: Vec<_> = plan.environment.iter().map(|(name, value)| (name.clone(), filled(value))).collect();
    let in_place = plan.in_place;
    let (descriptors, is_peer) = (plan.descriptors, plan.is_peer);
    let prepare = || {
        // What every caller brings along: descriptors to close, and a umask; and nothing of the test's own.
        harness::start::set_signals("all", libc::SIG_DFL, 0);
        if !is_peer {
            // Something to lose.
            harness::start::set_signals(&libc::SIGUSR2.to_string(), libc::SIG_IGN, 0);
            harness::start::block_signals(&libc::SIGUSR1.to_string());
        }
        let null = fs::File::open("/dev/null").expect("/dev/null");
        for number in [5, 21] {
            // SAFETY: no memory is touched.
            unsafe { libc::dup2(std::os::fd::AsRawFd::as_raw_fd(&null), number) };
        }
        drop(null);
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_retain(0o022));
        if let Some(limit) = descriptors {
            nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, limit, limit).expect("a limit");
        }
    };
    let name = if in_place { c"runsv" } else { c"worker" };
    nix::sys::prctl::set_name(name).expect("a name");
    let program = Program {
        words: &words,
        environment: &environment,
        directory: "/tmp",
        begin: plan.begin,
        forbidden: &plan.forbidden,
        prepare: &prepare,
    };
    let (mut owner, mut after) = (None, Files::new());
    let record = inject::run(&program, fault, verbose, &mut || {
        (owner, after) = (lock_owner(&scratch), files(&scratch));
    });
    let heard = supervisor.iter().flat_map(messages).collect();
    Seen { record, directory, before, after, owner, heard }
}

fn messages(socket: &UnixDatagram) -> Vec<String> {
    let mut messages = Vec::new();
    let mut buffer = [0; 512];
    while let Ok(length) = socket.recv(&mut buffer) {
        messages.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
    }
    messages
}

fn files(scratch: &Scratch) -> Files {
    let describe = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().expect("text");
        let stat = entry.metadata().expect("a file");
        let small = stat.is_file() && stat.len() < 4096;
        let content = if small { fs::read_to_string(entry.path()).unwrap_or_default() } else { String::new() };
        (name, format!("{:o} {content:?}", stat.permissions().mode()))
    };
    fs::read_dir(scratch.path()).expect("the directory").flatten().map(describe).collect()
}

/// Who holds a lock of the pid file: `fcntl(2)`, F_GETLK.
fn lock_owner(scratch: &Scratch) -> Option<i32> {
    let file = ["pid", "new"].into_iter().find_map(|name| fs::File::open(scratch.file(name)).ok())?;
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK.try_into().expect("a type"),
        l_whence: libc::SEEK_SET.try_into().expect("a place"),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    // SAFETY: the lock is ours.
    let result = unsafe { libc::fcntl(std::os::fd::AsRawFd::as_raw_fd(&file), libc::F_GETLK, &raw mut lock) };
    (result == 0 && i32::from(lock.l_type) != libc::F_UNLCK).then_some(lock.l_pid)
}

impl Reference {
    /// Runs the plan without a fault, until the longest list of each process's calls is known, and proves that it does
    /// what it should.
    pub fn record(plan: &Plan) -> Result<Self, String> {
        let mut reference = Self::once(plan)?;
        for _ in 0..2 {
            for (role, made) in Self::once(plan)?.made {
                let longest = reference.made.entry(role).or_default();
                if made.len() > longest.len() {
                    *longest = made;
                }
            }
        }
        Ok(reference)
    }

    fn once(plan: &Plan) -> Result<Self, String> {
        let seen = run(plan, None, false);
        let said = || format!("{:?} {:?} {:?}", seen.record.outcome, seen.record.errors, seen.record.present);
        let Some(daemon) = the_daemon(&seen.record) else { return Err(format!("no daemon: {}", said())) };
        Ok(Self {
            plan: plan.clone(),
            made: seen.record.made.clone(),
            daemon: normal(&seen, &daemon.look),
            role: daemon.role.clone(),
            files: files_after(&seen, Some(daemon.pid)),
            heard: without(&seen.heard, daemon.pid),
            outcome: plain(&seen.record.outcome, daemon.pid),
            said: seen.record.said.replace(&daemon.pid.to_string(), "PID"),
            errors: seen.record.errors.clone(),
        })
    }

    /// What is not as it must be, without any fault: so that the reference is worth something.
    pub fn faults(&self) -> Vec<String> {
        let mut wanted: BTreeMap<&str, String> = [
            ("terminal", "0"),
            ("cwd", "/"),
            ("root", "/"),
            ("Umask", "0027"),
            ("SigBlk", "0000000000000000"),
            ("SigIgn", "0000000000000000"),
            ("SigCgt", "0000000000000000"),
            ("ShdPnd", "0000000000000000"),
            ("children", ""),
            ("fd 0", "/dev/null 0100002"),
            ("fd 1", "/dev/null 0100002"),
            ("fd 2", "/dev/null 0100002"),
        ]
        .map(|(key, value)| (key, value.to_owned()))
        .into();
        if !self.plan.in_place {
            wanted.extend([("group", "leader".to_owned()), ("session", "leader".to_owned())]);
        }
        wanted.extend(self.plan.expected.iter().map(|(key, value)| (*key, value.clone())));
        let mut faults: Vec<String> = wanted
            .iter()
            .filter(|(key, value)| self.daemon.get(**key) != Some(*value))
            .map(|(key, value)| format!("{key} is {:?}, not {value:?}", self.daemon.get(*key)))
            .collect();
        let open = self.daemon.keys().filter_map(|key| key.strip_prefix("fd ")?.parse::<i32>().ok());
        // What belongs to a daemon that has a pid file, which it can only read, or a supervisor.
        let ties = |fd: &i32| {
            let file = self.daemon[&format!("fd {fd}")].as_str();
            let (target, flags) = file.rsplit_once(' ').unwrap_or_default();
            let is_pid_file = ["{S}/pid", "{S}/new"].contains(&target) && flags.ends_with('0');
            is_pid_file || self.plan.supervisor && target == "socket"
        };
        let strange: Vec<i32> = open.filter(|fd| *fd > 2 && !self.plan.open.contains(fd) && !ties(fd)).collect();
        if !strange.is_empty() {
            faults.push(format!("descriptors {strange:?} are open"));
        }
        // Both forks are clones that share the memory.
        let shares = |role: &str| {
            let made = Role::parse(role).and_then(|role| self.made.get(&role));
            let memory = u64::from(libc::CLONE_VM.unsigned_abs());
            made.is_some_and(|made| {
                made.iter().any(|made| made.number == libc::SYS_clone && made.arguments[0] & memory != 0)
            })
        };
        if ["caller", "leader"].iter().any(|role| shares(role) != self.plan.handover) {
            faults.push("the memory is handed over, or it is not".to_owned());
        }
        faults.extend((!self.errors.is_empty()).then(|| format!("it said {:?}", self.errors)));
        faults
    }

    /// Judges what came of a fault.
    pub fn judge(&self, fault: &Fault, seen: &Seen) -> Verdict {
        if !seen.record.fired {
            return Verdict::Unmet;
        }
        self.verdict(fault, seen)
            .unwrap_or_else(|why| self.limit(fault, &why).map_or(Verdict::Broken(why), Verdict::Limit))
    }

    fn verdict(&self, fault: &Fault, seen: &Seen) -> Result<Verdict, String> {
        let record = &seen.record;
        match &record.outcome {
            Outcome::Hangs => Err(format!("hangs: {}", who(&record.present))),
            Outcome::Ended(End::Exited(0)) | Outcome::Returned(_) | Outcome::IsDaemon => self.succeeded(fault, seen),
            Outcome::Ended(End::Exited(status)) => self.failed(fault, seen, Some(*status)),
            Outcome::Failed(..) => self.failed(fault, seen, None),
            Outcome::Ended(End::Killed(signal)) => self.was_killed(fault, seen, *signal),
        }
    }

    /// Where the promise ends. Each needs a kernel that takes back what it has just allowed, or a call that stays
    /// forbidden of which there is no other.
    fn limit(&self, fault: &Fault, why: &str) -> Option<&'static str> {
        let only =
            |key: &str| why.split_once(": ").is_some_and(|(_, all)| all.split("; ").all(|one| one.starts_with(key)));
        let persistent = fault.extent == Extent::Persistent;
        let asks_the_user_database = self.plan.is_command && self.plan.words.iter().any(|word| word == "-u");
        let is_stat = ["fstat", "stat", "lstat", "newfstatat"].contains(&calls::name(fault.call).as_str());
        match fault.call {
            libc::SYS_waitid if persistent && only("children: ") => Some("no child can be waited for: a zombie stays"),
            libc::SYS_rt_sigprocmask if persistent && only("SigBlk: ") => {
                Some("a mask was set and cannot be set back, though no filter sees the set")
            }
            libc::SYS_prlimit64 if why.starts_with("hangs") => {
                Some("no limit is known either: two thousand million numbers are closed one by one")
            }
            _ if is_stat && persistent && why.contains(r#": None became Some("100"#) => {
                Some("a new pid file cannot be told from another's: it stays, empty, for the next start")
            }
            _ if asks_the_user_database && cfg!(feature = "libc") && why.starts_with("the caller is killed by") => {
                Some("the C library itself ends a process that has no memory, before anything is started")
            }
            _ => None,
        }
    }

    /// It claims a daemon.
    fn succeeded(&self, fault: &Fault, seen: &Seen) -> Result<Verdict, String> {
        let record = &seen.record;
        if let Some(daemon) = the_daemon(record) {
            // Whose supervisor cannot be found out forks as ever.
            let unsupervised = self.plan.in_place && record.outcome == Outcome::Ended(End::Exited(0));
            if plain(&record.outcome, daemon.pid) != self.outcome && !unsupervised {
                return Err(format!("says {:?}", record.outcome));
            }
            if unsupervised {
                return nobody_else(record, Some(daemon.pid)).map(|()| Verdict::Success);
            }
        }
        if self.ended_afterwards(fault, record) {
            return Ok(Verdict::Success);
        }
        self.one_daemon(seen)?;
        if let Some(other) = record.alive.iter().find(|(role, _)| *role != self.role) {
            return Err(format!("claims a daemon while there is yet {other:?}"));
        }
        self.keeps_signals(fault, record)?;
        if let (Some(before), Some(after)) = (&record.before, &record.after) {
            same_caller(before, after)?;
        }
        if !record.errors.is_empty() && fault.call != libc::SYS_write {
            return Err(format!("succeeds, and says {:?}", record.errors));
        }
        let pid = the_daemon(record).map_or(0, |daemon| daemon.pid);
        let pid_is_lost = [&record.said, &record.errors].iter().all(|text| !text.contains(&pid.to_string()));
        if record.said.replace(&pid.to_string(), "PID") != self.said
            && (fault.call != libc::SYS_write || pid_is_lost && fault.extent == Extent::Once)
        {
            return Err(format!("says {:?}", record.said));
        }
        if without(&seen.heard, pid) != self.heard {
            return Err(format!("the supervisor has heard {:?}", seen.heard));
        }
        Ok(Verdict::Success)
    }

    /// The fault's own signal has ended a daemon that was complete, and of which the caller had been told.
    pub fn ended_afterwards(&self, fault: &Fault, record: &Record) -> bool {
        let daemon = self.role.clone();
        if daemon != fault.role {
            return false;
        }
        let writes = |made: &BTreeMap<Role, Vec<Made>>| {
            made.get(&daemon).map_or(0, |made| made.iter().filter(|made| made.number == libc::SYS_write).count())
        };
        // What it tells is the last that it writes, unless it executes a program: that tells. A signal at a call comes
        // when that is done, or later; but SIGKILL is not late.
        let mut made = record.made.clone();
        if fault.what == What::Signal(libc::SIGKILL) {
            made.entry(daemon.clone()).or_default().truncate(fault.index);
        }
        let last = self.made.get(&daemon).and_then(|made| made.last());
        let executes = last.is_some_and(|made| made.number == libc::SYS_execve);
        let was_told = !executes && writes(&self.made) > 0 && writes(&made) >= writes(&self.made);
        match fault.what {
            What::Signal(signal) => {
                let by_it = |dead: &(Role, i32, End, bool)| {
                    dead.0 == daemon && dead.2 == End::Killed(signal) && (dead.3 || was_told)
                };
                nobody_else(record, None).is_ok() && record.dead.iter().any(by_it)
            }
            What::Stop => {
                let stopped = record.present.iter().find(|present| present.role == daemon);
                was_told && stopped.is_some_and(|daemon| nobody_else(record, Some(daemon.pid)).is_ok())
            }
            _ => false,
        }
    }

    /// Exactly one daemon, in the whole state asked for, and nobody else.
    fn one_daemon(&self, seen: &Seen) -> Result<(), String> {
        let record = &seen.record;
        let Some(daemon) = the_daemon(record) else {
            return Err(format!("no daemon; there are {}", who(&record.present)));
        };
        nobody_else(record, Some(daemon.pid))?;
        if let Some(differences) = self.differs(seen, daemon) {
            return Err(format!("the daemon is another: {differences}"));
        }
        let differences = harness::differences(&self.files, &files_after(seen, Some(daemon.pid)));
        if !differences.is_empty() {
            return Err(format!("files differ: {}", differences.join("; ")));
        }
        Ok(())
    }

    /// In what the daemon is not the one that it is when nothing fails.
    pub fn differs(&self, seen: &Seen, daemon: &Present) -> Option<String> {
        let differences = harness::differences(&self.daemon, &normal(seen, &daemon.look));
        (!differences.is_empty()).then(|| differences.join("; "))
    }

    /// It claims that there is no daemon, and why.
    fn failed(&self, fault: &Fault, seen: &Seen, status: Option<i32>) -> Result<Verdict, String> {
        let record = &seen.record;
        if record.present.iter().any(|present| present.word == Some(marker::DAEMON)) {
            return Err(format!("claims failure, but there are {}: {:?}", who(&record.present), record.errors));
        }
        nobody_else(record, None)?;
        // Killed, and on its way: a busy machine may have no time for it in the second that is waited.
        let is_dying = |state: &str| ["R", "D"].contains(&state) && record.took >= Duration::from_secs(1);
        if !record.alive.iter().all(|(_, state)| is_dying(state)) {
            return Err(format!(
                "claims that there is none while there are yet {:?}, after {:?}",
                record.alive, record.took
            ));
        }
        if record.took > TIMELY {
            return Err(format!("takes too long: {:?}", record.took));
        }
        self.keeps_signals(fault, record)?;
        if let (Some(before), Some(after)) = (&record.before, &record.after) {
            same_caller(before, after)?;
        }
        let mut differences = harness::differences(&seen.before, &files_after(seen, None));
        // A log that did not exist may now exist, empty.
        differences.retain(|line| !line.ends_with(r#": None became Some("100640 \"\"")"#));
        // In place, nobody can go back.
        differences.retain(|line| !self.plan.in_place || !line.starts_with("pid: ") && !line.starts_with("log: "));
        if !differences.is_empty() {
            return Err(format!("files differ: {}", differences.join("; ")));
        }
        let (step, errno) = match (&record.outcome, status) {
            // Its stack is the daemon's, so it cannot return.
            (_, Some(1)) if record.late.is_some_and(|late| late != (0, 0)) => {
                let (step, errno) = record.late.unwrap_or_default();
                (step_name(step), calls::errno_name(errno))
            }
            (Outcome::Failed(step, errno), _) => (step_name(*step), calls::errno_name(*errno)),
            (_, Some(status)) if self.plan.is_command => return self.one_line(fault, seen, status),
            (outcome, _) => return Err(format!("ends untold: {outcome:?}")),
        };
        self.untouched(fault, &step, &errno)?;
        Ok(Verdict::Failure(step, errno))
    }

    /// The command's one line: `untty: STEP: what: ERRNO`.
    fn one_line(&self, fault: &Fault, seen: &Seen, status: i32) -> Result<Verdict, String> {
        // In place, standard error is the daemon's by then.
        let log = seen.after.get("log").and_then(|log| log.split_once(' ')?.1.strip_prefix('"')?.strip_suffix('"'));
        let log =
            log.map(|log| log.replace("\\n", "\n")).filter(|_| self.plan.in_place && seen.record.errors.is_empty());
        let errors = log.as_ref().unwrap_or(&seen.record.errors);
        let told = errors.strip_prefix("untty: ").and_then(|line| line.strip_suffix('\n'));
        let told = told.filter(|line| !line.contains('\n')).and_then(|line| line.split_once(": "));
        let told = told.and_then(|(step, rest)| Some((step, rest.rsplit_once(": ")?.1)));
        // Where the line itself cannot be written, the status still tells.
        let silent = fault.role == Role::caller() && fault.call == libc::SYS_write && errors.is_empty();
        match told {
            _ if !(125..=127).contains(&status) => Err(format!("status {status}: {errors:?}")),
            _ if silent => Ok(Verdict::Failure("(silent)".to_owned(), status.to_string())),
            Some((step, errno)) if status != status_of(step, errno) => Err(format!("status {status}: {step}, {errno}")),
            Some((step, errno)) => {
                self.untouched(fault, step, errno)?;
                Ok(Verdict::Failure(step.to_owned(), errno.to_owned()))
            }
            None => Err(format!("status {status}, and not one line: {errors:?}")),
        }
    }

    /// What must not make a start fail.
    fn untouched(&self, fault: &Fault, step: &str, errno: &str) -> Result<(), String> {
        let interrupted = fault.what == What::Errno(libc::EINTR) && self.can_be_interrupted(fault);
        let interrupted = interrupted && !translates(fault, libc::EINTR, step, errno);
        if interrupted || matches!(fault.what, What::Short | What::Pause | What::Delay) {
            return Err(format!("fails: {step}, {errno}"));
        }
        // The errno that it tells is the one that it met, and the step is that call's.
        let What::Errno(met) = fault.what else { return Ok(()) };
        if calls::errno_name(met) == errno {
            let name = calls::name(fault.call);
            let steps = STEPS.iter().filter(|line| line.0 == name && fault.role.to_string() == line.1);
            let known: Vec<&str> = steps.flat_map(|line| line.2.split(", ")).collect();
            let is_it = known.is_empty() || known.contains(&step) || step == "step 0";
            return if is_it { Ok(()) } else { Err(format!("tells another step: {step}, {errno}")) };
        }
        if translates(fault, met, step, errno) { Ok(()) } else { Err(format!("tells another errno: {step}, {errno}")) }
    }

    /// What a caller that lives on was sent, and did not ignore, has come to it; a Rust program ignores SIGPIPE.
    fn keeps_signals(&self, fault: &Fault, record: &Record) -> Result<(), String> {
        let is_sent =
            matches!(fault.what, What::Signal(signal) if signal != libc::SIGPIPE) && fault.role == Role::caller();
        if is_sent && record.after.is_some() { Err("the caller has lost a signal".to_owned()) } else { Ok(()) }
    }

    fn can_be_interrupted(&self, fault: &Fault) -> bool {
        let made = self.made.get(&fault.role).and_then(|made| made.get(fault.index));
        made.is_some_and(calls::can_be_interrupted)
    }

    /// The caller is dead: that is no claim, but nothing half-made may be left.
    fn was_killed(&self, fault: &Fault, seen: &Seen, signal: i32) -> Result<Verdict, String> {
        if fault.what != What::Signal(signal) || fault.role != Role::caller() {
            return Err(format!("the caller is killed by {}", calls::signal_name(signal)));
        }
        if the_daemon(&seen.record).is_some() {
            self.one_daemon(seen)?
        } else {
            nobody_else(&seen.record, None)?
        }
        Ok(Verdict::Killed)
    }
}

/// The deadline, twice the time that the killed have to vanish, and some more for a machine that is busy.
const TIMELY: Duration = Duration::from_millis(6000);

/// Calls of which there is one step only: name, process, steps.
const STEPS: &[(&str, &str, &str)] = &[
    ("setsid", "leader", "setsid"),
    ("chdir", "daemon", "chdir, chroot"),
    ("chroot", "daemon", "chroot"),
    ("dup3", "daemon", "stdin, stdout, stderr, notify"),
    ("clone", "caller", "fork"),
    ("fork", "caller", "fork"),
    ("clone", "leader", "fork again"),
    ("fork", "leader", "fork again"),
    ("setgroups", "daemon", "setgroups"),
    ("setresgid", "daemon", "setresgid"),
    ("pipe2", "leader", "pipe"),
    ("pipe2", "caller", "pipe, notify"),
    ("flock", "caller", "pid file"),
    ("fchmod", "caller", "pid file"),
    ("execve", "daemon", "exec"),
    ("rt_sigaction", "daemon", "signals"),
];

/// `exec` has statuses of its own.
fn status_of(step: &str, errno: &str) -> i32 {
    match (step, errno) {
        ("exec", "ENOENT") => 127,
        ("exec", _) => 126,
        _ => 125,
    }
}

/// Errnos that become another one, for a reason.
fn translates(fault: &Fault, met: i32, step: &str, errno: &str) -> bool {
    match (step, met, errno) {
        // The C library's databases tell of nothing but what they have found.
        ("user", ..) => cfg!(feature = "libc"),
        // The message itself was lost, and with it why: only the death is seen.
        ("wait" | "step 0", _, "ESRCH") => fault.role != Role::caller() && fault.call == libc::SYS_write,
        // A directory of PATH that is none has nothing in it.
        ("exec", libc::ENOTDIR, "ENOENT") => true,
        // It was there, or is not there, again and again: somebody must be removing and making it all the time.
        ("pid file", libc::ENOENT | libc::EEXIST, "EAGAIN") => true,
        _ => false,
    }
}

fn step_name(step: i32) -> String {
    Step::from_number(step).map_or_else(|| format!("step {step}"), |step| step.name().to_owned())
}

fn the_daemon(record: &Record) -> Option<&Present> {
    let mut daemons = record.present.iter().filter(|present| present.word == Some(marker::DAEMON));
    daemons.next().filter(|_| daemons.next().is_none())
}

/// Nobody but the daemon, and a caller that lives on.
fn nobody_else(record: &Record, daemon: Option<i32>) -> Result<(), String> {
    let is_caller = |present: &Present| present.role == Role::caller() && present.word.is_some();
    let others: Vec<&Present> =
        record.present.iter().filter(|present| Some(present.pid) != daemon && !is_caller(present)).collect();
    if others.is_empty() { Ok(()) } else { Err(format!("left behind: {}", who(others))) }
}

fn who<'a>(present: impl IntoIterator<Item = &'a Present>) -> String {
    let one = |present: &Present| {
        let state = present.look.get("state").map_or("", String::as_str);
        let word = present.word.map_or(String::new(), |word| format!(" that said {word}"));
        format!("{} in state {state}{word}", present.role)
    };
    let all: Vec<String> = present.into_iter().map(one).collect();
    if all.is_empty() { "nobody".to_owned() } else { all.join(", ") }
}

/// The caller must be what it was.
fn same_caller(before: &Look, after: &Look) -> Result<(), String> {
    let mut differences = harness::differences(before, after);
    differences.retain(|line| !line.starts_with("state:") && !line.starts_with("parent:"));
    if differences.is_empty() { Ok(()) } else { Err(format!("the caller is another: {}", differences.join("; "))) }
}

/// A daemon's state without what is another at every start: numbers, and the directory.
fn normal(seen: &Seen, look: &Look) -> Look {
    let role = |value: &str| {
        let pid = value.parse().unwrap_or(0);
        seen.record.roles.get(&pid).map_or_else(|| value.to_owned(), Role::to_string)
    };
    let mut normal = Look::new();
    for (key, value) in look.iter().filter(|(key, _)| !["state", "parent"].contains(&key.as_str())) {
        let value = match key.as_str() {
            "group" | "session" => role(value),
            _ if value.starts_with("pipe:") || value.starts_with("socket:") => {
                let kind = value.split(':').next().unwrap_or_default();
                format!("{kind} {}", value.rsplit(' ').next().unwrap_or_default())
            }
            _ => value.replace(&seen.directory, "{S}"),
        };
        normal.insert(key.clone(), value);
    }
    normal
}

/// The files at the end. The daemon's pid is `PID`, if its lock is there.
fn files_after(seen: &Seen, daemon: Option<i32>) -> Files {
    let Some(pid) = daemon else { return seen.after.clone() };
    let mut files = seen.after.clone();
    for (name, text) in &mut files {
        if ["pid", "new"].contains(&name.as_str()) {
            let lock =
                if seen.owner == Some(pid) { "locked by it".to_owned() } else { format!("locked by {:?}", seen.owner) };
            let (mode, content) = text.split_once(' ').unwrap_or_default();
            *text = format!("{mode} {}, {lock}", content.replace(&pid.to_string(), "PID"));
        }
    }
    files
}

fn without(heard: &[String], pid: i32) -> Vec<String> {
    heard.iter().map(|message| message.replace(&pid.to_string(), "PID")).collect()
}

fn plain(outcome: &Outcome, daemon: i32) -> Outcome {
    match outcome {
        Outcome::Returned(pid) if *pid == daemon => Outcome::Returned(-1),
        outcome => outcome.clone(),
    }
}
