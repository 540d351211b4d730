//! Single flight for HTTP: safe methods, bodies shared as they stream.

#[allow(
    unreachable_pub,
    missing_debug_implementations,
    reason = "in the bounds of what is public, and named by nobody else"
)]
mod answer;
mod body;
mod key;
mod layer;
mod service;
#[allow(unreachable_pub, missing_debug_implementations, reason = "the same")]
mod settings;
mod share;

pub use self::body::DedupBody;
pub use self::key::HttpKey;
pub use self::layer::DedupLayer;
pub use self::service::{Dedup, ResponseFuture};
pub use self::settings::OnLeaderFailure;
pub use self::share::{Share, is_shareable};
pub use crate::layer::OnFull;
pub use buttress_wire::BodyError;

/// How a response came about; in its extensions.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Flight {
    /// The inner service was called for this request, and others may have joined.
    Led,
    /// Another request's response is shared.
    Joined,
    /// The inner service was called for this request alone.
    Alone,
    /// The inner service was not called, and there was no response to share.
    Refused,
}
