//! Where nobody has written it: always an obstacle.

use super::{Obstacle, Parting};
use crate::error::{Errno, Error};
use crate::options::LateFailure;
use core::ffi::CStr;

#[derive(Clone, Copy)]
pub(crate) enum Aside {
    Caller,
    Leader,
}

pub(crate) fn prepare() -> Result<(), Obstacle> {
    Err(Obstacle::Unsupported)
}

pub(crate) fn take_over() -> Result<(), Errno> {
    Err(Errno::ENOSYS)
}

pub(crate) fn take_back() {}

pub(crate) fn keep_path(_: &CStr) -> Option<&'static CStr> {
    None
}

pub(crate) fn keep_hook(_: Option<LateFailure>) {}

pub(crate) fn tell_late(_: Error, _: bool) {}

pub(crate) fn has_gone_on() -> bool {
    false
}

pub(crate) fn goes_on(_: bool) {}

pub(crate) fn is_alone() -> bool {
    true
}

/// # Safety
/// Never done.
pub(crate) unsafe fn part<P: Parting>(_: Aside, _: &mut P::State) -> Result<bool, Errno> {
    Err(Errno::ENOSYS)
}
