//! Runnable apps that compose the crates.
