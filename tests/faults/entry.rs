//! What is started to see the Rust functions: a helper that does what its words say (those of
//! [`Plan`](crate::harness::start::Plan) among them), and says where it is.

use super::inject::marker;
use crate::harness::start;
use untty::{Daemon, Error, Process, Readiness};

pub fn entry(words: &[String]) {
    let mut plan = start::Plan::new("");
    let mut program = None;
    let mut daemon = Daemon::new().ignore_supervisor();
    let mut readiness = Readiness::Executed;
    for word in words {
        match word.split_once(' ').unwrap_or((word, "")) {
            ("spawn", rest) => {
                let words = rest.split(' ').map(|word| std::ffi::CString::new(word).expect("a word"));
                program = Some(words.collect::<Vec<_>>());
            }
            ("tell", _) => daemon = Daemon::new(),
            ("newline", number) => readiness = Readiness::Newline(number.parse().expect("a number")),
            _ => {}
        }
    }
    plan.daemon = daemon.on_late_failure(too_late).readiness(readiness);
    let of_this = ["spawn", "tell", "newline"];
    let words = words.iter().filter(|word| !of_this.contains(&word.split(' ').next().unwrap_or_default()));
    words.for_each(|word| plan.take(word));
    marker::say(marker::BEGIN, 0, 0);
    let result = match &program {
        Some(program) => start::spawn(&plan.daemon, program).map(|daemon| Process::Caller { daemon }),
        // SAFETY: a helper uses no descriptor that gets closed.
        None => unsafe { plan.daemon.detach() },
    };
    say(result);
    loop {
        nix::unistd::pause();
    }
}

fn too_late(error: Error) {
    marker::say(marker::LATE, error.step().number(), error.errno().number());
}

fn say(result: Result<Process, Error>) {
    match result {
        Ok(Process::Daemon(mut handle)) => {
            if handle.ready().is_err() {
                std::process::exit(3); // nobody is there to be told
            }
            marker::say(marker::DAEMON, 0, 0);
        }
        Ok(Process::Caller { daemon }) => marker::say(marker::RETURNED, daemon, 0),
        Err(error) => marker::say(marker::FAILED, error.step().number(), error.errno().number()),
    }
}
