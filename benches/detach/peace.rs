//! What else the machine does meanwhile.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::fs;

/// Processor time since the machine and this process were started, in milliseconds.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    all: i64,
    busy: i64,
    ours: i64,
}

impl Times {
    pub(crate) fn now() -> Self {
        let stat = fs::read_to_string("/proc/stat").expect("/proc/stat");
        let line = stat.lines().next().unwrap_or_default();
        // proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal, in hundredths of a second.
        let ticks: Vec<i64> = line.split_whitespace().skip(1).take(8).map(|word| word.parse().unwrap_or(0)).collect();
        let all: i64 = ticks.iter().sum();
        let idle: i64 = ticks.iter().skip(3).take(2).sum();
        let ours = [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN].map(|who| {
            let usage = getrusage(who).expect("a usage");
            usage.user_time().num_milliseconds() + usage.system_time().num_milliseconds()
        });
        Self { all: all * 10, busy: (all - idle) * 10, ours: ours.iter().sum() }
    }

    /// How much of all cores, in percent, others have had since.
    pub(crate) fn others_percent(self) -> i64 {
        let now = Self::now();
        let others = (now.busy - self.busy) - (now.ours - self.ours);
        (others * 100 / (now.all - self.all).max(1)).max(0)
    }
}
