//! What a process is, seen from outside: all that a daemonizer could change or forget, as `/proc` tells it.

use std::collections::BTreeMap;
use std::fs;

/// Key and value of everything.
pub type Look = BTreeMap<String, String>;

pub fn at(pid: i32) -> Look {
    let mut look = Look::new();
    let stat = crate::harness::stat_fields(pid).unwrap_or_default();
    let fields =
        [(0, "state"), (1, "parent"), (2, "group"), (3, "session"), (4, "terminal"), (15, "priority"), (16, "nice")];
    for (index, key) in fields {
        look.insert(key.to_owned(), stat.get(index).cloned().unwrap_or_default());
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let wanted = [
        "Umask",
        "Uid",
        "Gid",
        "Groups",
        "Threads",
        "SigPnd",
        "ShdPnd",
        "SigBlk",
        "SigIgn",
        "SigCgt",
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
    ];
    for (key, value) in status.lines().filter_map(|line| line.split_once(':')) {
        if wanted.contains(&key) {
            look.insert(key.to_owned(), value.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    for key in ["limits", "oom_score_adj"] {
        look.insert(key.to_owned(), fs::read_to_string(format!("/proc/{pid}/{key}")).unwrap_or_default());
    }
    for key in ["cwd", "root"] {
        look.insert(key.to_owned(), link(&format!("/proc/{pid}/{key}")));
    }
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
        let number = entry.file_name().into_string().unwrap_or_default();
        let information = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap_or_default();
        let flags = information.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or_default();
        let target = link(&format!("/proc/{pid}/fd/{number}"));
        look.insert(format!("fd {number}"), format!("{target} {}", flags.trim()));
    }
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    look.insert("children".to_owned(), children.trim().to_owned());
    look
}

fn link(path: &str) -> String {
    fs::read_link(path).map_or_else(|_| "none".to_owned(), |target| target.display().to_string())
}

pub fn parent(pid: i32) -> Option<i32> {
    crate::harness::stat_fields(pid)?.get(1)?.parse().ok()
}

/// Its state, if it is there and no zombie: `proc_pid_stat(5)`.
pub fn living_state(pid: i32) -> Option<String> {
    let state = crate::harness::stat_fields(pid)?.swap_remove(0);
    (state != "Z" && state != "X").then_some(state)
}

/// Whether it is stopped by who traces it.
pub fn is_stopped(pid: i32) -> bool {
    crate::harness::stat_fields(pid).is_some_and(|fields| fields[0] == "t")
}

/// Where the program begins when its loader is done: `AT_ENTRY`, see `getauxval(3)`.
pub fn entry_point(pid: i32) -> Option<u64> {
    const AT_ENTRY: u64 = 9;
    let bytes = fs::read(format!("/proc/{pid}/auxv")).ok()?;
    let words: Vec<u64> =
        bytes.chunks_exact(8).filter_map(|chunk| chunk.try_into().ok()).map(u64::from_ne_bytes).collect();
    words.chunks_exact(2).find(|pair| pair[0] == AT_ENTRY).map(|pair| pair[1])
}
