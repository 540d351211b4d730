//! The storefront: a small shop in which all six patterns do their work on real HTTP traffic.
//!
//! `cargo demo` runs it, without a server, an environment variable or a flag. Beside the shop it starts the two services that the
//! shop calls, on a port of their own, so that they can be broken and healed. The page at `/` shows what happens.
//!
//! `--redis` and `--postgres` make one shop of several such processes. [`Running`] is one inside of another program.

mod args;
mod caller;
mod catalogue;
mod client;
mod events;
mod health;
mod history;
mod key_store;
mod key_table;
mod limits;
mod neighbours;
mod observe;
mod orders;
mod page;
mod products;
mod refused;
mod relay;
mod reports;
mod router;
mod serve;
mod shared;
mod shop;
mod signing;
mod stats;
mod tenant;
mod tokens;
mod upstream;

pub use self::args::Args;
pub use self::serve::{Failure, Running, run};
pub use self::shared::BadUrl;
pub use self::shop::Shop;
