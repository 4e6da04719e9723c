//! What consumer.c is, as a Rust program with tokio: it detaches before the runtime starts, and is then a TCP service.
//!
//! ```text
//! consumer inside     tries to detach inside the runtime, and serves on as it was
//! ```

use std::error::Error;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::runtime::{Builder, Runtime};
use untty::{Daemon, Handle, Process, Step};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mode = arguments.next().unwrap_or_default();
    if mode == "inside" {
        return inside();
    }
    let mut daemon = Daemon::new();
    if mode == "return" {
        daemon = daemon.return_in_caller();
    }
    if mode == "refused" {
        daemon = daemon.directory(c"/nonexistent");
    }
    // SAFETY: there is one thread yet, and no descriptor that would be used afterwards.
    match unsafe { daemon.detach() } {
        Ok(Process::Daemon(handle)) if mode == "fail" => handle.fail(7),
        Ok(Process::Daemon(handle)) => {
            runtime()?.block_on(serve(handle, &arguments.next().unwrap_or_default()))?;
            Ok(ExitCode::SUCCESS)
        }
        Ok(Process::Caller { daemon, .. }) => {
            println!("daemon {daemon}");
            Ok(ExitCode::from(3))
        }
        Err(error) => {
            eprintln!("consumer: {error}");
            Ok(ExitCode::from(if error.step() == Step::Directory { 1 } else { 96 }))
        }
    }
}

/// With threads of its own.
fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(2).enable_io().build()
}

/// The service is there before the caller is told that it is.
async fn serve(mut handle: Handle, test: &str) -> Result<(), Box<dyn Error>> {
    let mut call = BufStream::new(UnixStream::connect(test).await?);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    call.write_all(format!("daemon {}\n", std::process::id()).as_bytes()).await?;
    call.flush().await?;
    let mut line = String::new();
    call.read_line(&mut line).await?;
    tokio::spawn(answer(listener));
    call.write_all(format!("ready {}\n", i32::from(handle.ready().is_err())).as_bytes()).await?;
    call.write_all(format!("port {port}\n").as_bytes()).await?;
    call.flush().await?;
    while call.read_line(&mut line).await? > 0 {}
    Ok(())
}

/// Each client gets a task of its own.
async fn answer(listener: TcpListener) {
    while let Ok((mut client, _)) = listener.accept().await {
        tokio::spawn(async move {
            let hello = format!("hello from process {}\n", std::process::id());
            client.write_all(hello.as_bytes()).await
        });
    }
}

/// In the runtime there are threads; nothing but the answer says that anybody has tried.
fn inside() -> Result<ExitCode, Box<dyn Error>> {
    let told = runtime()?.block_on(async {
        // SAFETY: it is refused.
        let error = match unsafe { Daemon::new().detach() } {
            Ok(_) => return Err("a threaded program was not refused".into()),
            Err(error) => error,
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        tokio::spawn(answer(listener));
        let mut told = String::new();
        TcpStream::connect(address).await?.read_to_string(&mut told).await?;
        eprintln!("consumer: {error}");
        Ok::<_, Box<dyn Error>>(told)
    })?;
    print!("{told}");
    Ok(ExitCode::from(1))
}
