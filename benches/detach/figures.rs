//! What was measured, and how it is shown.

use crate::programs::{Entry, Program};
use crate::turn::{Measured, Memory, Scheduling};
use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// All turns of all programs.
#[derive(Default)]
pub(crate) struct Figures {
    turns: BTreeMap<(Scheduling, Memory, Program), Vec<Measured>>,
    /// How much of all cores, in percent, others had meanwhile.
    pub(crate) others: BTreeMap<Scheduling, i64>,
}

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

    /// Whether the middle half of the turns lies so far apart that the median says little.
    pub(crate) fn is_wide(self) -> bool {
        const FIFTH: i64 = 5;
        (self.three_quarters - self.quarter) * FIFTH > self.median
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
    pub(crate) fn add(&mut self, scheduling: Scheduling, memory: Memory, program: Program, measured: Measured) {
        let Measured { faults, way, .. } = measured;
        assert!(
            !program.entry.is_handover() || faults == 0,
            "{program}, {memory}: no handover took place: {faults} faults, way {way}"
        );
        assert!(program.entry != Entry::HandoverReady || way == 1, "{program}: the way was {way}");
        self.turns.entry((scheduling, memory, program)).or_default().push(measured);
    }

    /// What that program took with that memory, if it was measured.
    pub(crate) fn spread(
        &self,
        scheduling: Scheduling,
        memory: Memory,
        program: Program,
        what: impl Fn(&Measured) -> i64,
    ) -> Option<Spread> {
        self.turns.get(&(scheduling, memory, program)).map(|measured| Spread::of(measured, what))
    }

    /// Whether the programs had to share the cores with others. Who went before others had not.
    pub(crate) fn is_disturbed(&self, scheduling: Scheduling) -> bool {
        const MOST: i64 = 5;
        scheduling == Scheduling::Usual && self.others.get(&scheduling).is_some_and(|percent| *percent > MOST)
    }

    /// A line for each turn.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        write!(file, "scheduling,program,resident_mib,given_back_mib,turn,")?;
        writeln!(file, "running_ns,exit_ns,launch_ns,touch_ns,faults,way")?;
        for ((scheduling, Memory { resident, used }, program), measured) in &self.turns {
            for (turn, one) in measured.iter().enumerate() {
                let Measured { running, exit, launch, touch, faults, way } = one;
                write!(file, "\"{scheduling}\",\"{program}\",{resident},{used},{turn},")?;
                writeln!(file, "{running},{exit},{launch},{touch},{faults},{way}")?;
            }
        }
        file.flush()
    }
}

/// A table for each size, the fastest first.
impl Display for Figures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "Microseconds: minimum, median (middle half of the turns). The end is the caller's.")?;
        let mut tables: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for ((scheduling, memory, program), measured) in &self.turns {
            tables.entry((scheduling, memory)).or_default().push((program, measured));
        }
        for ((scheduling, memory), mut rows) in tables {
            rows.sort_by_key(|(_, measured)| Spread::of(measured, |one| one.running).median);
            let others = self.others.get(scheduling).copied().unwrap_or_default();
            writeln!(formatter, "\n{memory}, {scheduling}; others had {others} % of all cores")?;
            row(formatter, "", "turns", ["call to running", "call to end", "launch to end", "first touch"], "faults")?;
            for (program, measured) in rows {
                let columns: [fn(&Measured) -> i64; 4] =
                    [|one| one.running, |one| one.exit, |one| one.launch, |one| one.touch];
                let columns = columns.map(|what| Spread::of(measured, what).to_string());
                let faults = Spread::of(measured, |one| one.faults).median.to_string();
                let turns = measured.len().to_string();
                row(formatter, &program.to_string(), &turns, columns.each_ref().map(String::as_str), &faults)?;
            }
        }
        Ok(())
    }
}

fn row(to: &mut fmt::Formatter<'_>, name: &str, turns: &str, columns: [&str; 4], faults: &str) -> fmt::Result {
    let [running, exit, launch, touch] = columns;
    writeln!(to, "{name:<53} {turns:>5}  {running:<27} {exit:<27} {launch:<34} {touch:<34} {faults:>6}")
}
