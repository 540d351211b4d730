//! Why there is no value, and why an invalidation did not reach everyone.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// The source failed, and there was nothing in the cache to serve instead. Everyone who waited for the same fill gets the same
/// error.
#[derive(Debug)]
#[non_exhaustive]
pub enum FillError<E> {
    /// The fill panicked. The process has heard of it from its panic hook.
    Panicked,
    /// The fill failed.
    Source(Arc<E>),
    /// The fill took longer than the [hard timeout](crate::Builder::hard_timeout), and was dropped.
    TimedOut,
}

impl<E> FillError<E> {
    /// The source's error, if it is one.
    #[must_use]
    pub fn inner(&self) -> Option<&E> {
        match self {
            Self::Source(error) => Some(error),
            Self::Panicked | Self::TimedOut => None,
        }
    }

    /// The source's error, or itself when it is none or somebody else still holds it.
    ///
    /// # Errors
    ///
    /// It is not the source's error, or another caller that waited for the same fill has not dropped its own yet.
    pub fn into_inner(self) -> Result<E, Self> {
        match self {
            Self::Source(error) => Arc::try_unwrap(error).map_err(Self::Source),
            other => Err(other),
        }
    }
}

/// Asks nothing of `E`.
impl<E> Clone for FillError<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Panicked => Self::Panicked,
            Self::Source(error) => Self::Source(Arc::clone(error)),
            Self::TimedOut => Self::TimedOut,
        }
    }
}

impl<E> fmt::Display for FillError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Panicked => "reading the value from its source panicked",
            Self::Source(_) => "the value could not be read from its source",
            Self::TimedOut => "reading the value from its source took too long",
        })
    }
}

impl<E: Error + 'static> Error for FillError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.inner().map(|error| error as _)
    }
}

/// An invalidation holds in this process and may not have reached the others yet: they hear of it as soon as the second level can be reached. A cache in one process never gives it.
#[derive(Debug)]
pub struct InvalidateError(pub(crate) Box<dyn Error + Send + Sync>);

impl fmt::Display for InvalidateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the invalidation may not have reached other processes yet")
    }
}

impl Error for InvalidateError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}
