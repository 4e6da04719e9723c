//! What consumer.c is, as a Rust program without std, without an allocator and without a C library.

#![no_std]
#![no_main]

use core::ffi::{CStr, c_char, c_int};
use core::fmt::{self, Write};
use sc::syscall;
use untty::{Daemon, Process, Step};

/// The functions that the compiler makes calls to by itself.
#[path = "../../../../src/sys/memory.rs"]
mod memory;

fn run(mode: &[u8], path: &[u8], how: &[u8]) -> c_int {
    let mut daemon = Daemon::new();
    if how == b"handover" || how == b"way" {
        daemon = daemon.handover();
    }
    if mode == b"return" {
        daemon = daemon.return_in_caller();
    }
    if mode == b"refused" {
        daemon = daemon.directory(c"/nonexistent");
    }
    // SAFETY: this program has no threads, and no descriptor that it would use afterwards.
    match unsafe { daemon.detach() } {
        Ok(Process::Daemon(handle)) if mode == b"fail" => handle.fail(7),
        Ok(Process::Daemon(mut handle)) => {
            let mut call = call_the_test(path);
            // SAFETY: takes no pointers.
            let pid = unsafe { syscall!(GETPID) };
            say(&mut call, format_args!("daemon {pid}\n"));
            hear(&call);
            say(&mut call, format_args!("ready {}\n", c_int::from(handle.ready().is_err())));
            if how == b"way" {
                say(&mut call, format_args!("{:?}\n", handle.way()));
            }
            while hear(&call) {}
            0
        }
        Ok(Process::Caller { daemon, .. }) => {
            say(&mut Descriptor(1), format_args!("daemon {daemon}\n"));
            3
        }
        Err(error) => {
            say(&mut Descriptor(2), format_args!("consumer: {error}\n"));
            if error.step() == Step::Directory { 1 } else { 96 }
        }
    }
}

struct Descriptor(usize);

impl Write for Descriptor {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: so many bytes can be read there.
        let written = unsafe { syscall!(WRITE, self.0, text.as_ptr(), text.len()) };
        if written == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

fn say(to: &mut Descriptor, line: fmt::Arguments<'_>) {
    if to.write_fmt(line).is_err() {
        exit(97);
    }
}

/// A line; false when the test has hung up.
fn hear(from: &Descriptor) -> bool {
    let mut byte = 0_u8;
    loop {
        // SAFETY: one byte can be written there.
        let count = unsafe { syscall!(READ, from.0, &raw mut byte, 1) };
        if count != 1 || byte == b'\n' {
            return count == 1;
        }
    }
}

fn call_the_test(path: &[u8]) -> Descriptor {
    let mut address = [0_u8; 110]; // struct sockaddr_un
    address[..2].copy_from_slice(&1_u16.to_ne_bytes());
    address[2..2 + path.len()].copy_from_slice(path);
    // SAFETY: takes no pointers.
    let socket = unsafe { syscall!(SOCKET, 1, 1, 0) };
    // SAFETY: an address of that length.
    if unsafe { syscall!(CONNECT, socket, address.as_ptr(), address.len()) } != 0 {
        exit(98);
    }
    Descriptor(socket)
}

fn exit(status: c_int) -> ! {
    loop {
        // SAFETY: ends the process.
        unsafe { syscall!(EXIT_GROUP, status) };
    }
}

#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp", // argc, argv, NULL, envp, NULL
    "and rsp, -16",
    "call {begin}",
    "ud2",
    begin = sym begin,
);

#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "mov x29, xzr",
    "mov x30, xzr",
    "mov x0, sp", // argc, argv, NULL, envp, NULL
    "b {begin}",
    begin = sym begin,
);

#[cfg(target_arch = "riscv64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    ".option push",
    ".option norelax",
    "lla gp, __global_pointer$",
    ".option pop",
    "mv a0, sp", // argc, argv, NULL, envp, NULL
    "tail {begin}",
    begin = sym begin,
);

/// Called by `_start`, with the stack as the kernel made it.
unsafe extern "C" fn begin(stack: *const usize) -> ! {
    // SAFETY: the kernel has put argc there, and that many arguments after it.
    let argument = |index| unsafe {
        if index < *stack { CStr::from_ptr(*stack.add(1 + index).cast::<*const c_char>()).to_bytes() } else { b"" }
    };
    // SAFETY: as above.
    let last = argument(unsafe { *stack }.wrapping_sub(1));
    exit(run(argument(1), argument(2), last))
}

/// Nothing unwinds, but the precompiled core asks for who would handle it.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(99)
}
