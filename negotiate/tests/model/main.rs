//! Properties of the choice, against a naive reference; and of what is written, against other readers.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod choice;
#[cfg(all(
    feature = "cbor",
    feature = "csv",
    feature = "messagepack",
    feature = "xml"
))]
mod formats;
mod layer;
mod reference;
#[cfg(all(
    feature = "cbor",
    feature = "csv",
    feature = "messagepack",
    feature = "xml"
))]
mod streams;
