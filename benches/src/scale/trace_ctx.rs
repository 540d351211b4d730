//! The members of a `tracestate`.

use buttress_trace_ctx::Policy;
use http::{HeaderMap, HeaderValue};

use super::{Curve, Order};
use crate::kit::Work;
use crate::rows::http::request;

pub(super) const CURVES: &[Curve] = &[Curve {
    id: "trace-ctx/round-trip/members",
    unit: "members",
    sizes: &[1, 4, 16, 32],
    order: Order::Linear,
    is_filled: false,
    work: round_trip,
}];

/// Read, decided about, and written for another service.
fn round_trip(members: usize) -> Work {
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut request = request(&[("traceparent", parent), ("x-request-id", "req-1")]);
    let state: Vec<_> = (0..members)
        .map(|n| format!("v{n:02}=0123456789"))
        .collect();
    let state = HeaderValue::try_from(state.join(",")).expect("it is text");
    request.headers_mut().insert("tracestate", state.clone());
    let (policy, mut out) = (Policy::default(), HeaderMap::with_capacity(8));
    let context = policy.accept(&mut request);
    policy.inject(&context, &mut out);
    assert_eq!(
        out.get("tracestate"),
        Some(&state),
        "all of it is handed on"
    );
    Work::new(move || {
        let context = policy.accept(&mut request);
        policy.inject(&context, &mut out);
    })
}
