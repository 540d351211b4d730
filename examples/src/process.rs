//! What every program has: a beginning, an end, and a voice.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

/// Waits for Ctrl-C, or SIGTERM where there is one. It listens from the call on, and not only when it is awaited: call it before anybody knows
/// that the program is there.
///
/// # Panics
///
/// Outside of a tokio runtime.
pub fn told_to_stop() -> impl Future<Output = ()> {
    let (interrupted, terminated) = (interrupted(), terminated());
    async move {
        tokio::select! { () = interrupted => {}, () = terminated => {} }
    }
}

#[cfg(unix)]
fn interrupted() -> impl Future<Output = ()> {
    signalled(tokio::signal::unix::SignalKind::interrupt())
}

#[cfg(unix)]
fn terminated() -> impl Future<Output = ()> {
    signalled(tokio::signal::unix::SignalKind::terminate())
}

#[cfg(unix)]
fn signalled(kind: tokio::signal::unix::SignalKind) -> impl Future<Output = ()> {
    let signal = tokio::signal::unix::signal(kind);
    async move {
        match signal {
            Ok(mut signal) => drop(signal.recv().await),
            // Without a handler for it the signal ends the process anyway.
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(not(unix))]
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(not(unix))]
async fn terminated() {
    std::future::pending().await
}

/// What a test waits for, unless it takes longer than anything may: no verdict but this one depends on time.
///
/// # Panics
///
/// After a minute.
pub async fn within_reason<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .expect("it takes longer than is reasonable")
}

/// Says something to whoever started the program.
#[expect(
    clippy::print_stdout,
    reason = "these are programs, and this is their voice"
)]
pub fn say(words: fmt::Arguments<'_>) {
    println!("{words}");
    let _ = io::stdout().flush();
}

/// Says why the program ends.
#[expect(
    clippy::print_stderr,
    reason = "these are programs, and this is their voice"
)]
pub fn complain(program: &str, error: &dyn fmt::Display) {
    eprintln!("{program}: {error}");
}
