//! What every program has: a beginning, an end, and a voice.

use std::error::Error;
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

/// An error, and what it came of: `client error (Connect): tcp connect error: Connection refused (os error 111)`.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut all = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        all.push(error.to_string());
        cause = error.source();
    }
    // Some tell their cause themselves.
    all.dedup_by(|cause, error| error.ends_with(&**cause));
    all.join(": ")
}

/// Says why the program ends.
#[expect(
    clippy::print_stderr,
    reason = "these are programs, and this is their voice"
)]
pub fn complain(program: &str, error: &dyn fmt::Display) {
    eprintln!("{program}: {error}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Because(&'static str, Option<Box<Self>>);

    impl fmt::Display for Because {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Because {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            let cause = self.1.as_deref()?;
            Some(cause)
        }
    }

    #[test]
    fn an_error_is_told_with_its_causes_and_each_once() {
        let refused = Because("refused", None);
        let connect = Because("connect: refused", Some(Box::new(refused)));
        let client = Because("client error", Some(Box::new(connect)));
        assert_eq!(with_causes(&client), "client error: connect: refused");
    }
}
