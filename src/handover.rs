//! Handover: the daemon takes the caller's memory over, instead of getting a copy.
//! Why that may be done: src/handover/rationale.md, in the documentation as `handover_rationale`.

#[cfg(untty_handover)]
mod aside;
#[cfg(not(untty_handover))]
#[path = "handover/unsupported.rs"]
mod aside;
#[cfg(untty_handover)]
#[cfg_attr(target_arch = "x86_64", path = "handover/x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "handover/aarch64.rs")]
#[cfg_attr(target_arch = "riscv64", path = "handover/riscv64.rs")]
mod machine;
#[cfg(untty_handover)]
mod registrations;

use core::ffi::c_int;

pub(crate) use aside::*;
#[cfg(all(untty_handover, not(feature = "libc")))]
pub(crate) use registrations::Known;

/// What the two processes of a fork do, each with a state of its own.
pub(crate) trait Parting {
    type State;
    /// In the child, which goes on here.
    fn child(state: &mut Self::State);
    /// In the parent.
    fn parent(state: &mut Self::State, child: c_int);
}

/// How a daemon came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Way {
    /// By two forks, which copy; or by none, where a supervised process stays what it is.
    Forks,
    /// By [handover](crate::Daemon::handover).
    Handover,
    /// By two forks, although handover was asked for.
    ForksInstead(Obstacle),
}

/// What stood against handover. The numbers are permanent, and the same in C.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(i32)]
pub enum Obstacle {
    /// Nobody has written it for this architecture.
    Unsupported = 2,
    /// The caller was to go on in the same memory ([`return_in_caller`](crate::Daemon::return_in_caller)).
    Returns = 3,
    /// Under valgrind, which knows no such clone.
    Valgrind = 4,
    /// With a user shadow stack, which a clone does not inherit.
    ShadowStack = 5,
    /// There are more threads, or another process has the same memory, or the kernel does not tell.
    Shared = 6,
    /// The C library's copy of the thread's id was not found (musl; kernels without `PR_GET_TID_ADDRESS`).
    ThreadId = 7,
    /// The thread holds a robust mutex, which is the caller's and not the daemon's.
    RobustMutex = 8,
    /// Somebody else than the C library has registered `rseq(2)`.
    Rseq = 9,
    /// The kernel, or a filter, refuses such a clone.
    Clone = 10,
}

impl Way {
    /// Every obstacle.
    const OBSTACLES: [Obstacle; 9] = [
        Obstacle::Unsupported,
        Obstacle::Returns,
        Obstacle::Valgrind,
        Obstacle::ShadowStack,
        Obstacle::Shared,
        Obstacle::ThreadId,
        Obstacle::RobustMutex,
        Obstacle::Rseq,
        Obstacle::Clone,
    ];

    /// Its number in C.
    pub(crate) const fn number(self) -> i32 {
        match self {
            Self::Forks => 0,
            Self::Handover => 1,
            Self::ForksInstead(obstacle) => obstacle as i32,
        }
    }

    /// The way with that number.
    pub(crate) fn from_number(number: i32) -> Self {
        let obstacle = Self::OBSTACLES.into_iter().find(|obstacle| *obstacle as i32 == number);
        match (number, obstacle) {
            (1, _) => Self::Handover,
            (_, Some(obstacle)) => Self::ForksInstead(obstacle),
            _ => Self::Forks,
        }
    }
}
