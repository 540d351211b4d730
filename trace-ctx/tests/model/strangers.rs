//! What a stranger sends goes nowhere, and what a friend sends survives every format.

use buttress_trace_ctx::{
    B3, BaggageFields, FastIds, Jaeger, Policy, Propagator, Sampling, TraceContext, Trust, W3c,
    XRay,
};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use proptest::prelude::*;

fn all() -> (W3c, B3, Jaeger, XRay, BaggageFields) {
    (W3c, B3::single(), Jaeger, XRay, BaggageFields)
}

const FIELDS: [&str; 12] = [
    "traceparent",
    "tracestate",
    "baggage",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-sampled",
    "uber-trace-id",
    "x-amzn-trace-id",
    "x-request-id",
    "x-correlation-id",
    "authorization",
];

/// Every byte of it can be told from ours: letters that are not hex, and digits in runs that no id of ours has by chance.
fn marked() -> impl Strategy<Value = Vec<(usize, String)>> {
    let ids = ("[0-9a-f]{32}", "[0-9a-f]{16}").prop_map(|(t, s)| (t, s));
    let field = (0..FIELDS.len(), ids, "[g-z]{8,20}").prop_map(|(field, (trace, span), word)| {
        let value = match FIELDS[field] {
            "traceparent" => format!("00-{trace}-{span}-01"),
            "tracestate" | "baggage" => format!("{word}={word}"),
            "b3" => format!("{trace}-{span}-1"),
            "x-b3-traceid" => trace,
            "x-b3-spanid" => span,
            "x-b3-sampled" => "1".to_owned(),
            "uber-trace-id" => format!("{trace}:{span}:0:1"),
            "x-amzn-trace-id" => format!(
                "Root=1-{}-{};Parent={span};Sampled=1",
                &trace[..8],
                &trace[8..]
            ),
            _ => word,
        };
        (field, value)
    });
    prop::collection::vec(field, 0..16)
}

/// Pieces of a value that are long enough to be nobody else's.
fn pieces(value: &str) -> impl Iterator<Item = &str> {
    value
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|piece| piece.len() >= 8)
}

proptest! {
    #[test]
    fn no_byte_of_a_stranger_reaches_what_we_send(sent in marked(), link in any::<bool>()) {
        let trust = if link { Trust::Link } else { Trust::Ignore };
        let policy = Policy::default()
            .propagator(all())
            .correlation_id(HeaderName::from_static("x-correlation-id"))
            .trust(trust);
        let mut request = Request::new(());
        for (field, value) in &sent {
            request.headers_mut().append(FIELDS[*field], HeaderValue::from_str(value).unwrap());
        }
        let context = policy.accept(&mut request);
        let mut out = HeaderMap::new();
        policy.inject(&context.child(&FastIds), &mut out);
        let out: Vec<_> = out.values().map(|value| value.to_str().unwrap()).collect();
        for piece in sent.iter().flat_map(|(_, value)| pieces(value)) {
            // An id of zeros is nobody's.
            if piece.bytes().any(|byte| byte != b'0') {
                prop_assert!(out.iter().all(|value| !value.contains(piece)), "{piece} in {out:?}");
            }
        }
        for (field, _) in &sent {
            let stays = FIELDS[*field] == "authorization";
            prop_assert_eq!(request.headers().contains_key(FIELDS[*field]), stays, "nor the handler");
        }
    }

    #[test]
    fn every_format_keeps_the_trace_and_says_what_it_can_of_the_decision(
        trace in any::<u128>(), decision in 0usize..4, from in 0usize..6, to in 0usize..6,
    ) {
        let formats: [&dyn Propagator; 6] =
            [&W3c, &B3::single(), &B3::multi(), &Jaeger, &XRay, &(B3::single(), W3c)];
        let decision = [Sampling::Defer, Sampling::Deny, Sampling::Accept, Sampling::Debug][decision];
        let id = buttress_trace_ctx::TraceId::from_bytes(trace.max(1).to_be_bytes()).unwrap();
        let through = |format: usize, id, decision| {
            let mut headers = HeaderMap::new();
            formats[format].inject(&context(id, decision), &mut headers);
            match formats[format].extract(&headers) {
                buttress_trace_ctx::Extracted::Remote(remote) => (remote.parent.trace_id, remote.sampling),
                other => panic!("{format} {headers:?} {other:?}"),
            }
        };
        let (first, heard) = through(from, id, decision);
        let (second, heard_again) = through(to, first, heard);
        prop_assert_eq!((first, second), (id, id));
        prop_assert_eq!(heard.is_sampled(), decision.is_sampled());
        prop_assert_eq!(heard_again.is_sampled(), decision.is_sampled());
        let is_b3 = |format: usize| matches!(format, 1 | 2 | 5);
        if is_b3(from) && is_b3(to) {
            let told = if decision == Sampling::Defer { Sampling::Deny } else { decision };
            prop_assert_eq!(heard_again, told, "B3 tells debug from the rest");
        }
    }
}

/// A context of this trace, made as a caller's would be.
fn context(id: buttress_trace_ctx::TraceId, decision: Sampling) -> TraceContext {
    let mut request = Request::builder()
        .header("traceparent", format!("00-{id}-00f067aa0ba902b7-01"))
        .body(())
        .unwrap();
    Policy::default()
        .accept(&mut request)
        .with_sampling(decision)
}
