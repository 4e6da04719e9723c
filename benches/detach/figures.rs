//! What was measured, and how it is shown.

use crate::programs::{Entry, Program};
use crate::turn::{Measured, Memory};
use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// All turns of all programs.
#[derive(Default)]
pub(crate) struct Figures(BTreeMap<(Memory, Program), Vec<Measured>>);

/// Of one thing, in all turns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) minimum: i64,
    pub(crate) quarter: i64,
    pub(crate) median: i64,
    pub(crate) three_quarters: i64,
}

impl Spread {
    fn of(measured: &[Measured], what: impl Fn(&Measured) -> i64) -> Self {
        let mut values: Vec<_> = measured.iter().map(what).collect();
        values.sort_unstable();
        let at = |quarter: usize| values.get((values.len() - 1) * quarter / 4).copied().unwrap_or_default();
        Self { minimum: at(0), quarter: at(1), median: at(2), three_quarters: at(3) }
    }
}

/// In microseconds: the minimum, the median, and where the middle half of the turns lies.
impl Display for Spread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [minimum, quarter, median, three_quarters] =
            [self.minimum, self.quarter, self.median, self.three_quarters].map(microseconds);
        formatter.pad(&format!("{minimum} {median} ({quarter}–{three_quarters})"))
    }
}

fn microseconds(nanoseconds: i64) -> String {
    let tenths = (nanoseconds + 50) / 100;
    if tenths < 1000 { format!("{}.{}", tenths / 10, tenths % 10) } else { (tenths / 10).to_string() }
}

impl Figures {
    /// A turn, in which handover took place where it should have: that shows in the pages that were not copied.
    pub(crate) fn add(&mut self, program: Program, memory: Memory, measured: Measured) {
        let Measured { faults, way, .. } = measured;
        assert!(
            !program.entry.is_handover() || faults == 0,
            "{program}, {memory}: no handover took place: {faults} faults, way {way}"
        );
        assert!(program.entry != Entry::HandoverReady || way == 1, "{program}: the way was {way}");
        self.0.entry((memory, program)).or_default().push(measured);
    }

    /// What that program took with that memory, if it was measured.
    pub(crate) fn spread(&self, program: Program, memory: Memory, what: impl Fn(&Measured) -> i64) -> Option<Spread> {
        self.0.get(&(memory, program)).map(|measured| Spread::of(measured, what))
    }

    /// A line for each turn.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        writeln!(file, "program,resident_mib,given_back_mib,turn,running_ns,exit_ns,launch_ns,touch_ns,faults,way")?;
        for ((memory, program), measured) in &self.0 {
            for (turn, one) in measured.iter().enumerate() {
                let Measured { running, exit, launch, touch, faults, way } = one;
                let Memory { resident, used } = memory;
                writeln!(
                    file,
                    "\"{program}\",{resident},{used},{turn},{running},{exit},{launch},{touch},{faults},{way}"
                )?;
            }
        }
        file.flush()
    }
}

/// A table for each size, the fastest first.
impl Display for Figures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "Microseconds: minimum, median (middle half of the turns).")?;
        for memory in Memory::SIZES {
            let mut rows: Vec<_> = self.0.iter().filter(|((has, _), _)| *has == memory).collect();
            rows.sort_by_key(|(_, measured)| Spread::of(measured, |one| one.running).median);
            if rows.is_empty() {
                continue;
            }
            writeln!(
                formatter,
                "\n{:<54} {:>5}  {:<30} {:<30} {:<30} {:<36} {:>7}",
                format!("{memory} resident"),
                "turns",
                "call to running",
                "call to caller's end",
                "launch to caller's end",
                "first touch",
                "faults"
            )?;
            for ((_, program), measured) in rows {
                writeln!(
                    formatter,
                    "{:<54} {:>5}  {:<30} {:<30} {:<30} {:<36} {:>7}",
                    program,
                    measured.len(),
                    Spread::of(measured, |one| one.running),
                    Spread::of(measured, |one| one.exit),
                    Spread::of(measured, |one| one.launch),
                    Spread::of(measured, |one| one.touch),
                    Spread::of(measured, |one| one.faults).median
                )?;
            }
        }
        Ok(())
    }
}
