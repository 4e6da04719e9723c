//! Whether the promised figures hold.

use crate::figures::{Figures, Spread};
use crate::programs::{Build, Entry, Program};
use crate::turn::{Measured, Memory};

/// Whether the promises need that program with that memory.
pub(crate) fn needs(program: &Program, memory: Memory) -> bool {
    match memory {
        Memory::NONE => HANDOVER.contains(program) || FORKS.contains(program) || *program == MUSL,
        Memory::MOST => HANDOVER.contains(program) || DOUBLE_FORKS.contains(program),
        Memory::NONE_ANY_MORE => HANDOVER.contains(program),
        _ => false,
    }
}

const fn program(entry: Entry, build: Build) -> Program {
    Program { entry, build }
}

/// Each backend's: in a program as programs are, and in one without a C library.
const HANDOVER: [Program; 2] = [program(Entry::Handover, Build::Glibc), program(Entry::Handover, Build::NoLibc)];

/// Each backend's, in programs of the kind that musl's is in: static, with little memory of their own.
const FORKS: [Program; 2] = [program(Entry::Forks, Build::MuslStatic), program(Entry::Forks, Build::NoLibc)];

const MUSL: Program = program(Entry::Daemon3, Build::MuslStatic);

/// The fastest that fork twice; and one that is not correct, but has as much to copy.
const DOUBLE_FORKS: [Program; 5] = [
    program(Entry::Minimal, Build::Glibc),
    program(Entry::Minimal, Build::GlibcStatic),
    program(Entry::Minimal, Build::Musl),
    program(Entry::Minimal, Build::MuslStatic),
    MUSL,
];

const RUNNING: fn(&Measured) -> i64 = |one| one.running;
const TOUCH: fn(&Measured) -> i64 = |one| one.touch;

struct Check<'a> {
    figures: &'a Figures,
    all_hold: bool,
}

/// Says of each promise whether it holds: whether all do. What cannot be measured is said too, and holds nothing.
pub(crate) fn all_hold(figures: &Figures) -> bool {
    let mut check = Check { figures, all_hold: true };
    for handover in HANDOVER {
        check.ratio(
            &format!("1 GiB: call to running, the fastest double fork : {handover}"),
            check.fastest(&DOUBLE_FORKS, Memory::MOST, RUNNING),
            check.of(handover, Memory::MOST, RUNNING),
            100.0..f64::INFINITY,
        );
        check.ratio(
            &format!("1 GiB: first touch, the fastest double fork : {handover}"),
            check.fastest(&DOUBLE_FORKS, Memory::MOST, TOUCH),
            check.of(handover, Memory::MOST, TOUCH),
            20.0..f64::INFINITY,
        );
        check.ratio(
            &format!("{handover}: call to running, 1 GiB : 0 MiB with caches as cold"),
            check.of(handover, Memory::MOST, RUNNING),
            check.of(handover, Memory::NONE_ANY_MORE, RUNNING),
            0.0..2.0,
        );
    }
    for (programs, most) in [(HANDOVER, 1.0), (FORKS, 1.15)] {
        for program in programs {
            check.ratio(
                &format!("0 MiB: call to running, {program} : {MUSL}"),
                check.of(program, Memory::NONE, RUNNING),
                check.of(MUSL, Memory::NONE, RUNNING),
                0.0..most,
            );
        }
    }
    check.all_hold
}

impl Check<'_> {
    fn of(&self, program: Program, memory: Memory, what: fn(&Measured) -> i64) -> Option<Spread> {
        self.figures.spread(program, memory, what)
    }

    fn fastest(&self, programs: &[Program], memory: Memory, what: fn(&Measured) -> i64) -> Option<Spread> {
        programs.iter().filter_map(|program| self.of(*program, memory, what)).min_by_key(|spread| spread.median)
    }

    /// Of the medians; that of the minima is told too.
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds")]
    fn ratio(&mut self, what: &str, one: Option<Spread>, other: Option<Spread>, wanted: std::ops::Range<f64>) {
        let (Some(one), Some(other)) = (one, other) else {
            println!("SKIPPED  {what}: not measured");
            return;
        };
        let [ratio, of_minima] =
            [(one.median, other.median), (one.minimum, other.minimum)].map(|(one, other)| one as f64 / other as f64);
        let holds = wanted.contains(&ratio);
        let promised = if wanted.end.is_finite() {
            format!("at most {}", wanted.end)
        } else {
            format!("at least {}", wanted.start)
        };
        let verdict = if holds { "ok     " } else { "FAILED " };
        println!("{verdict}  {what}: {ratio:.2} ({promised}; of the minima {of_minima:.2})");
        self.all_hold &= holds;
    }
}
