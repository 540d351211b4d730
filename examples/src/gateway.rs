//! A reverse proxy with all the layers: HTTP/1.1 and h2c in, pooled HTTP/1.1 out.
//!
//! ```text
//! client → trace → cache → idempotency → dedup → trace (client) → circuit → timeout → connection → upstream
//! ```
//!
//! `--only` and `--without` take layers away. Which requests go to which upstream is said by a file of routes, or by `--upstream` for all. [`Running`] is one
//! inside of another program.

mod admin;
mod answer;
mod args;
mod caller;
mod erased;
mod head;
mod health;
mod interim;
mod proxy;
mod routes;
mod serve;
mod settled;
mod stack;
mod tunnel;
mod upload;

pub use self::args::Args;
pub use self::serve::{Running, run};
