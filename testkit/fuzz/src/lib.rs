//! Every parser and decoder that reads a stranger's bytes, as a target.
//!
//! A target takes any bytes, must not panic, and checks what can be checked of the result. `corpus/<target>/` holds inputs, by hand and
//! from runs; the tests replay them, and the program `fuzz` mutates them.

use buttress_circuit::feed::Trip;
use buttress_negotiate::Offers;
use buttress_trace_ctx::{TraceParent, TraceState};
use buttress_wire::{Recorded, RetryAfter, lex};
use bytes::Bytes;
use http::HeaderValue;

/// One parser under attack.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// Feeds it.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target {
        name: "accept",
        run: accept,
    },
    Target {
        name: "circuit-trip",
        run: circuit_trip,
    },
    Target {
        name: "lex",
        run: lexer,
    },
    Target {
        name: "record",
        run: record,
    },
    Target {
        name: "retry-after",
        run: retry_after,
    },
    Target {
        name: "traceparent",
        run: traceparent,
    },
    Target {
        name: "tracestate",
        run: tracestate,
    },
];

fn accept(bytes: &[u8]) {
    let names = [
        "application/json",
        "text/csv",
        "text/html;level=1",
        "application/xml",
    ];
    let offers = Offers::new(names.map(|name| (name, name))).expect("these are media types");
    if let Ok(chosen) = offers.select_field(bytes) {
        assert!(
            chosen.weight() > buttress_negotiate::QValue::ZERO,
            "chosen, and refused"
        );
    }
}

fn circuit_trip(bytes: &[u8]) {
    if let Some(trip) = Trip::decode(bytes) {
        let again = Trip::decode(trip.encode().as_bytes());
        assert_eq!(again.as_ref(), Some(&trip), "what is read can be written");
    }
}

fn lexer(bytes: &[u8]) {
    for element in lex::elements(bytes) {
        let (value, parameters) = lex::value_and_parameters(element);
        assert!(value.len() <= element.len());
        for parameter in parameters.flatten() {
            assert!(lex::is_token(parameter.name));
            assert!(parameter.value.is(&parameter.value.unescaped()));
        }
        let _ = lex::Directive::parse(element);
    }
}

fn record(bytes: &[u8]) {
    if let Ok(recorded) = Recorded::decode(Bytes::copy_from_slice(bytes)) {
        let again = Recorded::decode(recorded.encode());
        assert_eq!(
            again.as_ref(),
            Ok(&recorded),
            "what was read is written and read the same"
        );
    }
}

fn retry_after(bytes: &[u8]) {
    let _ = RetryAfter::parse(bytes);
}

fn traceparent(bytes: &[u8]) {
    if let Ok(parsed) = TraceParent::parse(bytes) {
        let written = parsed.to_bytes();
        assert_eq!(
            TraceParent::parse(&written),
            Ok(parsed),
            "what is sent is what was read"
        );
    }
}

fn tracestate(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else {
        return;
    };
    if let Ok(state) = TraceState::parse(value) {
        assert!(state.iter().count() <= 32);
    }
}
