//! How long to wait.

use crate::error::{Errno, Error, Step};
use crate::fds::uninterrupted;
use crate::sys::direct::{self as sys, PollFd, SignalSet, Timespec};
use core::hint;
use core::time::Duration;

/// A millisecond, for who waits for what no event tells.
///
/// Where nobody may wait it is busy for about so long: that others have no time to end would be taken for their refusal.
pub(crate) fn pause() {
    pause_for(MILLISECOND);
}

/// A millisecond in nanoseconds.
pub(crate) const MILLISECOND: u32 = 1_000_000;

/// So many nanoseconds, some milliseconds at most; the kernel adds some 50,000.
pub(crate) fn pause_for(nanoseconds: u32) {
    const TURNS: u32 = 1 << 14;
    #[allow(clippy::cast_possible_wrap, reason = "a million")]
    let time = Timespec { seconds: 0, nanoseconds: nanoseconds as core::ffi::c_long };
    if sys::nanosleep(&time).is_err() {
        (0..TURNS).for_each(|_| hint::spin_loop());
    }
}

/// A moment on the monotonic clock after which nobody waits; or none.
#[derive(Clone, Copy, Default)]
pub(crate) struct Deadline(Option<u64>);

impl Deadline {
    /// Waits for ever.
    pub(crate) const NONE: Self = Self(None);
    /// Does not wait.
    pub(crate) const NOW: Self = Self(Some(0));

    /// The moment after that time from now.
    pub(crate) fn after(time: Option<Duration>) -> Result<Self, Error> {
        let Some(time) = time else { return Ok(Self(None)) };
        Ok(Self(Some(now()?.saturating_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX)))))
    }

    /// Whether there is none.
    pub(crate) const fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Makes it at least so many microseconds from now.
    pub(crate) fn extend(&mut self, time: u64) -> Result<(), Error> {
        let end = now()?.saturating_add(time);
        self.0 = self.0.map(|before| before.max(end));
        Ok(())
    }

    /// Waits until one of them has something to tell, with that signal mask. ([`Step::Wait`], ETIMEDOUT) at the
    /// deadline.
    pub(crate) fn wait(&self, fds: &mut [PollFd], mask: Option<SignalSet>) -> Result<(), Error> {
        match uninterrupted(|| sys::ppoll(fds, self.left()?, mask)) {
            Ok(0) => Err(Error::new(Step::Wait, Errno::ETIMEDOUT)),
            result => result.map(drop).map_err(Error::at(Step::Wait)),
        }
    }

    /// Whether it has come.
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_some_and(|end| end == 0 || now().is_ok_and(|now| now >= end))
    }

    /// What is left of it.
    fn left(&self) -> Result<Option<Timespec>, Errno> {
        let Some(end) = self.0 else { return Ok(None) };
        // Who does not wait need not look at the clock.
        let left = if end == 0 { 0 } else { end.saturating_sub(sys::clock_microseconds()?) };
        let seconds = (left / 1_000_000).try_into().unwrap_or(core::ffi::c_long::MAX);
        #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "below 1,000,000,000")]
        let nanoseconds = (left % 1_000_000 * 1000) as core::ffi::c_long;
        Ok(Some(Timespec { seconds, nanoseconds }))
    }
}

fn now() -> Result<u64, Error> {
    sys::clock_microseconds().map_err(Error::at(Step::Wait))
}
