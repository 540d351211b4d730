//! What becomes of work whose caller goes away.

use std::future::Future;

#[cfg(feature = "detached")]
use buttress_wire::tasks::{Spawn, Tasks};

#[cfg(feature = "detached")]
use super::{Detach, Leading, Shell, Start};

/// [`Inline`], or with the feature `detached` `Detached`.
pub trait Mode<F: Future> {
    /// The work, as its caller polls it.
    type Lead: Future<Output = F::Output>;

    #[doc(hidden)]
    fn lead(&self, work: F) -> Self::Lead;
}

/// Work is dropped with its caller, and a follower does its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inline;

impl<F: Future> Mode<F> for Inline {
    type Lead = F;

    fn lead(&self, work: F) -> F {
        work
    }
}

/// Work that has begun goes on when its caller goes away, in a task of these.
#[cfg(feature = "detached")]
#[derive(Clone, Debug)]
pub struct Detached(pub(crate) Tasks);

#[cfg(feature = "detached")]
impl Detached {
    pub(crate) fn new(spawn: impl Spawn) -> Self {
        Self(Tasks::new(spawn))
    }
}

#[cfg(feature = "detached")]
impl<W, H> Mode<Leading<W, H>> for Detached
where
    W: Start,
    H: Shell<Result = <W::Future as Future>::Output>,
    H::Output: 'static,
    Leading<W, H>: Send + 'static,
{
    type Lead = Detach<H::Output>;

    fn lead(&self, work: Leading<W, H>) -> Self::Lead {
        Detach::new(Box::pin(work), self.0.clone())
    }
}
