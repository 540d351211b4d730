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
pub struct Zero {
    /// The last part of its name.
    name: &'static str,
    work: fn() -> Work,
    /// Whether it is taken away.
    is_over: bool,
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

impl Call {
    /// The name of its zero line: `crate/path/bare`, one for all rows of a path that have the same.
    #[must_use]
    pub fn bare(&self) -> String {
        let path = self.id.rsplit_once('/').map_or(self.id, |(path, _)| path);
        format!("{path}/{}", self.zero.name)
    }
}

impl Zero {
    /// Measured and shown; the budget is for all of it.
    #[must_use]
    pub const fn beside(work: fn() -> Work) -> Self {
        Self {
            name: "bare",
            work,
            is_over: false,
        }
    }

    /// Measured and taken away; the budget is for what comes on top.
    #[must_use]
    pub const fn over(work: fn() -> Work) -> Self {
        Self {
            is_over: true,
            ..Self::beside(work)
        }
    }

    /// Where another row of the same path has another one.
    #[must_use]
    pub const fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// The bare service.
    #[must_use]
    pub fn work(self) -> Work {
        (self.work)()
    }

    /// Whether it is taken away.
    #[must_use]
    pub fn is_over(self) -> bool {
        self.is_over
    }
}
