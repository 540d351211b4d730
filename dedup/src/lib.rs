#![doc = include_str!("../README.md")]

mod event;
mod flights;
#[cfg(feature = "http")]
pub mod http;
mod line;
#[cfg(test)]
#[cfg(buttress_loom)]
mod loom;
mod queue;
mod sync;

pub use event::{Event, Observer};
pub use flights::{Flights, FlightsBuilder, Landing, Leader, Role, Snapshot, Wait, Waited};
#[cfg(feature = "http")]
pub use http::DedupLayer;
