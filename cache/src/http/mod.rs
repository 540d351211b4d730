//! A shared HTTP cache (RFC 9111) as a layer, on the data cache.

mod age;
mod answer;
mod body;
#[cfg(feature = "l2")]
mod codec;
mod conditional;
mod dates;
mod decide;
mod directives;
mod errand;
mod flight;
mod freshness;
mod future;
mod glance;
mod invalidation;
mod key;
mod layer;
mod list;
mod memory;
#[cfg(test)]
mod oracle;
mod pieces;
mod place;
mod policy;
mod purge;
mod query;
mod range;
mod refresh;
mod reuse;
mod service;
mod settings;
mod sight;
mod status;
mod storability;
mod store;
mod stored;
mod targeted;
mod validation;
mod variants;
mod whole;
mod words;

pub use self::body::CacheBody;
#[cfg(feature = "l2")]
pub use self::codec::ResponseCodec;
pub use self::future::ResponseFuture;
pub use self::layer::HttpCacheLayer;
pub use self::refresh::{Detached, Inline, Mode, Refresh};
pub use self::service::HttpCache;
pub use self::status::{CacheOutcome, Forwarded};
pub use self::stored::CachedResponse;
pub use buttress_wire::BodyError;

/// Tags of a response, put into its extensions by a handler: it goes when one of them is invalidated.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CacheTags(pub Vec<String>);

impl<T: Into<String>> FromIterator<T> for CacheTags {
    fn from_iter<I: IntoIterator<Item = T>>(tags: I) -> Self {
        Self(tags.into_iter().map(Into::into).collect())
    }
}

/// Tags to invalidate, put into the extensions of a response by a handler that has changed something. Honoured whatever the method,
/// unless the response is a server error.
///
/// It needs the response to come by: where the work may go on without its client (idempotency), or a response is replayed, let the
/// handler call [`Cache::invalidate`](crate::Cache::invalidate) itself.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CacheInvalidate(pub Vec<String>);

impl<T: Into<String>> FromIterator<T> for CacheInvalidate {
    fn from_iter<I: IntoIterator<Item = T>>(tags: I) -> Self {
        Self(tags.into_iter().map(Into::into).collect())
    }
}
