//! The functions of C's `string.h` that a compiler makes calls to by itself, for artifacts that have no C library.
//!
//! Volatile accesses keep the compiler from recognising a loop as the very function that it is in. They are small, not
//! fast: nothing here moves more than a path.

use core::arch::global_asm;
use core::ffi::{c_char, c_int, c_void};

// rustc exports every no_mangle function from a cdylib, which is how cargo-c builds. A program must not get its memcpy
// from here.
global_asm!(".hidden memcpy, memmove, memset, memcmp, bcmp, strlen");

/// # Safety
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut c_void, from: *const c_void, count: usize) -> *mut c_void {
    for index in 0..count {
        // SAFETY: as in C: so many bytes can be read there.
        let byte = unsafe { from.cast::<u8>().wrapping_add(index).read_volatile() };
        // SAFETY: as in C: so many bytes can be written there.
        unsafe { to.cast::<u8>().wrapping_add(index).write_volatile(byte) };
    }
    to
}

/// # Safety
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut c_void, from: *const c_void, count: usize) -> *mut c_void {
    if to.addr().wrapping_sub(from.addr()) >= count {
        // SAFETY: as in C: copying upwards never reads what it has written.
        return unsafe { memcpy(to, from, count) };
    }
    for index in (0..count).rev() {
        // SAFETY: as in C: so many bytes can be read there.
        let byte = unsafe { from.cast::<u8>().wrapping_add(index).read_volatile() };
        // SAFETY: as in C: so many bytes can be written there.
        unsafe { to.cast::<u8>().wrapping_add(index).write_volatile(byte) };
    }
    to
}

/// # Safety
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut c_void, byte: c_int, count: usize) -> *mut c_void {
    let [byte, ..] = byte.to_le_bytes();
    for index in 0..count {
        // SAFETY: as in C: so many bytes can be written there.
        unsafe { to.cast::<u8>().wrapping_add(index).write_volatile(byte) };
    }
    to
}

/// # Safety
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const c_void, right: *const c_void, count: usize) -> c_int {
    for index in 0..count {
        // SAFETY: as in C: so many bytes can be read there.
        let a = unsafe { left.cast::<u8>().wrapping_add(index).read_volatile() };
        // SAFETY: as above.
        let b = unsafe { right.cast::<u8>().wrapping_add(index).read_volatile() };
        if a != b {
            return c_int::from(a) - c_int::from(b);
        }
    }
    0
}

/// # Safety
/// As `memcmp`.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const c_void, right: *const c_void, count: usize) -> c_int {
    // SAFETY: our caller's promise.
    unsafe { memcmp(left, right, count) }
}

/// # Safety
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(string: *const c_char) -> usize {
    let mut length = 0;
    // SAFETY: as in C: there is a NUL, and nothing after it is read.
    while unsafe { string.wrapping_add(length).read_volatile() } != 0 {
        length += 1;
    }
    length
}
