//! A TCP server whose start tells the truth: status 0 means that it listens, anything else that nothing runs.
//!
//! ```text
//! cargo run --example tcp_server 7007 && nc 127.0.0.1 7007
//! ```
//!
//! What can fail early is done before detaching, where an error still reaches the terminal: "address already in use".
//! What comes later is reported through the handle: the caller waits for `ready` or `fail`.

#![allow(clippy::std_instead_of_core, reason = "a program with std")]

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsRawFd;
use std::process::{self, ExitCode};
use std::time::Duration;
use untty::{Daemon, Process};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(Ok(port)), None) = (arguments.next().map(|word| word.parse::<u16>()), arguments.next()) else {
        eprintln!("usage: tcp_server PORT");
        return ExitCode::from(2);
    };
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|server| Ok((server.local_addr()?, server)));
    let (address, server) = match bound {
        Ok(bound) => bound,
        Err(error) => {
            eprintln!("tcp_server: 127.0.0.1:{port}: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("tcp_server: {address}");
    let keep = [server.as_raw_fd()];
    let daemon = Daemon::new().keep(&keep).deadline(Duration::from_secs(10));
    // SAFETY: this program has no threads, and the server is its only descriptor.
    match unsafe { daemon.detach() } {
        Ok(Process::Daemon(mut handle)) => {
            // Whatever is still to be done (reading the configuration, opening the database) goes here; where it
            // cannot be done, `handle.fail(1)` ends the daemon, and the caller with that status.
            if handle.ready().is_err() {
                return ExitCode::FAILURE; // the caller was killed while it waited: nobody expects this server
            }
            serve(&server)
        }
        Ok(Process::Caller { .. }) => ExitCode::SUCCESS, // only with return_in_caller()
        Err(error) => {
            eprintln!("tcp_server: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One line for everybody who connects.
fn serve(server: &TcpListener) -> ! {
    loop {
        if let Ok((mut client, _)) = server.accept() {
            // Ignored: a client that is gone needs no answer.
            let _ = client.write_all(format!("hello from process {}\n", process::id()).as_bytes());
        }
    }
}
