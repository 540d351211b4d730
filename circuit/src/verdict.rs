//! What a call says about its service.

/// What a finished call says about the health of the service.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// The service works.
    Success,
    /// The service does not work.
    Failure,
    /// Nothing: the call is not counted, and a probe's slot is given back.
    Ignore,
}

/// Turns a result into a [`Verdict`]. Implemented for closures.
pub trait Classify<T, E> {
    /// What `result` says about the service.
    fn classify(&self, result: &Result<T, E>) -> Verdict;
}

impl<T, E, F: Fn(&Result<T, E>) -> Verdict> Classify<T, E> for F {
    fn classify(&self, result: &Result<T, E>) -> Verdict {
        self(result)
    }
}

/// Every error is a failure, everything else a success.
#[derive(Clone, Copy, Debug, Default)]
pub struct ErrIsFailure;

impl<T, E> Classify<T, E> for ErrIsFailure {
    fn classify(&self, result: &Result<T, E>) -> Verdict {
        match result {
            Ok(_) => Verdict::Success,
            Err(_) => Verdict::Failure,
        }
    }
}
