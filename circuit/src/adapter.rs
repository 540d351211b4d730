//! The seam between a breaker and a kind of request and answer.

use crate::error::{Error, Rejected, TimedOut};
use crate::permit::Permit;
use crate::verdict::{Classify, ErrIsFailure};

/// Adapts a breaker to a kind of request: with [`Exchange`] the one extension point of the layer.
///
/// Most users want [`CircuitLayer::classify`](crate::CircuitLayer::classify) instead.
pub trait Adapter<Req> {
    /// What is kept of a request until its answer comes.
    type Call;

    /// A request has come.
    fn begin(&self, request: &Req) -> Self::Call;
}

/// One call, followed to its end: adapts a breaker to a kind of answer.
///
/// It owns the [`Permit`] from the answer on, and may keep it for longer: until the end of a body, for example.
pub trait Exchange<Res, E>: Sized {
    /// What the wrapped service answers.
    type Response;
    /// How the wrapped service fails.
    type Error;

    /// The call was answered. Whoever drops `permit` untold says that the caller went away.
    ///
    /// # Errors
    ///
    /// Those of the inner service, as a rule.
    fn end(self, result: Result<Res, E>, permit: Permit) -> Result<Self::Response, Self::Error>;

    /// The call was answered, but somebody else answers instead: nobody will ever see this result. It counts all the same.
    fn discard(self, result: Result<Res, E>, permit: Permit) {
        drop(self.end(result, permit));
    }

    /// The call was rejected, and the inner service was not called.
    ///
    /// # Errors
    ///
    /// The rejection, where it is no answer.
    fn refuse(self, rejected: Rejected) -> Result<Self::Response, Self::Error>;

    /// The call took longer than the layer's timeout. The breaker has counted it as a failure.
    ///
    /// # Errors
    ///
    /// That it took too long, where that is no answer.
    fn time_out(self, timed_out: TimedOut) -> Result<Self::Response, Self::Error>;

    /// The fallback answered: a call that was `rejected`, or one that failed. The breaker learns nothing from this.
    ///
    /// # Errors
    ///
    /// Those of the fallback, as a rule.
    fn instead(
        result: Result<Res, E>,
        rejected: Option<Rejected>,
    ) -> Result<Self::Response, Self::Error>;

    /// The inner service failed before any request. The breaker has counted it as a failure.
    fn unready(error: E) -> Self::Error;
}

/// Records what a classifier says of each result. A rejection is an error: [`Error::Rejected`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Judge<C = ErrIsFailure>(pub(crate) C);

impl<C: Clone, Req> Adapter<Req> for Judge<C> {
    type Call = Self;

    fn begin(&self, _request: &Req) -> Self {
        self.clone()
    }
}

impl<C, Res, E> Exchange<Res, E> for Judge<C>
where
    C: Classify<Res, E>,
{
    type Response = Res;
    type Error = Error<E>;

    fn end(self, result: Result<Res, E>, permit: Permit) -> Result<Res, Error<E>> {
        permit.record(self.0.classify(&result));
        result.map_err(Error::Inner)
    }

    fn refuse(self, rejected: Rejected) -> Result<Res, Error<E>> {
        Err(Error::Rejected(rejected))
    }

    fn time_out(self, timed_out: TimedOut) -> Result<Res, Error<E>> {
        Err(Error::TimedOut(timed_out))
    }

    fn instead(result: Result<Res, E>, _rejected: Option<Rejected>) -> Result<Res, Error<E>> {
        result.map_err(Error::Inner)
    }

    fn unready(error: E) -> Error<E> {
        Error::Inner(error)
    }
}
