//! Fuzzing the other functions of the C interface: texts, closing, pid files, logs, supervisors.

#![allow(dead_code, unreachable_pub, missing_docs, missing_debug_implementations, reason = "no target needs all of it")]

use crate::world::{Bytes, Failure, Snapshot, World, assert_is_defined};
use std::ffi::{CStr, c_int, c_void};
use std::{mem, ptr};
use untty::Step;

/// One input. Its first byte says which function.
pub fn fuzz(world: &World, input: &[u8]) {
    let bytes = &mut Bytes(input);
    match bytes.byte() % 6 {
        0 => message(world, bytes),
        1 => step_name(world, bytes.number()),
        2 => closing(world, bytes),
        3 => files(world, bytes),
        4 => supervisors(world, bytes),
        _ => refusals(world, bytes),
    }
}

/// As snprintf: never more than there is room for, always a NUL, always the whole length; and one line.
fn message(world: &World, bytes: &mut Bytes<'_>) {
    let failure = Failure { step: bytes.number(), errnum: bytes.number() };
    let [bits, low, high] = bytes.take();
    let error = if bits & 1 != 0 { ptr::null() } else { &raw const failure };
    let none = error.is_null() || failure.step == 0;
    let mut whole = [0x7f_u8; 512];
    let say = world.library.untty_error_message;
    let length = unsafe { say(error, whole.as_mut_ptr().cast(), whole.len()) };
    let text = CStr::from_bytes_until_nul(&whole).expect("a NUL").to_bytes();
    assert_eq!(text.len(), length);
    assert!(!text.iter().any(u8::is_ascii_control), "{}", text.escape_ascii());
    let begins = match Step::from_number(failure.step) {
        _ if none => "no error",
        Some(step) => step.name(),
        None => "unknown step: ",
    };
    assert!(text.starts_with(begins.as_bytes()) && (none || length > begins.len()), "{}", text.escape_ascii());

    let any = usize::from(u16::from_le_bytes([low, high]));
    let (buffer, size) = match bits >> 1 & 3 {
        0 => (ptr::null_mut(), 0),
        // What is said to be there must be there; but nobody writes more than the text.
        1 => (world.room_before_the_gap(length + 1), usize::MAX - any),
        _ => (world.room_before_the_gap(any % 300), any % 300),
    };
    let room = size.min(length + 1);
    (0..room).for_each(|at| unsafe { buffer.wrapping_add(at).write(0x7f) });
    assert_eq!(unsafe { say(error, buffer.cast(), size) }, length);
    if room > 0 {
        let written = unsafe { std::slice::from_raw_parts(buffer, room) };
        assert_eq!(written[..room - 1], text[..room - 1]);
        assert_eq!(written[room - 1], 0);
    }
}

fn step_name(world: &World, step: c_int) {
    let name = unsafe { CStr::from_ptr((world.library.untty_step_name)(step)) };
    let expected = Step::from_number(step).map_or("unknown", Step::name);
    assert_eq!(name.to_bytes(), expected.as_bytes());
}

/// What a child is to do that has the memory, but descriptors of its own.
struct Closing {
    close_except: unsafe extern "C" fn(c_int, *const c_int, usize) -> c_int,
    close_from: unsafe extern "C" fn(c_int) -> c_int,
    lowest: c_int,
    keep: [c_int; 64],
    count: usize,
    open: [c_int; 32],
    wrong: c_int,
    result: c_int,
}

/// The descriptors below the lowest and the kept ones stay, and no others.
fn closing(world: &World, bytes: &mut Bytes<'_>) {
    const STACK: usize = 1 << 18;
    let mut plan = Closing {
        close_except: world.library.untty_close_except,
        close_from: world.library.untty_close_from,
        lowest: bytes.number(),
        keep: [-1; 64],
        count: usize::from(bytes.byte()) % 65,
        open: [-1; 32],
        wrong: -1,
        result: -1,
    };
    // Small numbers, which may be open, and any.
    let mut number = || if bytes.byte() & 1 == 0 { c_int::from(bytes.byte()) } else { bytes.number() };
    plan.keep[..plan.count].iter_mut().for_each(|place| *place = number());
    plan.open.iter_mut().for_each(|place| *place = number() & 0xff);
    let mut stack = vec![0_u128; STACK / 16];
    let top = stack.as_mut_ptr_range().end;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: it has a stack of its own, and this thread waits until it is gone.
    let child = unsafe { libc::clone(close_and_look, top.cast(), flags, (&raw mut plan).cast()) };
    assert!(child > 0);
    let mut status = 0;
    // The fuzzer has a timer, whose signal interrupts.
    while unsafe { libc::waitpid(child, &raw mut status, 0) } != child {
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EINTR));
    }
    assert_eq!((status, plan.result, plan.wrong), (0, 0, -1), "lowest {}, keep {:?}", plan.lowest, plan.keep);
}

/// Nothing is allocated here, and nothing panics: the parent's memory is used.
extern "C" fn close_and_look(plan: *mut c_void) -> c_int {
    let plan = unsafe { &mut *plan.cast::<Closing>() };
    let is_open = |fd| unsafe { libc::fcntl(fd, libc::F_GETFD) } >= 0;
    for fd in plan.open {
        unsafe { libc::dup2(0, fd) };
    }
    let mut before = [false; 320];
    before.iter_mut().zip(0..).for_each(|(before, fd)| *before = is_open(fd));
    plan.result = match plan.count {
        0 => unsafe { (plan.close_from)(plan.lowest) },
        count => unsafe { (plan.close_except)(plan.lowest, plan.keep.as_ptr(), count) },
    };
    for (before, fd) in before.into_iter().zip(0..) {
        let stays = before && (fd < plan.lowest || plan.keep.iter().take(plan.count).any(|kept| *kept == fd));
        if is_open(fd) != stays {
            plan.wrong = fd;
        }
    }
    unsafe { libc::_exit(0) }
}

/// Pid files that are nobody's, and logs. Nothing changes, but a log that is opened anew.
fn files(world: &World, bytes: &mut Bytes<'_>) {
    let [choice, which, fd] = bytes.take();
    let place = world.place(choice, &bytes.text());
    let path = place.as_ref().map_or(ptr::null(), |place| place.path.as_ptr());
    let before = Snapshot::take();
    let mut failure = Failure { step: -7, errnum: -7 };
    let error = if which & 4 != 0 { ptr::null_mut() } else { &raw mut failure };
    let (result, step) = match which & 3 {
        0 => (unsafe { (world.library.untty_pid_file_read)(path, error) }, Step::PidFile),
        1 => (unsafe { (world.library.untty_pid_file_remove)(path, error) }, Step::PidFile),
        _ => {
            // None of this process's.
            let fd = [-1, 987, c_int::MAX, c_int::MIN][usize::from(fd) % 4];
            (unsafe { (world.library.untty_reopen_log)(fd, path, error) }, Step::Log)
        }
    };
    // There is no daemon, so no pid.
    assert!(result == -1 || result == 0 && which & 3 == 0, "{result}");
    if result == -1 && !error.is_null() {
        assert_is_defined(failure);
        assert_eq!(failure.step, step.number());
    } else {
        assert_eq!(failure, Failure { step: -7, errnum: -7 });
    }
    assert_eq!(Snapshot::take(), before, "{failure:?}");
}

fn supervisors(world: &World, bytes: &mut Bytes<'_>) {
    let environment = world.environment(bytes).0;
    let environment = if bytes.byte() & 1 == 0 { environment.as_ptr() } else { ptr::null() };
    let sockets = unsafe { (world.library.untty_listen_fds)(environment) };
    // The last descriptor is a number, too.
    assert!((0..=c_int::MAX - 3).contains(&sockets), "{sockets}");
    let supervisor = unsafe { (world.library.untty_supervisor)(environment) };
    assert!((0..=3).contains(&supervisor), "{supervisor}");
}

/// NULL is an error where it is not allowed, and so is a count that memory cannot hold; and where nothing can be forked, no
/// daemon comes of `untty_daemon`.
fn refusals(world: &World, bytes: &mut Bytes<'_>) {
    let text = std::ffi::CString::new(bytes.text()).unwrap();
    let (which, lowest, count) = (bytes.byte(), bytes.number(), bytes.size().max(1));
    let mut failure = Failure { step: -7, errnum: -7 };
    let error = if which & 1 != 0 { ptr::null_mut() } else { &raw mut failure };
    let before = Snapshot::take();
    let none = ptr::null_mut();
    if which & 8 != 0 {
        let result = unsafe { (world.library.untty_daemon)(lowest, c_int::from(which & 1)) };
        let errno = std::io::Error::last_os_error().raw_os_error();
        assert!(result == -libc::EAGAIN || result == -1 && errno == Some(libc::EAGAIN), "{result} {errno:?}");
        return assert_eq!(Snapshot::take(), before);
    }
    let (result, expected) = match which >> 1 & 3 {
        0 => (unsafe { (world.library.untty_ready)(none, error) }, Some(Step::Ready)),
        1 => (unsafe { (world.library.untty_notify)(none, text.as_ptr(), error) }, Some(Step::Notify)),
        2 => (unsafe { (world.library.untty_close_except)(lowest, ptr::null(), count) }, None),
        _ => {
            let keep = [0; 4];
            let count = count.max(isize::MAX.unsigned_abs() / mem::size_of::<c_int>() + 1);
            (unsafe { (world.library.untty_close_except)(lowest, keep.as_ptr(), count) }, None)
        }
    };
    match expected {
        Some(step) if !error.is_null() => {
            assert_eq!(failure, Failure { step: step.number(), errnum: libc::EFAULT });
            assert_eq!(result, -1);
        }
        Some(_) => assert_eq!(result, -1),
        None => assert!(result < 0 && result >= -libc::EFAULT.max(libc::EINVAL), "{result}"),
    }
    assert_eq!(Snapshot::take(), before);
}
