#![doc = include_str!("../README.md")]

mod accept;
mod offer;
mod offers;
pub mod vary;
mod weight;

pub use offer::InvalidOffer;
pub use offers::{Limits, Match, NotAcceptable, Offers, TieBreak};
pub use weight::QValue;
