#![doc = include_str!("../README.md")]

#[cfg(feature = "record")]
mod body_error;
#[cfg(feature = "record")]
mod codec;
pub mod fields;
pub mod grpc;
pub mod key;
pub mod lex;
mod problem;
#[cfg(feature = "record")]
mod recorded;
#[cfg(feature = "record")]
mod recorder;
mod refusal;
mod retry_after;
mod short_memory;
#[cfg(feature = "record")]
mod sync;
#[cfg(feature = "record")]
pub mod tape;
#[cfg(feature = "tasks")]
pub mod tasks;

#[cfg(feature = "record")]
pub use body_error::BodyError;
#[cfg(feature = "record")]
pub use codec::DecodeError;
pub use problem::{PROBLEM_JSON, Problem};
#[cfg(feature = "record")]
pub use recorded::{Recorded, ReplayBody};
#[cfg(feature = "record")]
pub use recorder::{Outcome, Recorder, Recording, into_bytes};
pub use refusal::{Protocol, Refusal};
pub use retry_after::{GRPC_RETRY_PUSHBACK, RetryAfter};
pub use short_memory::ShortMemory;
