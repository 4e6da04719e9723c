//! Whether the promised figures hold.

use crate::figures::{Figures, Spread};
use crate::programs::{Build, Entry, Program};
use crate::turn::{Measured, Memory, Scheduling};
use std::ops::RangeInclusive;

/// What takes long is compared where nothing else gets in the way. What takes no time is compared where it is all the
/// same what else runs, on one core; and as users have it, if the machine has the peace for that.
pub(crate) const SCHEDULINGS: [Scheduling; 3] = [Scheduling::First, Scheduling::FirstOnOneCore, Scheduling::Usual];

/// Whether the promises need that program.
pub(crate) fn needs(program: &Program) -> bool {
    Memory::SIZES
        .into_iter()
        .any(|memory| SCHEDULINGS.into_iter().any(|scheduling| needs_start(scheduling, memory, *program)))
}

/// And that start of it.
pub(crate) fn needs_start(scheduling: Scheduling, memory: Memory, program: Program) -> bool {
    let long = scheduling == Scheduling::First;
    match memory {
        Memory::NONE => long && HANDOVER.contains(&program) || !long && is_short(program),
        Memory::MOST => long && (HANDOVER.contains(&program) || DOUBLE_FORKS.contains(&program)),
        Memory::NONE_ANY_MORE => long && HANDOVER.contains(&program),
        _ => false,
    }
}

const fn program(entry: Entry, build: Build) -> Program {
    Program { entry, build }
}

/// Each backend's: in a program as programs are, and in one without a C library.
const HANDOVER: [Program; 2] = [program(Entry::Handover, Build::Glibc), program(Entry::Handover, Build::NoLibc)];

const MUSL: Program = program(Entry::Daemon3, Build::Musl);
const MUSL_STATIC: Program = program(Entry::Daemon3, Build::MuslStatic);

/// How many times what the other takes the one may take, without memory. Like is compared with like: a program that a
/// dynamic linker has put together has more to copy.
const SHORT: [(Program, Program, f64); 5] = [
    (program(Entry::Handover, Build::Glibc), MUSL, 1.0),
    (program(Entry::Handover, Build::NoLibc), MUSL_STATIC, 1.0),
    (program(Entry::Forks, Build::Musl), MUSL, 1.15),
    (program(Entry::Forks, Build::MuslStatic), MUSL_STATIC, 1.15),
    (program(Entry::Forks, Build::NoLibc), MUSL_STATIC, 1.15),
];

/// The fastest that fork twice; and one that is not correct, but has as much to copy.
const DOUBLE_FORKS: [Program; 5] = [
    program(Entry::Minimal, Build::Glibc),
    program(Entry::Minimal, Build::GlibcStatic),
    program(Entry::Minimal, Build::Musl),
    program(Entry::Minimal, Build::MuslStatic),
    MUSL_STATIC,
];

fn is_short(program: Program) -> bool {
    let like = SHORT.iter().flat_map(|(one, other, _)| [one, other]);
    like.chain(UNLIKE.iter().flat_map(|(one, other)| [one, other])).any(|it| *it == program)
}

type What = fn(&Measured) -> i64;
const RUNNING: What = |one| one.running;
const TOUCH: What = |one| one.touch;

/// What is told and not judged, since other things than the two sequences make the difference: the copying of the
/// dynamic linker's work.
const UNLIKE: [(Program, Program); 2] =
    [(program(Entry::Handover, Build::Glibc), MUSL_STATIC), (program(Entry::Forks, Build::Glibc), MUSL_STATIC)];

struct Check<'a> {
    figures: &'a Figures,
    all_hold: bool,
}

/// Says of each promise whether it holds: whether all do. What could not be measured is said too.
pub(crate) fn all_hold(figures: &Figures) -> bool {
    let mut check = Check { figures, all_hold: true };
    for handover in HANDOVER {
        check.with_memory(handover);
    }
    for (one, other, most) in SHORT {
        for scheduling in [Scheduling::FirstOnOneCore, Scheduling::Usual] {
            let of = |program| figures.spread(scheduling, Memory::NONE, program, RUNNING);
            let what = format!("0 MiB, {scheduling}: call to running, {one} : {other}");
            match (of(one), of(other)) {
                (Some(one), Some(other)) if figures.is_disturbed(scheduling) || one.is_wide() || other.is_wide() => {
                    println!("SKIPPED  {what}: the machine is too busy: {one} : {other}");
                }
                (one, other) => check.ratio(&what, one, other, 0.0..=most),
            }
        }
    }
    for (one, other) in UNLIKE {
        let scheduling = Scheduling::FirstOnOneCore;
        let of = |program| figures.spread(scheduling, Memory::NONE, program, RUNNING);
        tell(&format!("0 MiB, {scheduling}: call to running, {one} : {other}"), of(one), of(other));
    }
    check.all_hold
}

/// Of the medians, and of the minima.
#[expect(clippy::cast_precision_loss, reason = "nanoseconds")]
fn ratios(one: Spread, other: Spread) -> [f64; 2] {
    [(one.median, other.median), (one.minimum, other.minimum)].map(|(one, other)| one as f64 / other as f64)
}

/// A figure that is not promised so.
fn tell(what: &str, one: Option<Spread>, other: Option<Spread>) {
    let (Some(one), Some(other)) = (one, other) else { return };
    let [ratio, of_minima] = ratios(one, other);
    println!("told     {what}: {ratio:.2} (of the minima {of_minima:.2})");
}

impl Check<'_> {
    fn with_memory(&mut self, handover: Program) {
        let of = |memory, program, what: What| self.figures.spread(Scheduling::First, memory, program, what);
        let fastest = |what: What| {
            let all = DOUBLE_FORKS.into_iter().filter_map(|program| of(Memory::MOST, program, what));
            all.min_by_key(|spread| spread.median)
        };
        let (forked, touched) = (fastest(RUNNING), fastest(TOUCH));
        let [running, touch] = [RUNNING, TOUCH].map(|what| of(Memory::MOST, handover, what));
        let [none, cold] = [Memory::NONE, Memory::NONE_ANY_MORE].map(|memory| of(memory, handover, RUNNING));
        let double_fork = "the fastest double fork";
        self.ratio(&format!("1 GiB: call to running, {double_fork} : {handover}"), forked, running, 100.0..=f64::MAX);
        self.ratio(&format!("1 GiB: first touch, {double_fork} : {handover}"), touched, touch, 20.0..=f64::MAX);
        // A program that has just filled 1 GiB finds nothing in the caches, whatever it does next. So does one that gave
        // it back.
        let what = format!("call to running, 1 GiB : 0 MiB, {handover}");
        self.ratio(&format!("{what}, caches as cold"), running, cold, 0.0..=2.0);
        tell(&format!("{what}, caches warm"), running, none);
    }

    /// Of the medians; that of the minima is told too.
    fn ratio(&mut self, what: &str, one: Option<Spread>, other: Option<Spread>, wanted: RangeInclusive<f64>) {
        let (Some(one), Some(other)) = (one, other) else {
            println!("SKIPPED  {what}: not measured");
            return;
        };
        let [ratio, of_minima] = ratios(one, other);
        let holds = wanted.contains(&ratio);
        let (least, most) = wanted.into_inner();
        let promised = if least > 0.0 { format!("at least {least}") } else { format!("at most {most}") };
        let verdict = if holds { "ok     " } else { "FAILED " };
        println!("{verdict}  {what}: {ratio:.2} ({promised}; of the minima {of_minima:.2})");
        self.all_hold &= holds;
    }
}
