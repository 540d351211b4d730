//! The kit, tested on layers that are known to be right, and on some that are known to be wrong.

mod laws;
mod servers;
