//! Why a reader could not go on.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Why a [`TapeReader`](super::TapeReader) could not go on. All readers of a body that breaks get the same one.
#[derive(Clone, Debug)]
pub struct TapeError(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Body(Arc<dyn Error + Send + Sync>),
    Lagged,
    Panicked,
}

impl TapeError {
    pub(super) const LAGGED: Self = Self(Kind::Lagged);
    pub(super) const PANICKED: Self = Self(Kind::Panicked);

    pub(super) fn of_body(error: Box<dyn Error + Send + Sync>) -> Self {
        Self(Kind::Body(Arc::from(error)))
    }

    /// Whether this reader was cut off because it was too far behind.
    #[must_use]
    pub fn is_lagged(&self) -> bool {
        matches!(self.0, Kind::Lagged)
    }
}

impl fmt::Display for TapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Body(_) => "the shared body broke",
            Kind::Lagged => "this reader was too far behind the others",
            Kind::Panicked => "the shared body panicked",
        })
    }
}

impl Error for TapeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Kind::Body(error) => Some(&**error),
            Kind::Lagged | Kind::Panicked => None,
        }
    }
}
