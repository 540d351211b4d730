//! How a call through a generic layer fails.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Why a call through a [`DedupLayer`](crate::DedupLayer) has no response.
#[derive(Debug)]
#[non_exhaustive]
pub enum DedupError<E> {
    /// The call of the inner service failed. All who shared it have the same error.
    Call(Arc<E>),
    /// There was no room for another follower, or for another flight, and the layer says [`OnFull::Reject`](crate::OnFull::Reject).
    Full,
}

impl<E> DedupError<E> {
    /// The inner service's error, if the call has failed.
    #[must_use]
    pub fn inner(&self) -> Option<&E> {
        match self {
            Self::Call(error) => Some(error),
            Self::Full => None,
        }
    }
}

/// Asks nothing of `E`.
impl<E> Clone for DedupError<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Call(error) => Self::Call(Arc::clone(error)),
            Self::Full => Self::Full,
        }
    }
}

impl<E> fmt::Display for DedupError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Call(_) => "the call failed",
            Self::Full => "too many callers wait for the same result",
        })
    }
}

impl<E: Error + 'static> Error for DedupError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Call(error) => Some(&**error),
            Self::Full => None,
        }
    }
}
