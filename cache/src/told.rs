//! What other processes are to be told.

use crate::clock::{Depth, Slot};

/// What holds in this process by now, and is to hold in the others.
#[derive(Debug, Eq, PartialEq)]
#[must_use]
pub(crate) enum Told {
    /// Nothing is valid any more.
    All,
    /// Nothing with these slots is.
    Slots(Depth, Vec<Slot>),
}
