//! Single flight for HTTP: safe methods, bodies shared as they stream.

mod body;
mod future;
mod key;
mod layer;
mod memory;
mod service;
mod share;

pub use self::body::DedupBody;
pub use self::future::ResponseFuture;
pub use self::key::HttpKey;
pub use self::layer::{DedupLayer, OnFailure, OnFull};
pub use self::service::Dedup;
pub use self::share::{Share, is_shareable};
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
