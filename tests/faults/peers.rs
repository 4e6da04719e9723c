//! The table: the same faults for others that make daemons, judged by what they all promise, or seem to: exit status 0
//! means that the daemon runs, as it does when nothing fails, and another status that it does not.

use super::calls;
use super::inject::{Begin, Fault, Made, Outcome, Present, Role, What, marker};
use super::plans::Plan;
use super::promise::{self, Reference, Seen};
use crate::harness::End;
use std::collections::BTreeMap;
use std::env;
use std::fmt::Write;

/// What `.ci/peers-install` has made: name, version, where calls begin to count, and the words, a line each.
pub struct Peer {
    pub plan: Plan,
    pub version: String,
}

/// The peers, if they are wanted.
pub fn all() -> Option<Vec<Peer>> {
    let manifest = std::fs::read_to_string(env::var_os("UNTTY_PEERS")?).expect("the manifest");
    let read = |line: &str| {
        let words: Vec<&str> = line.split('\t').collect();
        let [name, version, begin, command] = words.as_slice() else { panic!("what is {line:?}?") };
        let begin = if *begin == "entry" { Begin::Entry } else { Begin::Marker };
        Peer { plan: Plan::peer(name, begin, &command.replace("{SCRATCH}", "{S}")), version: (*version).to_owned() }
    };
    Some(manifest.lines().map(read).collect())
}

/// Every fault of a recorded start. Whoever makes the same call again and again (for every signal, for every
/// descriptor) is asked for the first and the last of them, so that this does not count for more than it is.
/// Nobody is stopped for ever: without a deadline that is nothing that could be told.
pub fn faults(made: &BTreeMap<Role, Vec<Made>>) -> Vec<Fault> {
    let counts = |fault: &Fault| {
        let calls = &made[&fault.role];
        let same = |index: usize| calls.get(index).is_some_and(|call| call.number == fault.call);
        !(fault.index > 0 && same(fault.index - 1) && same(fault.index + 1))
    };
    calls::faults(made, false).into_iter().filter(counts).collect()
}

/// What was found: `true`, or what of `lie`, `left` and `hang`, with a word on it.
pub fn judge(reference: &Reference, fault: &Fault, seen: &Seen) -> String {
    let record = &seen.record;
    let daemons: Vec<&Present> = record.present.iter().filter(|present| present.word == Some(marker::DAEMON)).collect();
    // A caller to which the call has returned is still there, and may be.
    let is_caller = |present: &Present| present.role == Role::caller() && present.word.is_some();
    let others = record.present.iter().filter(|present| present.word != Some(marker::DAEMON) && !is_caller(present));
    let others = others.count();
    let wrong = |kind: &str, why: &str| format!("{kind}\t{why}");
    match &record.outcome {
        Outcome::Hangs => wrong("hang", "it waits for ever"),
        Outcome::Ended(End::Killed(signal)) if fault.what == What::Signal(*signal) && fault.role == Role::caller() => {
            // No claim. But half a daemon may not be left.
            match (daemons.as_slice(), others) {
                ([], 0) => "true".to_owned(),
                ([daemon], 0) if reference.differs(seen, daemon).is_none() => "true".to_owned(),
                ([], _) => wrong("left", "its caller killed, a process is left that is no daemon"),
                _ => wrong("left", "its caller killed, a daemon is left that is not whole"),
            }
        }
        Outcome::Ended(End::Exited(0)) | Outcome::Returned(_) => {
            if reference.ended_afterwards(fault, record) {
                return "true".to_owned();
            }
            match (daemons.as_slice(), others) {
                ([], 0) => wrong("lie", "claims a daemon, and there is none"),
                ([], _) => wrong("lie left", "claims a daemon, and there is something else"),
                ([daemon], 0) => match reference.differs(seen, daemon) {
                    None => "true".to_owned(),
                    Some(difference) => wrong("lie", &format!("claims a daemon, which is not whole: {difference}")),
                },
                _ => wrong("left", "claims a daemon, and there is more than that"),
            }
        }
        // It gives no exit status: it stays in the foreground, as what it takes for a daemon.
        Outcome::IsDaemon => wrong("lie", "is itself what should be the daemon, and not whole"),
        _ if daemons.is_empty() && others == 0 => "true".to_owned(),
        _ if daemons.is_empty() => wrong("left", "claims that there is none, and leaves a process"),
        _ => wrong("lie left", "claims that there is none, and there is one"),
    }
}

/// What came of a fault.
pub fn judged(reference: &Reference, fault: &Fault) -> String {
    const TIMES: usize = 3;
    for _ in 0..TIMES {
        let seen = promise::run(&reference.plan, Some(fault), false);
        if seen.record.fired {
            return judge(reference, fault, &seen);
        }
    }
    "unmet".to_owned()
}

/// The table, in Markdown.
pub fn table(peers: &[Peer], jobs: &[(usize, Fault)], said: &[String]) -> String {
    let mut text = String::from(
        "| | version | faults | told truthfully | lies | something left behind | hangs |\n|---|---|--:|--:|--:|--:|--:|\n",
    );
    for (index, peer) in peers.iter().enumerate() {
        let met = || {
            let lines = jobs.iter().zip(said).filter(move |((plan, _), _)| *plan == index).map(|(_, line)| line);
            lines.filter(|line| *line != "unmet")
        };
        let count = |word: &str| {
            met().filter(|line| line.split('\t').next().unwrap_or_default().split(' ').any(|it| it == word)).count()
        };
        let (all, truths) = (met().count(), count("true"));
        let percent =
            100.0 * f64::from(u32::try_from(truths).unwrap_or(0)) / f64::from(u32::try_from(all).unwrap_or(1));
        let percent =
            if truths == all { "100 %".to_owned() } else { format!("{:.1} %", (percent * 10.0).floor() / 10.0) };
        let (lies, left, hangs) = (count("lie"), count("left"), count("hang"));
        writeln!(text, "| {} | {} | {all} | {percent} | {lies} | {left} | {hangs} |", peer.plan.name, peer.version)
            .expect("memory");
    }
    text
}
