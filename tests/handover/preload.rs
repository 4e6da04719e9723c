//! Real programs, unchanged, that a preloaded library makes daemons of before they have done anything: their whole output
//! and status are those of an ordinary run.

use super::super::harness::c::{finish, skipped};
use super::super::harness::{End, ROOT, Scratch};
use super::programs::library;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Where a program is that can be preloaded into: not a script.
fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).map(|directory| directory.join(name)).find(|path| is_elf(path))
}

fn is_elf(path: &Path) -> bool {
    let mut magic = [0; 4];
    fs::File::open(path).is_ok_and(|mut file| file.read_exact(&mut magic).is_ok()) && magic == *b"\x7fELF"
}

/// Every run in a directory of its own, as if it were the first.
fn run(program: &Path, arguments: &[&str], how: Option<&str>) -> (End, Vec<String>) {
    let scratch = Scratch::new();
    let way = scratch.file("way");
    // Nobody but the program itself is to be preloaded into.
    let mut command = Command::new("env");
    command.current_dir(scratch.path()).arg("LC_ALL=C").arg(format!("HOME={}", scratch.path().display()));
    if let Some(how) = how {
        command.arg(format!("LD_PRELOAD={}", library("preloaded.so").display()));
        command.args([format!("UNTTY_HOW={how}"), format!("UNTTY_WAY_FILE={way}")]);
    }
    command.arg(program).args(arguments);
    let (caller, said, orphans) = finish(&command);
    let Some(how) = how else { return (caller, said) };
    assert_eq!(caller, End::Exited(0), "{program:?}: {said:?}");
    let expected = if how == "handover" { "1" } else { "0" };
    assert_eq!(fs::read_to_string(way).expect("it tells its way"), expected, "{program:?}: {said:?}");
    (orphans.first().expect("a daemon").1, said)
}

fn assert_runs_as_ever(name: &str, arguments: &[&str], status: i32) -> bool {
    let Some(program) = find(name) else {
        skipped("preloaded", &format!("there is no {name}"));
        return false;
    };
    let (end, said) = run(&program, arguments, None);
    assert_eq!(end, End::Exited(status), "{name}, an ordinary run: {said:?}");
    assert!(!said.is_empty(), "{name} says something");
    for how in ["forks", "handover"] {
        let (daemon, told) = run(&program, arguments, Some(how));
        assert_eq!(told, said, "{name}: {how}");
        assert_eq!(daemon, end, "{name}: {how}: {said:?}");
    }
    true
}

pub fn python() {
    let script = Path::new(ROOT).join("tests/handover/program.py");
    assert_runs_as_ever("python3", &[script.to_str().expect("text")], 7);
}

const BASH: &str = r#"
trap 'echo exit' EXIT; trap 'echo usr1' USR1
kill -USR1 $$
{ echo from a group; } | sed s/group/pipe/
(exit 3); echo $?
for i in 1 2 3; do (exit $i) & wait $!; echo "job $?"; done
mapfile -t lines < <(seq 5); echo "${#lines[@]} ${lines[4]}"
coproc cat; echo hello >&"${COPROC[1]}"; read -r answer <&"${COPROC[0]}"; echo "$answer"; kill $COPROC_PID
[ "$BASHPID" = $$ ] && echo its own
exit 5
"#;

const PERL: &str = r#"
$SIG{USR1} = sub { print "usr1\n" }; $| = 1; kill USR1 => $$;
my $child = fork // die; if (!$child) { print "child\n"; exit 3 } waitpid $child, 0; print $? >> 8, "\n";
print `echo backticks`; print system("exit 4") >> 8, "\n";
eval { die "thrown\n" }; print $@;
open my $pipe, "-|", "seq 3" or die; print while <$pipe>; close $pipe;
my %h = map { $_ => $_ ** 2 } 1 .. 50000; my $sum = 0; $sum += $_ for values %h; print "$sum\n";
local $SIG{ALRM} = sub { die "alarm\n" }; eval { alarm 1; select undef, undef, undef, 60 }; print $@; exit 6;
"#;

const SQL: &str = "create table t(a integer primary key, b text);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000) insert into t select i, hex(i) from n;
create index x on t(b); select count(*), sum(a), max(b) from t where b like '3%';
begin; delete from t where a % 2; rollback; select count(*) from t;";

const JAVASCRIPT: &str = r#"
const { Worker, isMainThread, parentPort } = require("worker_threads");
const { execFileSync } = require("child_process");
console.log(execFileSync("sh", ["-c", "echo child"]).toString().trim());
const worker = new Worker("require('worker_threads').parentPort.postMessage([...Array(1000).keys()].reduce((a, b) => a + b))",
    { eval: true });
worker.on("message", sum => { console.log(sum); require("fs").readFile("/etc/passwd", error => { console.log(error);
    setTimeout(() => process.exit(8), 1); }); });
"#;

const AWK: &str = r#"BEGIN { while (("seq 1000" | getline n) > 0) sum += n; print sum; system("echo shell");
print "b\na" | "sort"; close("sort"); exit 9 }"#;

pub fn programs() {
    let sorted = "seq 300000 | awk '{ print $1 % 1000 }' >numbers; exec \"$0\" --parallel=4 -n -u numbers";
    let mut count = 0;
    for (name, arguments, status) in [
        ("bash", &["-c", BASH][..], 5),
        ("perl", &["-e", PERL], 6),
        ("sqlite3", &[":memory:", SQL, ".shell echo shell"], 0),
        ("awk", &[AWK], 9),
        ("openssl", &["speed", "-help"], 0),
        ("openssl", &["dgst", "-sha256", "/bin/sh"], 0),
        ("node", &["-e", JAVASCRIPT], 8),
        ("git", &["-c", "alias.twice=!git --version; git --version; exit 3", "twice"], 3),
        ("sh", &["-c", sorted, "sort"], 0),
        ("make", &["-s", "-j4", "-f", "/dev/null", "--eval", "all: a b c; @echo $^\na b c:; @sh -c 'exit 0'"], 0),
        ("gdb", &["-nx", "-batch", "-ex", "print 6 * 7", "-ex", "shell echo shell"], 0),
        ("find", &["/etc/apt", "-maxdepth", "1", "-name", "s*", "-exec", "echo", "{}", ";"], 0),
    ] {
        count += u32::from(assert_runs_as_ever(name, arguments, status));
    }
    assert!(count > 3, "only {count} programs are here");
}
