#![doc = include_str!("../README.md")]

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
#[cfg(feature = "quanta")]
pub use crate::clock::QuantaClock;
#[cfg(feature = "tokio")]
pub use crate::current::spawn;
#[cfg(feature = "metrics")]
pub use crate::sink::metrics::{Active, MetricsSink};
#[cfg(feature = "otel")]
pub use crate::sink::otel::{OtelSink, OtelSpan};
#[cfg(feature = "json")]
pub use crate::sink::{
    common::{CommonHead, CommonLog},
    json::{JsonHead, JsonLines},
};
pub use crate::{
    baggage::{Baggage, BaggageError, BaggageFields, BaggageMember},
    body::TraceBody,
    clock::{Clock, SystemClock},
    context::{Link, Origin, Sampling, TraceContext},
    current::{InTrace, Traced, current},
    future::ResponseFuture,
    head::Head,
    hosts::{Hosts, InvalidHost},
    id::{SpanId, TraceId},
    ids::{FastIds, IdGenerator, SecureIds, SequentialIds},
    layer::{ClientLayer, ServerLayer, TraceLayer},
    note::{MAX_NOTES, Note, Value, attribute, error, event, user},
    policy::Policy,
    propagate::{
        B3, ExtractOnly, Extracted, Jaeger, Propagator, Propagators, Remote, UnknownPropagator,
        W3c, XRay,
    },
    request_id::{InvalidRequestId, RequestId},
    route::{FromExtensions, Route, RouteName},
    sample::{
        Always, DebugHeader, Decision, Deferring, Never, ParentBased, PerRoute, Probability,
        RateLimited, SampleRequest, Sampler, Threshold,
    },
    service::{ClientService, ServerService},
    sink::{Finished, Kind, Outcome, SampledOnly, SampledOr, Sink, SlowOnly, Started},
    traceparent::{Flags, TraceParent, TraceParentError},
    tracestate::{TraceState, TraceStateError},
    trust::{
        ClientIp, InvalidNetwork, Networks, PeerAddr, PeerIn, SharedSecret, Trust, TrustPolicy,
    },
};
#[cfg(feature = "tracing")]
pub use crate::{log::JsonFormat, sink::tracing::TracingSink};
