//! What the sweep has found, each a test by its name: a place in a start, what goes wrong there, and what must come of it.

use super::calls;
use super::inject::{Extent, Fault, Role, What};
use super::plans::{self, DAEMON_3};
use super::worker::Worker;
use crate::harness::Test;

pub const TESTS: &[Test] = &[
    ("the_table_of_errnos_is_sound", the_table_of_errnos_is_sound),
    ("what_daemon_3_hides_is_found", what_daemon_3_hides_is_found),
    ("a_leader_is_killed_in_another_way_where_one_is_forbidden", a_leader_is_killed_in_another_way),
    ("a_leader_that_goes_by_itself_is_reaped_all_the_same", a_leader_that_goes_by_itself_is_reaped_all_the_same),
    ("a_leader_that_is_reaped_is_not_waited_for", a_leader_that_is_reaped_is_not_waited_for),
    ("a_leader_that_is_not_reaped_at_once_is_reaped_later", a_leader_that_is_not_reaped_at_once_is_reaped_later),
    ("a_leader_that_cannot_wait_ends_no_daemon_that_is_ready", a_leader_that_cannot_wait_ends_no_daemon_that_is_ready),
    ("a_report_that_cannot_be_guarded_is_made_all_the_same", a_report_that_cannot_be_guarded_is_made_all_the_same),
    ("a_report_that_fails_is_told_of", a_report_that_fails_is_told_of),
    ("a_mask_is_put_back_at_the_second_try", a_mask_is_put_back_at_the_second_try),
    ("a_daemon_that_cannot_put_sigchld_back_tells_why", a_daemon_that_cannot_put_sigchld_back_tells_why),
    ("a_socket_that_cannot_be_read_is_no_loop", a_socket_that_cannot_be_read_is_no_loop),
    ("a_session_that_cannot_be_asked_for_is_told", a_session_that_cannot_be_asked_for_is_told),
    ("an_exec_that_a_filter_hides_is_no_success", an_exec_that_a_filter_hides_is_no_success),
    ("a_pid_file_is_put_back_where_nobody_may_wait", a_pid_file_is_put_back_where_nobody_may_wait),
    ("a_pid_file_is_made_under_interruptions", a_pid_file_is_made_under_interruptions),
    ("a_program_is_found_under_interruptions", a_program_is_found_under_interruptions),
    ("a_descriptor_that_cannot_be_asked_for_is_told_with_its_errno", a_descriptor_is_told_with_its_errno),
];

/// The places of that call of that process where that goes wrong, in a plan.
fn places(plan: &str, role: &str, call: &str, what: What, extent: Extent) -> (usize, Vec<Fault>) {
    let index = plans::all().iter().position(|it| it.name == plan).expect("a plan of that name");
    let role = Role::parse(role).expect("a role");
    let here = |fault: &Fault| {
        fault.role == role && calls::name(fault.call) == call && fault.what == what && fault.extent == extent
    };
    let faults = Worker::start().faults(index).expect("it is proven");
    (index, faults.into_iter().filter(here).collect())
}

/// What comes of each.
fn outcomes(plan: &str, role: &str, call: &str, what: What, extent: Extent) -> Vec<String> {
    let outcomes = outcomes_if_any(plan, role, call, what, extent);
    assert!(!outcomes.is_empty(), "{role} makes no call {call}");
    outcomes
}

/// The same, of calls that are not made every time (a leader may be killed a little sooner).
fn outcomes_if_any(plan: &str, role: &str, call: &str, what: What, extent: Extent) -> Vec<String> {
    let (index, faults) = places(plan, role, call, what, extent);
    let mut worker = Worker::start();
    faults.iter().map(|fault| worker.ask(&format!("{index}\t{fault}"))).filter(|said| said != "unmet").collect()
}

const EVERYWHERE: [Extent; 2] = [Extent::Once, Extent::Persistent];

const PLAIN: &str = "untty {PARK}";
const NOTIFY: &str = "untty -n -t 2 {PARK}";
const NEWLINE: &str = "untty -R 7 -t 2 {PARK} -R 7";
const NEW_PID_FILE: &str = "untty -p {S}/new -o {S}/log -e {S}/errors -i {S}/input {PARK}";

fn the_table_of_errnos_is_sound() {
    assert!(calls::is_sound());
}

/// The yardstick measures: where daemon(3) claims a daemon that is not there, that is seen.
fn what_daemon_3_hides_is_found() {
    for call in ["setsid", "chdir"] {
        let said = outcomes(DAEMON_3, "leader", call, What::Errno(libc::EPERM), Extent::Once);
        assert!(said.iter().all(|said| said.starts_with("lie")), "{said:?}");
    }
    let said = outcomes(DAEMON_3, "caller", "clone", What::Errno(libc::EAGAIN), Extent::Once);
    assert_eq!(said, ["true"]);
}

/// It watches a program that is ready; when the caller is gone, it would end it.
fn a_leader_is_killed_in_another_way() {
    for plan in [NOTIFY, NEWLINE] {
        for extent in EVERYWHERE {
            let said = outcomes(plan, "caller", "kill", What::Errno(libc::EPERM), extent);
            assert!(said.iter().all(|said| said == "success"), "{said:?}");
        }
    }
}

fn a_leader_that_goes_by_itself_is_reaped_all_the_same() {
    for extent in EVERYWHERE {
        for plan in [PLAIN, "rust return", "rust return, spawn {PARK}"] {
            let said = outcomes(plan, "caller", "kill", What::Errno(libc::EPERM), extent);
            assert!(said.iter().all(|said| said == "success"), "{said:?}");
        }
    }
}

/// Nor is it asked for again: its number may be another child's by then.
fn a_leader_that_is_reaped_is_not_waited_for() {
    for plan in [PLAIN, "rust return"] {
        let said = outcomes_if_any(plan, "caller", "nanosleep", What::Errno(libc::EPERM), Extent::Once);
        assert!(said.is_empty(), "{plan}: {said:?}");
    }
}

fn a_leader_that_is_not_reaped_at_once_is_reaped_later() {
    let said = outcomes("rust return", "caller", "waitid", What::Errno(libc::ENOMEM), Extent::Once);
    assert!(said.iter().all(|said| said == "success"), "{said:?}");
}

/// It tells of it, and the caller decides: it may know already that the program is ready.
fn a_leader_that_cannot_wait_ends_no_daemon_that_is_ready() {
    for plan in [NOTIFY, NEWLINE] {
        for extent in EVERYWHERE {
            let said = outcomes_if_any(plan, "leader", "ppoll", What::Errno(libc::ENOMEM), extent);
            let is_true = |said: &String| said == "success" || said == "failure\twait\tENOMEM";
            assert!(said.iter().all(is_true), "{said:?}");
        }
    }
}

/// Against SIGPIPE. A mask that the daemon cannot set at all is another matter.
fn a_report_that_cannot_be_guarded_is_made_all_the_same() {
    for call in ["rt_sigprocmask", "rt_sigpending"] {
        let said = outcomes("rust return", "daemon", call, What::Errno(libc::EPERM), Extent::Once);
        assert!(said.iter().all(|said| said == "success" || said == "failure\tsignals\tEPERM"), "{said:?}");
        assert_eq!(
            said.iter().filter(|said| *said == "success").count(),
            if call == "rt_sigpending" { 1 } else { 3 },
            "{said:?}"
        );
    }
}

fn a_report_that_fails_is_told_of() {
    let said = outcomes(PLAIN, "leader", "write", What::Errno(libc::EIO), Extent::Once);
    assert_eq!(said, ["failure\tready\tEIO"]);
}

fn a_mask_is_put_back_at_the_second_try() {
    let said = outcomes("rust return", "caller", "rt_sigprocmask", What::Errno(libc::EPERM), Extent::Once);
    assert!(said.iter().all(|said| said == "success" || said == "failure\tsignals\tEPERM"), "{said:?}");
    assert_eq!(said.last().map(String::as_str), Some("success"));
}

/// The leader, which waits for the end of a pipe of the daemon's, must not end it before it has told.
fn a_daemon_that_cannot_put_sigchld_back_tells_why() {
    for plan in [PLAIN, NOTIFY] {
        let said = outcomes(plan, "daemon", "rt_sigaction", What::Errno(libc::EPERM), Extent::Once);
        assert!(said.iter().all(|said| said == "failure\tsignals\tEPERM"), "{said:?}");
    }
}

fn a_socket_that_cannot_be_read_is_no_loop() {
    let said = outcomes(NOTIFY, "caller", "recvmsg", What::Errno(libc::ENOTCONN), Extent::Persistent);
    assert!(said.iter().all(|said| said == "failure\tnotify\tENOTCONN" || said == "success"), "{said:?}");
}

/// Not waited for until the deadline, which there may not be.
fn a_session_that_cannot_be_asked_for_is_told() {
    let said = outcomes(NOTIFY, "caller", "getsid", What::Errno(libc::EPERM), Extent::Once);
    assert!(said.iter().all(|said| said == "failure\tnotify\tEPERM"), "{said:?}");
}

fn an_exec_that_a_filter_hides_is_no_success() {
    let said = outcomes(PLAIN, "leader", "setpgid", What::Errno(libc::EPERM), Extent::Once);
    assert_eq!(said, ["failure\twait\tEPERM"]);
}

fn a_pid_file_is_put_back_where_nobody_may_wait() {
    let plan = "rust return, pid_file {S}/pid, stdout file {S}/log";
    let said = outcomes(plan, "caller", "ppoll", What::Errno(libc::EPERM), Extent::Persistent);
    let is_true = |said: &String| said == "success" || said == "failure\twait\tEPERM";
    assert!(said.iter().all(is_true), "{said:?}");
}

fn a_pid_file_is_made_under_interruptions() {
    for (role, calls) in
        [("caller", ["newfstatat", "fchmod", "flock"]), ("daemon", ["fchmod", "ftruncate", "pwrite64"])]
    {
        for call in calls.into_iter().filter(|call| cfg!(feature = "libc") || *call != "newfstatat") {
            let said = outcomes(NEW_PID_FILE, role, call, What::Errno(libc::EINTR), Extent::Persistent);
            assert!(said.iter().all(|said| said == "success"), "{role} {call}: {said:?}");
        }
    }
}

fn a_program_is_found_under_interruptions() {
    for call in if cfg!(feature = "libc") { ["newfstatat", "access"] } else { ["newfstatat", "faccessat"] } {
        let said = outcomes(PLAIN, "caller", call, What::Errno(libc::EINTR), Extent::Persistent);
        assert!(said.iter().all(|said| said == "success"), "{call}: {said:?}");
    }
}

fn a_descriptor_is_told_with_its_errno() {
    let plan = "untty -P -p {S}/pid -o {S}/log -C {S} -m 77 -k 5 -n -t 2 park";
    let said = outcomes(plan, "caller", "fcntl", What::Errno(libc::EIO), Extent::Once);
    assert!(said.iter().any(|said| said == "failure\tprint\tEIO"), "{said:?}");
    assert!(said.iter().any(|said| said == "failure\toptions\tEIO"), "{said:?}");
}
