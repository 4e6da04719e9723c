//! What a process is before and after it became a daemon, and what each step was for.
//!
//! ```text
//! cargo run --example what_changed
//! ```
//!
//! The daemon inherits standard output, so that it can tell; the caller waits until it has, and has the last word.

#![allow(clippy::std_instead_of_core, reason = "a program with std")]

use std::fs::{self, File};
use std::path::Path;
use std::process::{self, ExitCode};
use untty::{Daemon, Process, Stdio};

const ITEMS: [(&str, &str); 10] = [
    ("process", "fork: the caller can go, the shell shows its prompt; and only who leads no group may call setsid."),
    ("process group", "setsid: a new group, so that ^C and ^Z in the terminal do not reach it."),
    ("session", "setsid: a new session, so that the end of the login does not end it (SIGHUP)."),
    ("session leader", "the second fork: only a session leader can acquire a terminal, and this is none any more."),
    ("terminal", "all of that together: no controlling terminal, now and for ever."),
    ("signals ignored", "dispositions: back to their defaults; handlers and a blocked mask are not inherited either."),
    ("directory", "chdir: a daemon in a directory of its own choice keeps no file system from being unmounted."),
    ("umask", "umask: the modes of its files do not depend on who started it; 0027 gives others nothing."),
    ("standard input", "/dev/null in place of the terminal: reads end at once, and what is written is nobody's."),
    ("descriptors", "closed: files and pipes of the caller's; a reader at the other end would wait for ever."),
];

fn main() -> ExitCode {
    let before = observe();
    let daemon = Daemon::new().stdout(Stdio::Inherit).stderr(Stdio::Inherit).return_in_caller();
    // SAFETY: this program has no threads, and no descriptor that it would use afterwards.
    match unsafe { daemon.detach() } {
        Ok(Process::Daemon(mut handle)) => {
            for ((item, purpose), (before, after)) in ITEMS.iter().zip(before.iter().zip(observe())) {
                println!("{item}: {before} -> {after}\n    {purpose}");
            }
            println!("(The highest descriptor is the handle's. It closes with ready(), which is said now.)");
            if handle.ready().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Ok(Process::Caller { daemon }) => {
            println!("The caller is process {} again, and its daemon is process {daemon}.", process::id());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("what_changed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What this process is, item by item.
fn observe() -> [String; 10] {
    let unknown = || String::from("(unknown)");
    let yes_or_no = |yes| String::from(if yes { "yes" } else { "no" });
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the name, which may hold anything: state, parent, group, session.
    let fields: Vec<&str> = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').collect()).unwrap_or_default();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = |name| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let process = process::id().to_string();
    let session = fields.get(3).copied().unwrap_or_default();
    let ignored = line("SigIgn:").and_then(|set| u64::from_str_radix(set, 16).ok());
    let mut descriptors: Vec<u32> = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    descriptors.retain(|fd| Path::new(&format!("/proc/self/fd/{fd}")).exists()); // not the list's own
    descriptors.sort_unstable();
    [
        process.clone(),
        fields.get(2).map_or_else(unknown, ToString::to_string),
        session.to_string(),
        yes_or_no(session == process),
        yes_or_no(File::open("/dev/tty").is_ok()),
        ignored.map_or_else(unknown, |set| set.count_ones().to_string()),
        std::env::current_dir().map_or_else(|_| unknown(), |path| path.display().to_string()),
        line("Umask:").map_or_else(unknown, String::from),
        fs::read_link("/proc/self/fd/0").map_or_else(|_| String::from("closed"), |path| path.display().to_string()),
        descriptors.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
    ]
}
