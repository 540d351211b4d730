//! The layers, and the presets to start from.

use std::num::NonZeroU32;
use std::sync::Arc;

use http::HeaderName;
use tower_layer::Layer;

use crate::shared::{Answer, Shared};
use crate::{
    BaggageFields, ClientIp, ClientService, Clock, Hosts, IdGenerator, Kind, ParentBased, Policy,
    Propagator, RateLimited, Route, Sampler, ServerService, Trust, TrustPolicy, W3c,
};

static X_CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");

/// What [`TraceLayer::edge`] records of strangers: enough to look at, too little to flood anybody with.
const TRACES_PER_SECOND: NonZeroU32 = NonZeroU32::new(100).expect("is not zero");

/// Where to start: [`server`](Self::server), or one of its presets [`edge`](Self::edge), [`internal`](Self::internal) and
/// [`passthrough`](Self::passthrough); and [`client`](Self::client).
#[derive(Debug)]
pub enum TraceLayer {}

/// Gives every request that comes in a context, and tells the sink when it is over.
///
/// Belongs outermost. It passes the inner service's readiness on, and its error and its body through.
///
/// A layer is its own builder. Clones, and the services it makes, share the sink and the parts.
#[must_use]
pub struct ServerLayer<K = ()> {
    shared: Arc<Shared<K>>,
}

/// Gives every request that goes out a span of its own in the trace it belongs to, and tells the sink when its
/// response is over.
///
/// Belongs below retries (one span per attempt) and above whatever may refuse the call. Which trace that is: that of the
/// [`TraceContext`](crate::TraceContext) in the request's extensions, else the [`current()`](crate::current) one,
/// else a new one.
#[must_use]
pub struct ClientLayer<K = ()> {
    shared: Arc<Shared<K>>,
}

impl TraceLayer {
    /// For a service whose callers are inside: their traces and request ids go on.
    pub fn server() -> ServerLayer {
        ServerLayer {
            shared: Arc::new(Shared::new(Kind::Server)),
        }
    }

    /// For a service that strangers call: every request is a new trace that remembers the caller's, with a new
    /// request id ([`Trust::Link`]). 100 traces a second are recorded, and after a quiet second as many more at once ([`RateLimited::per_second`]: no more than 200 in
    /// any one second; another [`sampler`](ServerLayer::sampler) replaces it). Behind a trust of your own, whom it trusts decides for itself.
    pub fn edge() -> ServerLayer {
        Self::server()
            .trust(Trust::Link)
            .sampler(ParentBased(RateLimited::per_second(TRACES_PER_SECOND)))
    }

    /// For a service that only services of ours call: with their traces and request ids their baggage and their
    /// `x-correlation-id` are taken in, and request and correlation id come back with the response. For these to go on, calls need a client layer that writes them, with
    /// [`propagator((W3c, BaggageFields))`](ClientLayer::propagator) and [`correlation_id`](ClientLayer::correlation_id).
    pub fn internal() -> ServerLayer {
        Self::server()
            .propagator((W3c, BaggageFields))
            .correlation_id(X_CORRELATION_ID.clone())
            .echo_request_id()
            .echo_correlation_id()
    }

    /// For a proxy: requests go on as they came, to the byte, also what is not valid in them, and responses come back so.
    ///
    /// Logs and records have the ids of the caller's trace. Our span is a leaf in it: whoever is behind us descends from
    /// the caller, as if we were not there. A [`client`](Self::client) layer on the way out would undo that.
    pub fn passthrough() -> ServerLayer {
        Self::server().policy(Policy::passthrough)
    }

    /// For calls to services that may see our trace and our request ids.
    pub fn client() -> ClientLayer {
        ClientLayer {
            shared: Arc::new(Shared::new(Kind::Client)),
        }
    }
}

impl<K> ServerLayer<K> {
    /// Whose context and request id are kept; [`Trust::Continue`] by default.
    pub fn trust(self, trust: impl TrustPolicy) -> Self {
        self.policy(|policy| policy.trust(trust))
    }

    /// How the address of a client is found: for [`TraceContext::client_ip`](crate::TraceContext::client_ip) and what
    /// sinks tell of it. It is not looked for by default.
    pub fn client_ip(self, client_ip: ClientIp) -> Self {
        self.policy(|policy| policy.client_ip(client_ip))
    }

    /// Keeps these fields of each request, such as `authorization`, for the calls made for it: a client layer
    /// [forwards](ClientLayer::forward_to) them. They are shown to nobody else.
    pub fn carry(self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.policy(|policy| policy.carry(names))
    }

    /// Sends the request id with the response, under the name under which it came.
    pub fn echo_request_id(self) -> Self {
        self.answer(|answer| answer.request_id = true)
    }

    /// Sends the correlation id with the response, where one has a [name](Self::correlation_id).
    pub fn echo_correlation_id(self) -> Self {
        self.answer(|answer| answer.correlation_id = true)
    }

    /// Sends the trace id with the response in this field, such as `x-trace-id`.
    pub fn echo_trace_id(self, name: HeaderName) -> Self {
        self.answer(|answer| answer.trace_id = Some(name))
    }

    /// Adds `Server-Timing: trace;desc=00-…` to the response: our span, for the caller's own trace or the
    /// developer tools of a browser (W3C Trace Context level 2, 5).
    pub fn server_timing(self) -> Self {
        self.answer(|answer| answer.server_timing = true)
    }

    /// Puts the context into the extensions of the response as well, for layers outside this one.
    pub fn response_extension(self) -> Self {
        self.answer(|answer| answer.extension = true)
    }
}

impl<K> ServerLayer<K> {
    fn answer(self, change: impl FnOnce(&mut Answer)) -> Self {
        self.change(|shared| {
            shared.answer.says_something = true;
            change(&mut shared.answer);
        })
    }
}

impl<K> ClientLayer<K> {
    /// Tells only these hosts of our trace and our ids. From calls to others every field of them is removed; they are a span of ours all the
    /// same. All hosts are told by default.
    pub fn propagate_to(self, hosts: Hosts) -> Self {
        self.policy(|policy| policy.propagate_to(hosts))
    }

    /// Adds the fields that the server layer [carries](ServerLayer::carry) to calls to these hosts, unless a call has such a field of its
    /// own. From calls to other hosts a copy of what is carried is removed. By default neither.
    ///
    /// ```
    /// # use buttress_trace_ctx::TraceLayer;
    /// # use http::header::AUTHORIZATION;
    /// let server = TraceLayer::server().carry([AUTHORIZATION]);
    /// let client = TraceLayer::client().forward_to("*.svc.local".parse()?);
    /// # drop((server, client)); Ok::<_, buttress_trace_ctx::InvalidHost>(())
    /// ```
    ///
    /// What a redirect leads to is another call: follow redirects above this layer, so that it is asked for each.
    pub fn forward_to(self, hosts: Hosts) -> Self {
        self.policy(|policy| policy.forward_to(hosts))
    }
}

macro_rules! builder {
    ($layer:ident $service:ident) => {
        impl<K> $layer<K> {
            /// The formats to read and write; [`W3c`](crate::W3c) by default.
            pub fn propagator(self, propagator: impl Propagator) -> Self {
                self.policy(|policy| policy.propagator(propagator))
            }

            /// What is recorded; what the caller decided, or else everything, by default.
            pub fn sampler(self, sampler: impl Sampler) -> Self {
                self.policy(|policy| policy.sampler(sampler))
            }

            /// Where new ids come from; [`FastIds`](crate::FastIds) by default.
            pub fn ids(self, ids: impl IdGenerator) -> Self {
                self.policy(|policy| policy.ids(ids))
            }

            /// The field of the request id; `x-request-id` by default.
            pub fn request_id(self, name: HeaderName) -> Self {
                self.policy(|policy| policy.request_id(name))
            }

            /// The field of the correlation id, such as `x-correlation-id`; none by default.
            pub fn correlation_id(self, name: HeaderName) -> Self {
                self.policy(|policy| policy.correlation_id(name))
            }

            /// How the template of a route is found; in the extensions, by default.
            pub fn route(self, route: impl Route) -> Self {
                self.change(|shared| shared.route = Arc::new(route))
            }

            /// What the time is asked of; the system's clocks by default.
            pub fn clock(self, clock: impl Clock) -> Self {
                self.change(|shared| shared.clock = Arc::new(clock))
            }

            /// Where records go, in place of any sink before; nowhere by default. Several are a tuple.
            pub fn sink<L>(self, sink: L) -> $layer<L> {
                $layer {
                    shared: Arc::new(Arc::unwrap_or_clone(self.shared).with_sink(sink)),
                }
            }

            fn policy(self, change: impl FnOnce(Policy) -> Policy) -> Self {
                self.change(|shared| shared.policy = change(shared.policy.clone()))
            }

            fn change(self, change: impl FnOnce(&mut Shared<K>)) -> Self {
                let mut shared = Arc::unwrap_or_clone(self.shared);
                change(&mut shared);
                Self {
                    shared: Arc::new(shared),
                }
            }
        }

        impl<S, K> Layer<S> for $layer<K> {
            type Service = $service<S, K>;

            fn layer(&self, inner: S) -> Self::Service {
                $service {
                    inner,
                    shared: self.shared.clone(),
                }
            }
        }

        impl<K> Clone for $layer<K> {
            fn clone(&self) -> Self {
                Self {
                    shared: self.shared.clone(),
                }
            }
        }

        impl<K> std::fmt::Debug for $layer<K> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_tuple(stringify!($layer))
                    .field(&self.shared)
                    .finish()
            }
        }
    };
}

builder!(ServerLayer ServerService);
builder!(ClientLayer ClientService);
