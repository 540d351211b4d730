use std::io;

use super::{Served, Work};

/// A line of the budgets.
#[derive(Clone, Copy, Debug)]
pub enum Row {
    /// Time and allocations of one call.
    Call(Call),
    /// What a thing keeps.
    Memory(Memory),
    /// A server, as a share of the bare one.
    Share(Share),
}

/// Time and allocations of one call.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// `crate/path/variant`, also criterion's.
    pub id: &'static str,
    /// What was promised, if anything was.
    pub budget: Option<Budget>,
    /// What it is measured against.
    pub zero: Zero,
    /// The call.
    pub work: fn() -> Work,
}

/// What a call may cost at most.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// On the machine that the budgets were set on.
    pub nanos: f64,
    /// How many times the allocator may be asked.
    pub allocations: u64,
}

/// The bare service, which every measurement contains.
#[derive(Clone, Copy, Debug)]
pub enum Zero {
    /// Measured and shown; the budget is for all of it.
    Beside(fn() -> Work),
    /// Measured and taken away; the budget is for what comes on top.
    Over(fn() -> Work),
}

/// What a thing keeps.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// `crate/path/variant`.
    pub id: &'static str,
    /// How many bytes it may keep.
    pub budget: u64,
    /// Builds one, and says how many bytes were allocated for it.
    pub bytes: fn() -> u64,
}

/// How many requests a second a server can answer on one core, as a share of those of a bare one.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// `crate/path/variant`.
    pub id: &'static str,
    /// What it is to be at least, from 0 to 1.
    pub budget: f64,
    /// The server.
    pub ours: fn() -> io::Result<Served>,
    /// The one that does nothing beside.
    pub bare: fn() -> io::Result<Served>,
}

impl Row {
    /// Its name.
    #[must_use]
    pub fn id(&self) -> &'static str {
        match self {
            Self::Call(call) => call.id,
            Self::Memory(memory) => memory.id,
            Self::Share(share) => share.id,
        }
    }
}

impl Budget {
    /// So many nanoseconds and allocations.
    #[must_use]
    pub const fn new(nanos: f64, allocations: u64) -> Self {
        Self { nanos, allocations }
    }
}

impl Zero {
    /// The bare service.
    #[must_use]
    pub fn work(self) -> Work {
        match self {
            Self::Beside(work) | Self::Over(work) => work(),
        }
    }

    /// The part of what the bare service costs that the budget is not for.
    pub(super) fn share(self) -> f64 {
        match self {
            Self::Beside(_) => 0.0,
            Self::Over(_) => 1.0,
        }
    }
}
