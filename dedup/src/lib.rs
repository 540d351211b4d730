#![doc = include_str!("../README.md")]

mod event;
mod flights;
mod queue;
mod sync;

pub use event::{Event, Observer};
pub use flights::{Flights, FlightsBuilder, Landing, Leader, Role, Snapshot, Wait, Waited};
