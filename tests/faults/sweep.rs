//! The sweep: workers that run one fault after the other, and what is said of all of them.

use super::calls;
use super::inject::{self, Fault};
use super::peers;
use super::plans::{self, Plan};
use super::promise::{self, Reference, Verdict};
use crate::harness::{self, helper};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, thread};

pub fn main() {
    if let Ok(line) = env::var("UNTTY_FAULT") {
        return replay(&line);
    }
    if let Some(peers) = peers::all().filter(|_| env::args().nth(1).is_none()) {
        return compare(&peers);
    }
    let is_helper = env::args().nth(1).is_some_and(|word| word == "helper");
    let _workshop = (!is_helper).then(plans::build);
    harness::main(
        &[("the_promise_holds_under_every_fault", the_promise_holds_under_every_fault)],
        &[("worker", worker), ("entry", super::entry::entry)],
    );
}

/// Every fault for every peer, and the table of it.
fn compare(peers: &[peers::Peer]) {
    let mut jobs = Vec::new();
    for (index, peer) in peers.iter().enumerate() {
        let faults = Worker::start().faults(index).unwrap_or_else(|why| panic!("{}: {why}", peer.plan.name));
        jobs.extend(faults.into_iter().map(|fault| (index, fault)));
    }
    fastrand::Rng::with_seed(0).shuffle(&mut jobs);
    let said = sweep(&jobs);
    for ((index, fault), said) in jobs.iter().zip(&said).filter(|(_, said)| *said != "true" && *said != "unmet") {
        eprintln!("{} | {fault}: {said}", peers[*index].plan.name);
    }
    print!("{}", peers::table(peers, &jobs, &said));
}

/// How many faults a sample has.
const SAMPLE: usize = 1500;

fn the_promise_holds_under_every_fault() {
    let plans = plans::all();
    let seed = env::var("UNTTY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    let wanted = env::var("UNTTY_FAULTS").ok();
    let only = env::var("UNTTY_PLAN").ok();
    let (mut jobs, mut unproven) = (Vec::new(), Vec::new());
    for (index, plan) in plans.iter().enumerate() {
        if only.as_ref().is_some_and(|only| !plan.name.contains(only.as_str())) {
            continue;
        }
        match Worker::start().faults(index) {
            Ok(faults) => jobs.extend(faults.into_iter().map(|fault| (index, fault))),
            Err(why) => unproven.push(format!("{}: {why}", plan.name)),
        }
    }
    assert_eq!(unproven, [""; 0], "without any fault");
    let all = jobs.len();
    // In no order, so that those which take long do not come all at once.
    fastrand::Rng::with_seed(seed).shuffle(&mut jobs);
    jobs.truncate(match wanted.as_deref() {
        Some("all") => usize::MAX,
        Some(number) => number.parse().expect("UNTTY_FAULTS is \"all\" or a number"),
        None => SAMPLE,
    });
    println!("{} of {all} faults in {} kinds of start, seed {seed}; left out:", jobs.len(), plans.len());
    calls::left_out().for_each(|line| println!("  {line}"));
    let said = sweep(&jobs);
    let report = Report::of(&plans, &jobs, &said);
    println!("{report}");
    assert!(report.broken.is_empty(), "{} faults break the promise", report.broken.len());
}

/// Has workers do all that, and returns their words in the same order.
fn sweep(jobs: &[(usize, Fault)]) -> Vec<String> {
    // They wait more than they work.
    let workers = 3 * thread::available_parallelism().map_or(1, usize::from);
    let (next, said) = (AtomicUsize::new(0), Mutex::new(vec![String::new(); jobs.len()]));
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let mut worker = Worker::start();
                while let Some((plan, fault)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let start = std::time::Instant::now();
                    let line = worker.ask(&format!("{plan}\t{fault}"));
                    if start.elapsed().as_secs() > 2 {
                        println!("SLOW {:?} {plan} {fault} {line}", start.elapsed());
                    }
                    let index = jobs.iter().position(|job| std::ptr::eq(&raw const job.1, fault)).expect("a job");
                    said.lock().expect("nobody panics")[index] = line;
                }
            });
        }
    });
    said.into_inner().expect("nobody panics")
}

/// A process that runs faults.
struct Worker {
    process: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Worker {
    fn start() -> Self {
        let mut process =
            helper("worker").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a worker can be started");
        let answers = BufReader::new(process.stdout.take().expect("a pipe"));
        Self { process, answers }
    }

    fn ask(&mut self, line: &str) -> String {
        writeln!(self.process.stdin.as_mut().expect("a pipe"), "{line}").expect("the worker listens");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("the worker answers");
        assert!(!answer.is_empty(), "the worker is gone at {line}");
        answer.trim_end().to_owned()
    }

    /// The faults of a plan; or why it is none.
    fn faults(mut self, index: usize) -> Result<Vec<Fault>, String> {
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
fn worker(_: &[String]) {
    inject::prepare();
    let are_peers = peers::all().is_some();
    let plans = peers::all().map_or_else(plans::all, |peers| peers.into_iter().map(|peer| peer.plan).collect());
    let mut references: BTreeMap<usize, Result<Reference, String>> = BTreeMap::new();
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let (plan, order) = line.split_once('\t').expect("an order");
        let index: usize = plan.parse().expect("a plan");
        let reference = references
            .entry(index)
            .or_insert_with(|| if are_peers { Reference::record(&plans[index]) } else { proven(&plans[index]) });
        match (order, reference) {
            (_, Err(why)) => println!("unproven: {}", why.replace('\n', " ")),
            ("faults", Ok(reference)) => {
                let faults = if are_peers {
                    peers::faults(&reference.made)
                } else {
                    calls::faults(&reference.made, reference.plan.has_deadline)
                };
                println!("{}", faults.len());
                faults.iter().for_each(|fault| println!("{fault}"));
            }
            (order, Ok(reference)) => {
                let fault = Fault::parse(order).expect("a fault");
                let judged = if are_peers { peers::judged } else { judged };
                println!("{}", judged(reference, &fault).replace('\n', "\\n"));
            }
        }
    }
}

fn proven(plan: &Plan) -> Result<Reference, String> {
    let reference = Reference::record(plan)?;
    let faults = reference.faults();
    if faults.is_empty() { Ok(reference) } else { Err(faults.join("; ")) }
}

/// A fault whose call is not made every time (a leader may be killed a little sooner) is tried again.
fn judged(reference: &Reference, fault: &Fault) -> String {
    const TIMES: usize = 3;
    for _ in 0..TIMES {
        match reference.judge(fault, &promise::run(&reference.plan, Some(fault), false)) {
            Verdict::Unmet => {}
            Verdict::Success => return "success".to_owned(),
            Verdict::Killed => return "killed".to_owned(),
            Verdict::Failure(step, errno) => return format!("failure\t{step}\t{errno}"),
            Verdict::Limit(why) => return format!("limit\t{why}"),
            Verdict::Broken(why) => return format!("broken\t{why}"),
        }
    }
    "unmet".to_owned()
}

fn replay(line: &str) {
    let _workshop = plans::build();
    let (name, fault) = line.split_once(" | ").expect("PLAN | FAULT");
    let plans = peers::all().map_or_else(plans::all, |peers| peers.into_iter().map(|peer| peer.plan).collect());
    let plan = plans.into_iter().find(|plan| plan.name == name).expect("a plan of that name");
    let fault = Fault::parse(fault);
    inject::prepare();
    let reference = Reference::record(&plan);
    let seen = promise::run(&plan, fault.as_ref(), true);
    seen.record.story.iter().for_each(|line| println!("{line}"));
    println!("outcome: {:?}\nsaid: {:?}\nerrors: {:?}", seen.record.outcome, seen.record.said, seen.record.errors);
    for present in &seen.record.present {
        println!("{} {:?}: {:#?}", present.role, present.word, present.look);
    }
    if let (Ok(reference), Some(fault)) = (&reference, &fault) {
        println!("{:?}", reference.judge(fault, &seen));
        println!("as a peer: {}", peers::judge(reference, fault, &seen));
    }
}

/// What came of a sweep.
struct Report {
    counts: BTreeMap<String, [usize; 6]>,
    /// Where the promise ends, and how often that was met.
    limits: BTreeMap<String, usize>,
    broken: Vec<String>,
}

impl Report {
    fn of(plans: &[Plan], jobs: &[(usize, Fault)], said: &[String]) -> Self {
        let mut report = Self { counts: BTreeMap::new(), limits: BTreeMap::new(), broken: vec![] };
        for ((plan, fault), said) in jobs.iter().zip(said) {
            let name = &plans[*plan].name;
            let column = ["success", "failure", "killed", "unmet", "limit"]
                .iter()
                .position(|word| said.split('\t').next() == Some(word))
                .unwrap_or(5);
            report.counts.entry(name.clone()).or_default()[column] += 1;
            if let ("limit", why) = said.split_once('\t').unwrap_or_default() {
                *report.limits.entry(why.to_owned()).or_default() += 1;
            }
            if column == 5 {
                report.broken.push(format!("UNTTY_FAULT='{name} | {fault}': {said}"));
            }
        }
        report
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            formatter,
            "{:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "success", "failure", "killed", "unmet", "limit", "broken"
        )?;
        let mut total = [0; 6];
        for (name, counts) in &self.counts {
            counts.iter().for_each(|count| write!(formatter, "{count:>9} ").expect("memory"));
            writeln!(formatter, " {name}")?;
            total.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
        }
        total.iter().for_each(|count| write!(formatter, "{count:>9} ").expect("memory"));
        writeln!(formatter, " in all")?;
        for (why, count) in &self.limits {
            writeln!(formatter, "limit, {count} times: {why}")?;
        }
        self.broken.iter().try_for_each(|line| writeln!(formatter, "{line}"))
    }
}
