//! Those who do the work: processes that run one fault after the other. Each is the subreaper of what it starts, and has
//! one thread.

use super::calls;
use super::inject::{self, Fault};
use super::peers;
use super::plans::{self, Plan};
use super::promise::{self, Reference, Verdict};
use crate::harness::helper;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Stdio};

/// The plans of a run: the peers, if there are any.
pub fn wanted() -> Vec<Plan> {
    peers::all().map_or_else(plans::all, |peers| peers.into_iter().map(|peer| peer.plan).collect())
}

/// A process that runs faults.
pub struct Worker {
    process: Child,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    pub fn start() -> Self {
        let mut process =
            helper("worker").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a worker can be started");
        let answers = BufReader::new(process.stdout.take().expect("a pipe"));
        Self { process, answers }
    }

    pub fn ask(&mut self, line: &str) -> String {
        writeln!(self.process.stdin.as_mut().expect("a pipe"), "{line}").expect("the worker listens");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("the worker answers");
        assert!(!answer.is_empty(), "the worker is gone at {line}");
        answer.trim_end().to_owned()
    }

    /// The faults of a plan; or why it is none.
    pub fn faults(&mut self, index: usize) -> Result<Vec<Fault>, String> {
        let answer = self.ask(&format!("{index}\tfaults"));
        let count: usize = answer.parse().map_err(|_| answer)?;
        let mut line = String::new();
        let faults = (0..count)
            .map(|_| {
                line.clear();
                self.answers.read_line(&mut line).expect("the worker answers");
                Fault::parse(&line).unwrap_or_else(|| panic!("no fault: {line}"))
            })
            .collect();
        Ok(faults)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// The helper: `PLAN<tab>faults` or `PLAN<tab>FAULT` a line.
pub fn worker(_: &[String]) {
    inject::prepare();
    let plans = wanted();
    let mut references: BTreeMap<usize, Result<Reference, String>> = BTreeMap::new();
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let (plan, order) = line.split_once('\t').expect("an order");
        let index: usize = plan.parse().expect("a plan");
        let reference = references.entry(index).or_insert_with(|| proven(&plans[index]));
        match (order, reference) {
            (_, Err(why)) => println!("unproven: {}", why.replace('\n', " ")),
            ("faults", Ok(reference)) => {
                let faults = if reference.plan.is_peer {
                    peers::faults(&reference.made)
                } else {
                    calls::faults(&reference.made, reference.plan.has_deadline)
                };
                println!("{}", faults.len());
                faults.iter().for_each(|fault| println!("{fault}"));
            }
            (order, Ok(reference)) => {
                let fault = Fault::parse(order).expect("a fault");
                let judged = if reference.plan.is_peer { peers::judged } else { judged };
                println!("{}", judged(reference, &fault).replace('\n', "\\n"));
            }
        }
    }
}

fn proven(plan: &Plan) -> Result<Reference, String> {
    let reference = Reference::record(plan)?;
    let faults = if plan.is_peer { vec![] } else { reference.faults() };
    if faults.is_empty() { Ok(reference) } else { Err(faults.join("; ")) }
}

/// A fault whose call is not made every time (a leader may be killed a little sooner) is tried again. And what breaks
/// the promise is tried again too: on a machine that is too busy for a deadline, it may have been that. Who was seen to
/// break it once only is told of, too.
fn judged(reference: &Reference, fault: &Fault) -> String {
    const TIMES: usize = 3;
    let (mut good, mut bad) = (None, None);
    for _ in 0..TIMES {
        let said = match reference.judge(fault, &promise::run(&reference.plan, Some(fault), false)) {
            Verdict::Unmet => continue,
            Verdict::Broken(why) if bad.is_some() => return format!("broken\t{why}"),
            Verdict::Broken(why) => {
                bad = Some(why);
                continue;
            }
            Verdict::Success => "success".to_owned(),
            Verdict::Killed => "killed".to_owned(),
            Verdict::Failure(step, errno) => format!("failure\t{step}\t{errno}"),
            Verdict::Limit(why) => format!("limit\t{why}"),
        };
        if bad.is_none() {
            return said;
        }
        good = Some(said);
    }
    match (good, bad) {
        (Some(_), Some(why)) => format!("once\t{why}"),
        (None, Some(why)) => format!("broken\t{why}"),
        (good, None) => good.unwrap_or_else(|| "unmet".to_owned()),
    }
}
