//! Runnable apps that compose the crates. This library holds what they share, and the code in the project's README, which is compiled with the
//! documentation tests.

/// Waits for Ctrl-C, or SIGTERM where there is one.
pub async fn told_to_stop() {
    let interrupt = async {
        // Without a handler for it the signal ends the process anyway.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! { () = interrupt => {}, () = terminated() => {} }
}

#[cfg(unix)]
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut signal) => drop(signal.recv().await),
        Err(_) => std::future::pending().await,
    }
}

#[cfg(not(unix))]
async fn terminated() {
    std::future::pending().await
}

#[doc = include_str!("../../README.md")]
#[cfg(doctest)]
pub struct RootReadme;
