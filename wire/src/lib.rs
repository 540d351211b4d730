#![doc = include_str!("../README.md")]

pub mod fields;
pub mod grpc;
pub mod lex;
mod problem;
mod refusal;
mod retry_after;

pub use problem::{PROBLEM_JSON, Problem};
pub use refusal::{Protocol, Refusal};
pub use retry_after::{GRPC_RETRY_PUSHBACK, RetryAfter};
