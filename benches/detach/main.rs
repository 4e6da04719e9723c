//! What it costs to become a daemon, side by side: `cargo bench --bench detach`.
//!
//! The same program (program.c), built once for each way of becoming a daemon and each C library, is started again and
//! again: every turn starts each of them once, with each size of memory, in an order of chance. So what else the machine
//! does hits all of them alike, and the minimum and the median can be compared.
//!
//! `cargo bench --bench detach -- OPTION…`:
//! - `--turns N` with each size up to 16 MiB; a hundredth of them, at least 3, with what is larger
//! - `--only WORD,…` of the programs' names
//! - `--realtime`: before all other processes (`SCHED_FIFO`), where that is allowed; for a machine that is busy
//! - `--check`: whether the promised figures hold; fewer turns and sizes

#![allow(clippy::expect_used, clippy::panic, clippy::std_instead_of_core, reason = "a benchmark has std, and may fail")]

mod check;
mod figures;
mod programs;
mod turn;

use figures::Figures;
use programs::Program;
use std::io::IsTerminal;
use std::path::Path;
use std::{env, fs, io, process};
use turn::{Harness, Memory};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

struct Options {
    turns: usize,
    only: Vec<String>,
    realtime: bool,
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
    let realtime = options.realtime && turn::go_before_others();
    let figures = race(&programs, &options, &out);
    figures.write(&out.join("turns.csv")).expect("target/detach/turns.csv");
    println!("{}", programs::machine(realtime));
    println!("{figures}");
    println!("Every turn: {}", out.join("turns.csv").display());
    if options.check && !check::all_hold(&figures) {
        process::exit(1);
    }
}

fn options() -> Options {
    let mut options = Options { turns: 300, only: Vec::new(), realtime: false, check: false };
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| panic!("{argument} wants a value"));
        match argument.as_str() {
            "--bench" => {} // cargo says so
            "--turns" => options.turns = value().parse().expect("a number of turns"),
            "--only" => options.only = value().split(',').map(str::to_owned).collect(),
            "--realtime" => options.realtime = true,
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
        named && (!self.check || Memory::SIZES.into_iter().any(|memory| check::needs(program, memory)))
    }

    /// Whether that turn has a start of it with that memory.
    fn has(&self, turn: usize, program: &Program, memory: Memory) -> bool {
        const LARGE: usize = 100;
        if self.check && !check::needs(program, memory) {
            return false;
        }
        // That caches are cold is worth a look only where nothing else depends on the size.
        if memory.used > 0 && !program.entry.is_handover() {
            return false;
        }
        memory.resident + memory.used <= 16 || turn % LARGE == 0 || turn < 3
    }
}

/// All turns.
fn race(programs: &[Program], options: &Options, out: &Path) -> Figures {
    let mut harness = Harness::new();
    let mut figures = Figures::default();
    for turn in 0..options.turns {
        let all = programs.iter().flat_map(|program| Memory::SIZES.into_iter().map(move |memory| (*program, memory)));
        let mut starts: Vec<_> = all.filter(|(program, memory)| options.has(turn, program, *memory)).collect();
        fastrand::shuffle(&mut starts);
        for (program, memory) in starts {
            show(&format!("turn {} of {}: {memory} {program}", turn + 1, options.turns));
            let measured = harness.turn(&program.path(out), memory);
            figures.add(program, memory, measured.unwrap_or_else(|error| panic!("{program}, {memory}: {error}")));
        }
    }
    show("");
    figures
}

/// For who looks on.
fn show(progress: &str) {
    if io::stderr().is_terminal() {
        eprint!("\r{progress:<100}\r");
    }
}
