//! What is said of a sweep.

use super::inject::Fault;
use super::plans::Plan;
use std::collections::BTreeMap;

/// What came of a sweep.
pub struct Report {
    counts: BTreeMap<String, [usize; 7]>,
    /// Where the promise ends, and how often that was met.
    limits: BTreeMap<String, usize>,
    once: Vec<String>,
    pub broken: Vec<String>,
}

impl Report {
    pub fn of(plans: &[Plan], jobs: &[(usize, Fault)], said: &[String]) -> Self {
        let mut report = Self { counts: BTreeMap::new(), limits: BTreeMap::new(), once: vec![], broken: vec![] };
        for ((plan, fault), said) in jobs.iter().zip(said) {
            let name = &plans[*plan].name;
            let column = ["success", "failure", "killed", "unmet", "limit", "once"]
                .iter()
                .position(|word| said.split('\t').next() == Some(word))
                .unwrap_or(6);
            report.counts.entry(name.clone()).or_default()[column] += 1;
            if let ("limit", why) = said.split_once('\t').unwrap_or_default() {
                *report.limits.entry(why.to_owned()).or_default() += 1;
            }
            let line = || format!("UNTTY_FAULT='{name} | {fault}': {said}");
            match column {
                // What a machine that is too busy may do.
                5 if ["hangs", "ETIMEDOUT", "too long"].iter().any(|slow| said.contains(slow)) => {
                    report.once.push(line())
                }
                5 => report.broken.push(line()),
                6 => report.broken.push(line()),
                _ => {}
            }
        }
        report
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for word in ["success", "failure", "killed", "unmet", "limit", "once", "broken"] {
            write!(formatter, "{word:>9} ")?;
        }
        writeln!(formatter)?;
        let mut total = [0; 7];
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
        self.once.iter().chain(&self.broken).try_for_each(|line| writeln!(formatter, "{line}"))
    }
}
