//! The server layer around a service that answers at once, its body read to its end.

use std::convert::Infallible;
use std::io;
use std::num::NonZeroU32;
use std::time::Duration;

use benches::kit::{body_to_end, call};
use benches::rows::http::{Fixed, request, response};
use buttress_trace_ctx::{
    Always, CommonLog, DebugHeader, Deferring, Finished, JsonLines, MetricsSink, Never,
    ParentBased, PerRoute, Probability, QuantaClock, RateLimited, SampledOnly, SampledOr,
    ServerLayer, Sink, SlowOnly, TraceLayer, TracingSink,
};
use bytes::Bytes;
use criterion::Criterion;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body::Body;
use http_body_util::Empty;
use tower_layer::Layer;
use tower_service::Service;

use super::threads::both_ways;

/// Somebody listens, so that the time is asked for.
pub(super) fn clocks(criterion: &mut Criterion) {
    let bare = Fixed::new(response(1 << 10));
    serve(criterion, "trace-ctx/clock/bare", &bare, &[]);
    let layer = || TraceLayer::server().sampler(Always).sink(ignore);
    bench(criterion, "trace-ctx/clock/system", layer());
    let quanta = layer().clock(QuantaClock::new());
    bench(criterion, "trace-ctx/clock/quanta", quanta);
}

/// The sampler decides about a trace that begins here, but where a parent is named; somebody listens to what is recorded.
pub(super) fn samplers(criterion: &mut Criterion) {
    let layer = || TraceLayer::server().sink(ignore);
    let often = NonZeroU32::new(1000).unwrap();
    let samplers = [
        ("always", layer().sampler(Always)),
        ("never", layer().sampler(Never)),
        ("parent-based", layer().sampler(ParentBased(Always))),
        ("probability", layer().sampler(Probability::new(0.1))),
        (
            "rate-limited",
            layer().sampler(RateLimited::per_second(often)),
        ),
        (
            "deferring",
            layer().sampler(Deferring(Probability::new(0.1))),
        ),
        (
            "per-route",
            layer().sampler(PerRoute::new(Always).route("/orders/{id}", Never)),
        ),
        (
            "debug-header",
            layer().sampler(DebugHeader::new(DEBUG, &SECRET, Always)),
        ),
    ];
    serve(
        criterion,
        "trace-ctx/sampler/bare",
        &Fixed::new(response(1 << 10)),
        &[],
    );
    for (name, layer) in samplers {
        bench(criterion, &format!("trace-ctx/sampler/{name}"), layer);
    }
    let parent = [("traceparent", PARENT)];
    for (name, fields) in [
        ("parent-sampled", &parent[..]),
        ("debug-header-sent", &[("x-debug", "open sesame")]),
    ] {
        let sampler = ParentBased(DebugHeader::new(DEBUG, &SECRET, Never));
        let layer = layer().sampler(sampler);
        let service = layer.layer(Fixed::new(response(1 << 10)));
        serve(
            criterion,
            &format!("trace-ctx/sampler/{name}"),
            &service,
            fields,
        );
    }
}

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const DEBUG: HeaderName = HeaderName::from_static("x-debug");
const SECRET: HeaderValue = HeaderValue::from_static("open sesame");

/// Everything is recorded, and written to nowhere.
pub(super) fn sinks(criterion: &mut Criterion) {
    serve(
        criterion,
        "trace-ctx/sink/bare",
        &Fixed::new(response(1 << 10)),
        &[],
    );
    let layer = || TraceLayer::server().sampler(Always);
    bench(criterion, "trace-ctx/sink/none", layer());
    bench(criterion, "trace-ctx/sink/ignore", layer().sink(ignore));
    let json = || JsonLines::new(io::sink());
    bench(criterion, "trace-ctx/sink/json", layer().sink(json()));
    let common = CommonLog::new(io::sink());
    bench(criterion, "trace-ctx/sink/common", layer().sink(common));
    let metrics = layer().sink(MetricsSink::new());
    bench(criterion, "trace-ctx/sink/metrics", metrics);
    let tracing = layer().sink(TracingSink::new());
    bench(criterion, "trace-ctx/sink/tracing", tracing);
    let sampled = layer().sink(SampledOnly(json()));
    bench(criterion, "trace-ctx/sink/sampled-only", sampled);
    let slow = layer().sink(SlowOnly::new(Duration::from_secs(1), json()));
    bench(criterion, "trace-ctx/sink/slow-only", slow);
    let upgraded = layer().sampler(Deferring(Never));
    let upgraded = upgraded.sink(SampledOr::failed(json()).or_slower_than(Duration::from_secs(1)));
    bench(criterion, "trace-ctx/sink/sampled-or", upgraded);
    let two = layer().sink((json(), ignore));
    bench(criterion, "trace-ctx/sink/two", two);
}

fn ignore(_: &Finished<'_>) {}

fn bench<K: Sink + Send + Sync + 'static>(
    criterion: &mut Criterion,
    id: &str,
    layer: ServerLayer<K>,
) {
    let service = layer.layer(Fixed::new(response(1 << 10)));
    serve(criterion, id, &service, &[]);
}

fn serve<S, B>(
    criterion: &mut Criterion,
    id: &str,
    service: &S,
    fields: &[(&'static str, &'static str)],
) where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = Infallible> + Clone + Send,
    B: Body,
{
    both_ways(criterion, id, || {
        let (mut service, request) = (service.clone(), request(fields));
        move || {
            let Ok(response) = call(&mut service, request.clone());
            body_to_end(response);
        }
    });
}
