//! Whose context and request id are kept.

use crate::Head;

mod client_ip;
mod peer;

pub use self::client_ip::ClientIp;
pub use self::peer::{InvalidNetwork, Networks, PeerAddr, PeerIn, SharedSecret};

/// What to do with the context and the request id that a caller sent.
///
/// From a caller who is not trusted nothing is kept: the fields of the formats that are read are removed from the request, and so is `baggage`,
/// whoever reads it, so that a handler that passes all fields on passes none of these on.
///
/// As a [`TrustPolicy`] it is the same answer for every request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Trust {
    /// Go on with the caller's trace, and keep its request id if it is valid. For callers inside.
    #[default]
    Continue,
    /// Start a new trace that remembers the caller's as a [`Link`](crate::Link). For the edge: a stranger
    /// can neither force a trace to be recorded nor put bytes into what we send.
    Link,
    /// Start a new trace as if nothing had come.
    Ignore,
}

/// Decides for each request whether its caller is trusted. A closure over the [`Head`] is one.
pub trait TrustPolicy: Send + Sync + 'static {
    /// Called once per request, before anything that came in is used.
    fn trust(&self, head: &Head<'_>) -> Trust;
}

impl TrustPolicy for Trust {
    fn trust(&self, _: &Head<'_>) -> Trust {
        *self
    }
}

impl<F> TrustPolicy for F
where
    F: Fn(&Head<'_>) -> Trust + Send + Sync + 'static,
{
    fn trust(&self, head: &Head<'_>) -> Trust {
        self(head)
    }
}
