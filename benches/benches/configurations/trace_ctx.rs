//! The server layer around a service that answers at once, its body read to its end.

use std::convert::Infallible;
use std::io;
use std::num::NonZeroU32;

use benches::kit::{body_to_end, call};
use benches::rows::http::{Fixed, request, response};
use buttress_trace_ctx::{
    Always, CommonLog, Deferring, Finished, JsonLines, Never, ParentBased, Probability,
    RateLimited, ServerLayer, Sink, TraceLayer,
};
use bytes::Bytes;
use criterion::Criterion;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Empty;
use tower_layer::Layer;
use tower_service::Service;

use super::threads::both_ways;

/// The sampler decides about a trace that begins here; somebody listens to what is recorded.
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
    ];
    serve(
        criterion,
        "trace-ctx/sampler/bare",
        &Fixed::new(response(1 << 10)),
    );
    for (name, layer) in samplers {
        bench(criterion, &format!("trace-ctx/sampler/{name}"), layer);
    }
}

/// Everything is recorded, and written to nowhere.
pub(super) fn sinks(criterion: &mut Criterion) {
    serve(
        criterion,
        "trace-ctx/sink/bare",
        &Fixed::new(response(1 << 10)),
    );
    let layer = || TraceLayer::server().sampler(Always);
    bench(criterion, "trace-ctx/sink/none", layer());
    bench(criterion, "trace-ctx/sink/ignore", layer().sink(ignore));
    let json = || JsonLines::new(io::sink());
    bench(criterion, "trace-ctx/sink/json", layer().sink(json()));
    let common = CommonLog::new(io::sink());
    bench(criterion, "trace-ctx/sink/common", layer().sink(common));
    bench(
        criterion,
        "trace-ctx/sink/two",
        layer().sink((json(), ignore)),
    );
}

fn ignore(_: &Finished<'_>) {}

fn bench<K: Sink + Send + Sync + 'static>(
    criterion: &mut Criterion,
    id: &str,
    layer: ServerLayer<K>,
) {
    serve(criterion, id, &layer.layer(Fixed::new(response(1 << 10))));
}

fn serve<S, B>(criterion: &mut Criterion, id: &str, service: &S)
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = Infallible> + Clone + Send,
    B: Body,
{
    both_ways(criterion, id, || {
        let (mut service, request) = (service.clone(), request(&[]));
        move || {
            let Ok(response) = call(&mut service, request.clone());
            body_to_end(response);
        }
    });
}
