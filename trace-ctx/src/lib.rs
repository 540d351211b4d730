#![doc = include_str!("../README.md")]

mod ascii;
#[cfg(feature = "axum")]
mod axum;
mod baggage;
mod body;
mod carry;
mod clock;
mod context;
mod current;
mod exchange;
mod fields;
mod future;
mod head;
mod hex;
mod hosts;
mod id;
mod ids;
mod layer;
#[cfg(feature = "tracing")]
mod log;
mod note;
mod policy;
mod propagate;
mod request_id;
#[cfg(feature = "json")]
mod rfc3339;
mod route;
mod sample;
mod secret;
mod service;
mod shared;
mod sink;
mod slot;
mod traceparent;
mod tracestate;
mod trust;

#[cfg(feature = "axum")]
pub use crate::axum::MatchedPath;
pub use crate::baggage::{Baggage, BaggageError, BaggageFields, BaggageMember};
pub use crate::body::TraceBody;
#[cfg(feature = "quanta")]
pub use crate::clock::QuantaClock;
pub use crate::clock::{Clock, SystemClock};
pub use crate::context::{Link, Origin, Sampling, TraceContext};
#[cfg(feature = "tokio")]
pub use crate::current::spawn;
pub use crate::current::{InTrace, Traced, current};
pub use crate::future::ResponseFuture;
pub use crate::head::Head;
pub use crate::hosts::{Hosts, InvalidHost};
pub use crate::id::{SpanId, TraceId};
pub use crate::ids::{FastIds, IdGenerator, SecureIds, SequentialIds};
pub use crate::layer::{ClientLayer, ServerLayer, TraceLayer};
#[cfg(feature = "tracing")]
pub use crate::log::JsonFormat;
pub use crate::note::{MAX_NOTES, Note, Value, attribute, error, event, user};
pub use crate::policy::Policy;
pub use crate::propagate::{
    B3, ExtractOnly, Extracted, Jaeger, Propagator, Propagators, Remote, UnknownPropagator, W3c,
    XRay,
};
pub use crate::request_id::{InvalidRequestId, RequestId};
pub use crate::route::{FromExtensions, Route, RouteName};
pub use crate::sample::{
    Always, DebugHeader, Decision, Deferring, Never, ParentBased, PerRoute, Probability,
    RateLimited, SampleRequest, Sampler, Threshold,
};
pub use crate::service::{ClientService, ServerService};
#[cfg(feature = "json")]
pub use crate::sink::common::{CommonHead, CommonLog};
#[cfg(feature = "json")]
pub use crate::sink::json::{JsonHead, JsonLines};
#[cfg(feature = "metrics")]
pub use crate::sink::metrics::{Active, MetricsSink};
#[cfg(feature = "otel")]
pub use crate::sink::otel::{OtelSink, OtelSpan};
#[cfg(feature = "tracing")]
pub use crate::sink::tracing::TracingSink;
pub use crate::sink::{Finished, Kind, Outcome, SampledOnly, SampledOr, Sink, SlowOnly, Started};
pub use crate::traceparent::{Flags, TraceParent, TraceParentError};
pub use crate::tracestate::{TraceState, TraceStateError};
pub use crate::trust::{
    ClientIp, InvalidNetwork, Networks, PeerAddr, PeerIn, SharedSecret, Trust, TrustPolicy,
};
