//! The sweep, the findings of earlier ones, and the table of peers.

use super::calls;
use super::findings;
use super::inject::{self, Fault};
use super::peers::{self, Peer};
use super::plans::{self, Plan};
use super::promise::{self, Reference};
use super::report::Report;
use super::worker::{self, Worker};
use crate::harness;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, thread};

pub fn main() {
    if let Ok(line) = env::var("UNTTY_FAULT") {
        return replay(&line);
    }
    if let Some(directory) = env::var_os("UNTTY_FAULTS_BUILD") {
        return plans::build_in(directory.as_ref());
    }
    let is_helper = env::args().nth(1).is_some_and(|word| word == "helper");
    if let Some(peers) = peers::all().filter(|_| !is_helper) {
        return compare(&peers);
    }
    let _workshop = (!is_helper).then(plans::build).flatten();
    let mut tests = findings::TESTS.to_vec();
    tests.push(("the_promise_holds_under_every_fault", the_promise_holds_under_every_fault));
    harness::main(&tests, &[("worker", worker::worker), ("entry", super::entry::entry)]);
}

/// How many faults a sample has.
const SAMPLE: usize = 1500;

fn the_promise_holds_under_every_fault() {
    let plans = plans::all();
    let seed = env::var("UNTTY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    let only = env::var("UNTTY_PLAN").unwrap_or_default();
    let tried = |plan: &Plan| !plan.is_peer && plan.name.contains(&only);
    let mut jobs = every_fault(&plans, tried);
    let all = jobs.len();
    // In no order, so that those which take long do not come all at once.
    fastrand::Rng::with_seed(seed).shuffle(&mut jobs);
    jobs.truncate(match env::var("UNTTY_FAULTS").as_deref() {
        Ok("all") => usize::MAX,
        Ok(number) => number.parse().expect("UNTTY_FAULTS is \"all\" or a number"),
        Err(_) => SAMPLE,
    });
    let kinds = plans.iter().filter(|plan| tried(plan)).count();
    println!(
        "{} of {all} faults in {kinds} kinds of start, seed {seed}; left out, because no kernel does it:",
        jobs.len()
    );
    calls::left_out().for_each(|line| println!("  {line}"));
    let report = Report::of(&plans, &jobs, &sweep(&jobs));
    println!("{report}");
    assert!(report.broken.is_empty(), "{} faults break the promise", report.broken.len());
}

/// Every fault of those plans, with the plan's number.
fn every_fault(plans: &[Plan], tried: impl Fn(&Plan) -> bool) -> Vec<(usize, Fault)> {
    let (mut jobs, mut unproven) = (Vec::new(), Vec::new());
    for (index, plan) in plans.iter().enumerate().filter(|(_, plan)| tried(plan)) {
        match Worker::start().faults(index) {
            Ok(faults) => jobs.extend(faults.into_iter().map(|fault| (index, fault))),
            Err(why) => unproven.push(format!("{}: {why}", plan.name)),
        }
    }
    assert_eq!(unproven, [""; 0], "without any fault");
    jobs
}

/// Has workers do all that, and returns their words in the same order.
fn sweep(jobs: &[(usize, Fault)]) -> Vec<String> {
    // They wait more than they work.
    let workers = 4 * thread::available_parallelism().map_or(1, usize::from);
    let (next, said) = (AtomicUsize::new(0), Mutex::new(vec![String::new(); jobs.len()]));
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let mut worker = Worker::start();
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some((plan, fault)) = jobs.get(index) else { return };
                    let line = worker.ask(&format!("{plan}\t{fault}"));
                    said.lock().expect("nobody panics")[index] = line;
                }
            });
        }
    });
    said.into_inner().expect("nobody panics")
}

/// Every fault for every peer, and the table of it.
fn compare(peers: &[Peer]) {
    let plans: Vec<Plan> = peers.iter().map(|peer| peer.plan.clone()).collect();
    let mut jobs = every_fault(&plans, |_| true);
    fastrand::Rng::with_seed(0).shuffle(&mut jobs);
    let said = sweep(&jobs);
    for ((index, fault), said) in jobs.iter().zip(&said).filter(|(_, said)| *said != "true" && *said != "unmet") {
        eprintln!("{} | {fault}: {said}", plans[*index].name);
    }
    print!("{}", peers::table(peers, &jobs, &said));
}

/// One fault, and all that happens.
fn replay(line: &str) {
    let _workshop = plans::build();
    let (name, fault) = line.split_once(" | ").expect("PLAN | FAULT");
    let plan = worker::wanted().into_iter().find(|plan| plan.name == name).expect("a plan of that name");
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
