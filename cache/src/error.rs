//! Why there is no value.

use std::fmt;
use std::sync::Arc;

/// The source failed, and there was nothing in the cache to serve instead. Everyone who waited for the same fill gets the same
/// error.
#[derive(Debug)]
pub struct FillError<E>(pub(crate) Arc<E>);

impl<E> FillError<E> {
    /// The source's error.
    #[must_use]
    pub fn get_ref(&self) -> &E {
        &self.0
    }

    /// The source's error, or itself when somebody else still holds it.
    ///
    /// # Errors
    ///
    /// Another caller that waited for the same fill has not dropped its error yet.
    pub fn into_inner(self) -> Result<E, Self> {
        Arc::try_unwrap(self.0).map_err(Self)
    }
}

impl<E> Clone for FillError<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E> fmt::Display for FillError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value could not be read from its source")
    }
}

impl<E: std::error::Error + 'static> std::error::Error for FillError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}
