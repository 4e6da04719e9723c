//! What it costs to become a daemon, side by side: `cargo bench --bench detach`.
//!
//! The same program (program.c), built once for each way of becoming a daemon and each C library, is started again and
//! again: every turn starts each of them once, with each size of memory, in an order of chance. So what else the machine
//! does hits all of them alike, and the minimum and the median can be compared.
//!
//! `cargo bench --bench detach -- OPTION…`:
//! - `--turns N` without memory; fewer with it
//! - `--only WORD,…` of the programs' names
//! - `--first`: before all other processes (`SCHED_FIFO`), for a machine that is busy; `--one-core`: and on one core
//! - `--check`: whether the promised figures hold (check.rs)

#![allow(clippy::expect_used, clippy::panic, clippy::std_instead_of_core, reason = "a benchmark has std, and may fail")]

mod check;
mod figures;
mod peace;
mod programs;
mod turn;

use figures::Figures;
use peace::Times;
use programs::Program;
use std::io::IsTerminal;
use std::path::Path;
use std::{env, fs, io, process};
use turn::{Harness, Memory, Scheduling};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

struct Options {
    turns: usize,
    only: Vec<String>,
    scheduling: Scheduling,
    check: bool,
}

fn main() {
    let options = options();
    let out = Path::new(ROOT).join("target/detach");
    fs::create_dir_all(&out).expect("target/detach");
    let (programs, missing) = programs::build(&out, |program| options.wants(program));
    for reason in &missing {
        println!("MISSING: {reason}");
    }
    let mut figures = Figures::default();
    let mut harness = Harness::new(&out);
    let schedulings = if options.check { &check::SCHEDULINGS[..] } else { &[options.scheduling] };
    for scheduling in schedulings {
        if !scheduling.apply() {
            println!("SKIPPED: nobody may go before other processes here, so nobody does");
        }
        race(&mut harness, &mut figures, &programs, &options, *scheduling);
    }
    figures.write(&out.join("turns.csv")).expect("target/detach/turns.csv");
    println!("{}\n{figures}\nEvery turn: {}", programs::machine(), out.join("turns.csv").display());
    if options.check && !check::all_hold(&figures) {
        process::exit(1);
    }
}

fn options() -> Options {
    let mut options = Options { turns: 300, only: Vec::new(), scheduling: Scheduling::Usual, check: false };
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| panic!("{argument} wants a value"));
        match argument.as_str() {
            "--bench" => {} // cargo says so
            "--turns" => options.turns = value().parse().expect("a number of turns"),
            "--only" => options.only = value().split(',').map(str::to_owned).collect(),
            "--first" => options.scheduling = Scheduling::First,
            "--one-core" => options.scheduling = Scheduling::FirstOnOneCore,
            "--check" => options.check = true,
            other => panic!("unknown: {other}; benches/detach/main.rs tells the options"),
        }
    }
    options
}

impl Options {
    fn wants(&self, program: &Program) -> bool {
        let name = program.to_string();
        let named = self.only.is_empty() || self.only.iter().any(|word| name.contains(word));
        named && (!self.check || check::needs(program))
    }

    /// Whether that turn has a start of it with that memory.
    fn has(&self, turn: usize, scheduling: Scheduling, memory: Memory, program: Program) -> bool {
        let often = match memory.resident + memory.used {
            0 => true,
            1..256 => turn % 10 == 0,
            _ => turn < 3 || turn % 100 == 0,
        };
        // How long it takes with cold caches is worth a look only where nothing else depends on the size.
        let wanted = memory.used == 0 || program.entry.is_handover();
        often && wanted && (!self.check || check::needs_start(scheduling, memory, program))
    }
}

/// All turns.
fn race(harness: &mut Harness, figures: &mut Figures, programs: &[Program], options: &Options, scheduling: Scheduling) {
    let begin = Times::now();
    for turn in 0..options.turns {
        let all = programs.iter().flat_map(|program| Memory::SIZES.into_iter().map(move |memory| (memory, *program)));
        let mut starts: Vec<_> =
            all.filter(|(memory, program)| options.has(turn, scheduling, *memory, *program)).collect();
        fastrand::shuffle(&mut starts);
        for (memory, program) in starts {
            show(&format!("turn {} of {}: {memory}, {program}", turn + 1, options.turns));
            let measured = harness.turn(program, memory);
            let measured = measured.unwrap_or_else(|error| panic!("{program}, {memory}: {error}"));
            figures.add(scheduling, memory, program, measured);
        }
    }
    figures.others.insert(scheduling, begin.others_percent());
    show("");
}

/// For who looks on.
fn show(progress: &str) {
    if io::stderr().is_terminal() {
        eprint!("\r{progress:<100}\r");
    }
}
