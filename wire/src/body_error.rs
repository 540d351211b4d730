//! The error of a body that passes through our layers.

use std::error::Error;
use std::fmt;

/// A body broke off. Its [source](Error::source) is the error of the body inside, however many of our layers it came through.
#[derive(Debug)]
pub struct BodyError(Box<dyn Error + Send + Sync>);

impl BodyError {
    /// Wraps the error of an inner body; one that is wrapped already stays as it is.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        match error.into().downcast::<Self>() {
            Ok(wrapped) => *wrapped,
            Err(error) => Self(error),
        }
    }

    /// The inner error, if it is of this type.
    #[must_use]
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body broke")
    }
}

impl Error for BodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_layers_wrap_once() {
        let inner = fmt::Error;
        let error = BodyError::new(BodyError::new(inner));
        assert_eq!(error.downcast_ref(), Some(&inner));
        assert_eq!(error.source().unwrap().to_string(), inner.to_string());
    }
}
