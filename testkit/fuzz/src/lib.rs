//! Every parser and decoder that reads a stranger's bytes, as a target.
//!
//! A target takes any bytes, must not panic, and checks what can be checked of the result. `corpus/<target>/` holds inputs, by hand and
//! from runs; the tests replay them, and the program `fuzz` mutates them.

mod cache;

use buttress_circuit::feed::Trip;
use buttress_idempotency::{Record, Syntax};
use buttress_negotiate::{
    Cbor, Charsets, Codings, Csv, Format, Html, Json, JsonSeq, Languages, Markdown, MessagePack,
    NdJson, Offers, Text, Tsv, Xml,
};
use buttress_trace_ctx::{
    Always, B3, Baggage, BaggageFields, ClientIp, Deferring, Extracted, FastIds, Head, Hosts,
    Jaeger, Networks, Never, PeerAddr, Policy, Probability, Propagator, Propagators, RequestId,
    Sampling, TraceContext, TraceParent, TraceState, Trust, W3c, XRay,
};
use buttress_wire::{Recorded, RetryAfter, lex};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};

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
        name: "accept-names",
        run: accept_names,
    },
    Target {
        name: "bodies",
        run: bodies,
    },
    Target {
        name: "baggage",
        run: baggage,
    },
    Target {
        name: "formats",
        run: formats,
    },
    Target {
        name: "forwarded",
        run: forwarded,
    },
    Target {
        name: "cache-frame",
        run: cache::frame,
    },
    Target {
        name: "cache-request",
        run: cache::request,
    },
    Target {
        name: "cache-response",
        run: cache::response,
    },
    Target {
        name: "cache-stored",
        run: cache::stored,
    },
    Target {
        name: "circuit-trip",
        run: circuit_trip,
    },
    Target {
        name: "hosts",
        run: hosts,
    },
    Target {
        name: "idempotency-key",
        run: idempotency_key,
    },
    Target {
        name: "idempotency-record",
        run: idempotency_record,
    },
    Target {
        name: "incoming",
        run: incoming,
    },
    Target {
        name: "lex",
        run: lexer,
    },
    Target {
        name: "networks",
        run: networks,
    },
    Target {
        name: "propagators",
        run: propagators,
    },
    Target {
        name: "record",
        run: record,
    },
    Target {
        name: "request-id",
        run: request_id,
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

fn accept_names(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else {
        return;
    };
    let names = ["en-GB", "gzip", "utf-8", "identity", "zh-Hant-TW"];
    let fields = ["accept-charset", "accept-encoding", "accept-language"];
    let fields = fields.map(|name| (http::HeaderName::from_static(name), value.clone()));
    let headers: HeaderMap = fields.into_iter().collect();
    let (charsets, codings) = (Charsets::new(names), Codings::new(names));
    let languages = Languages::new(names);
    let chosen = [
        charsets.select(&headers),
        codings.select(&headers),
        languages.filter(&headers),
        languages.filter_extended(&headers),
        languages.lookup(&headers),
    ];
    for weight in chosen
        .into_iter()
        .flatten()
        .filter_map(|found| found.weight)
    {
        assert!(
            weight > buttress_negotiate::QValue::ZERO,
            "chosen, and refused"
        );
    }
}

/// A body in every format that is read; and what it is, in every format that is written.
fn bodies(bytes: &[u8]) {
    fn read(format: &impl Format, bytes: &[u8]) {
        let Ok(value) = format.decode::<serde_json::Value>(bytes) else {
            return;
        };
        let mut json = Vec::new();
        Json.encode(&value, &mut json).expect("a value is JSON");
        // Deeper than JSON is read, it is an error.
        let _ = Json.decode::<serde_json::Value>(&json);
        let mut out = Vec::new();
        let _ = Csv::new().encode(&value, &mut out);
        let (all, mut xml) = (Xml::root("all"), Vec::new());
        if all.encode(&value, &mut xml).is_ok() {
            let read = all.decode::<serde::de::IgnoredAny>(&xml);
            read.expect("a document has one root");
        }
        let _ = Html::title("All").encode(&value, &mut out);
        let _ = Markdown.encode(&value, &mut out);
        let _ = Text.encode(&value, &mut out);
        let _ = (
            Cbor.encode(&value, &mut out),
            MessagePack.encode(&value, &mut out),
        );
    }
    read(&Json, bytes);
    read(&NdJson::new(), bytes);
    read(&JsonSeq, bytes);
    read(&Csv::new(), bytes);
    read(&Xml::root("all"), bytes);
    read(&Cbor, bytes);
    read(&MessagePack, bytes);
    read(&Tsv::new(), bytes);
    // Not as a list, but as one value.
    type One = std::collections::BTreeMap<String, Option<String>>;
    let _ = Xml::root("all").decode::<Vec<String>>(bytes);
    let _ = NdJson::new().decode::<One>(bytes);
    let _ = Csv::new().decode::<One>(bytes);
}

fn circuit_trip(bytes: &[u8]) {
    if let Some(trip) = Trip::decode(bytes) {
        let again = Trip::decode(trip.encode().as_bytes());
        assert_eq!(again.as_ref(), Some(&trip), "what is read can be written");
    }
}

fn idempotency_key(bytes: &[u8]) {
    let Ok(key) = Syntax::Lenient.parse(bytes) else {
        let strict = Syntax::Strict.parse(bytes);
        assert!(strict.is_err(), "what is strictly a key is one");
        return;
    };
    assert!((1..=255).contains(&key.len()));
    assert!(key.iter().all(|byte| matches!(byte, 0x20..=0x7e)));
    // Quoted, it is the same key.
    let mut quoted = vec![b'"'];
    for byte in &*key {
        if matches!(byte, b'"' | b'\\') {
            quoted.push(b'\\');
        }
        quoted.push(*byte);
    }
    quoted.push(b'"');
    assert_eq!(Syntax::Strict.parse(&quoted), Ok(key));
}

fn idempotency_record(bytes: &[u8]) {
    if let Ok(record) = Record::decode(Bytes::copy_from_slice(bytes)) {
        let again = Record::decode(record.encode());
        assert_eq!(
            again.ok(),
            Some(record),
            "what was read is written and read the same"
        );
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
    let Ok(mut state) = TraceState::parse(value) else {
        return;
    };
    assert!(state.iter().count() <= TraceState::MAX_MEMBERS);
    assert_eq!(state.is_empty(), state.to_header_value().is_none());
    let keys: Vec<_> = state.iter().map(|(key, _)| key.to_owned()).collect();
    state.truncate(TraceState::MAX_LEN);
    assert!(state.as_bytes().len() <= TraceState::MAX_LEN);
    if let Some(key) = keys.last() {
        state.insert(key, "v").expect("it was read as a key");
        assert_eq!(state.iter().next(), Some((&**key, "v")));
        assert_eq!(state.iter().filter(|member| member.0 == key).count(), 1);
        assert!(state.remove(key) && state.get(key).is_none());
    }
}

/// A whole head, a line for each field: read under each trust and by each kind of sampler, and sent on.
fn incoming(bytes: &[u8]) {
    const SENT: [&str; 9] = [
        "traceparent",
        "tracestate",
        "baggage",
        "b3",
        "x-b3-traceid",
        "x-b3-spanid",
        "uber-trace-id",
        "x-amzn-trace-id",
        "x-request-id",
    ];
    let base = || Policy::default().propagator((W3c, B3::multi(), Jaeger, XRay, BaggageFields));
    let policies = [
        base(),
        base().sampler(Always),
        base().sampler(Deferring(Never)),
        base().sampler(Probability::new(0.5)),
        base().trust(Trust::Link),
    ];
    for policy in policies {
        let mut request = Request::new(());
        *request.headers_mut() = fields(bytes);
        let context = policy.accept(&mut request);
        assert!(context.state().as_bytes().len() <= TraceState::MAX_LEN);
        // What a handler that passes everything on would send, and what we send in its place.
        policy.inject(&context.child(&FastIds), request.headers_mut());
        for (name, value) in request.headers() {
            let is_ours = SENT.contains(&name.as_str());
            let is_plain = value
                .as_bytes()
                .iter()
                .all(|b| matches!(b, b' '..=b'~' | b'\t'));
            assert!(
                !is_ours || (is_plain && !value.is_empty()),
                "{name}: {value:?}"
            );
        }
        let Extracted::Remote(read) = W3c.extract(request.headers()) else {
            panic!("what is sent is read: {:?}", request.headers())
        };
        assert_eq!(read.parent.trace_id, context.trace_id());
        assert_eq!(read.state.as_bytes(), context.state().as_bytes());
        let baggage = Baggage::from_headers(request.headers());
        assert_eq!(&baggage, context.baggage());
    }
}

/// `name: value`, line by line, as far as they are fields.
fn fields(bytes: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(64) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let name = http::HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

fn networks(bytes: &[u8]) {
    if let Ok(networks) = String::from_utf8_lossy(bytes).parse::<Networks>() {
        let mut request = Request::new(());
        let peer = PeerAddr(([10, 0, 0, 1], 1).into());
        request.extensions_mut().insert(peer);
        let found = ClientIp::x_forwarded_for(networks).of(&Head::of(&request));
        assert_eq!(found, Some([10, 0, 0, 1].into()), "nobody else is known");
    }
}

fn propagators(bytes: &[u8]) {
    if let Ok(chosen) = Propagators::from_names(&String::from_utf8_lossy(bytes)) {
        let mut headers = HeaderMap::new();
        let context = TraceContext::root(&FastIds);
        chosen.inject(&context, &mut headers);
        if let Extracted::Remote(read) = chosen.extract(&headers) {
            assert_eq!(read.parent.trace_id, context.trace_id());
        } else {
            assert!(headers.is_empty(), "what is written is read: {headers:?}");
        }
    }
}

fn baggage(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else {
        return;
    };
    let mut baggage = Baggage::from_headers(&HeaderMap::from_iter([(
        http::HeaderName::from_static("baggage"),
        value,
    )]));
    assert!(baggage.iter().count() <= Baggage::MAX_MEMBERS);
    assert!(baggage.as_bytes().len() <= Baggage::MAX_LEN);
    let before: Vec<_> = baggage.iter().map(|m| m.key().to_owned()).collect();
    // What was decoded goes in again, and is still one member.
    let values: Vec<_> = baggage.iter().map(|m| m.value().into_owned()).collect();
    for value in values {
        if baggage.insert("fuzz", &value).is_ok() {
            assert_eq!(baggage.get("fuzz").as_deref(), Some(&*value));
            let keys = baggage.iter().map(|m| m.key().to_owned());
            assert!(
                keys.eq(before
                    .iter()
                    .filter(|k| *k != "fuzz")
                    .cloned()
                    .chain(["fuzz".to_owned()]))
            );
        }
    }
}

fn formats(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else {
        return;
    };
    let formats: [(&str, &dyn Propagator); 4] = [
        ("b3", &B3::single()),
        ("b3", &B3::multi()),
        ("x-amzn-trace-id", &XRay),
        ("uber-trace-id", &Jaeger),
    ];
    for (name, format) in formats {
        let name = http::HeaderName::from_static(name);
        let sent = HeaderMap::from_iter([(name, value.clone())]);
        let Extracted::Remote(remote) = format.extract(&sent) else {
            continue;
        };
        let mut out = HeaderMap::new();
        let context = TraceContext::root(&FastIds).with_sampling(remote.sampling);
        format.inject(&context, &mut out);
        let Extracted::Remote(again) = format.extract(&out) else {
            panic!("what is written is read");
        };
        // Whoever defers has decided nothing yet, and says no.
        let said = match remote.sampling {
            Sampling::Defer => Sampling::Deny,
            sampling => sampling,
        };
        assert_eq!(again.sampling, said);
    }
}

fn forwarded(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else {
        return;
    };
    let mut request = Request::new(());
    request
        .extensions_mut()
        .insert(PeerAddr(([10, 0, 0, 1], 1).into()));
    request.headers_mut().insert("forwarded", value.clone());
    request.headers_mut().insert("x-forwarded-for", value);
    let proxies = || "10.0.0.0/8".parse().expect("a network");
    for found in [
        ClientIp::forwarded(proxies()),
        ClientIp::x_forwarded_for(proxies()),
    ] {
        assert!(
            found.of(&Head::of(&request)).is_some(),
            "the peer at least is known"
        );
    }
}

/// A list and, behind a zero, the target of a call.
fn hosts(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (list, target) = text
        .split_once('\0')
        .unwrap_or((&text, "http://a.example/"));
    let (Ok(hosts), Ok(target)) = (list.parse::<Hosts>(), target.parse::<http::Uri>()) else {
        return;
    };
    if hosts.contain(&target) {
        let host = target.host().expect("without one it goes nowhere");
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let is_listed = list.to_ascii_lowercase().split(',').any(|entry| {
            let entry = entry.trim().trim_start_matches("*.");
            let (name, port) = entry.rsplit_once(':').unwrap_or((entry, ""));
            let is_port = port.bytes().all(|digit| digit.is_ascii_digit());
            let name = if is_port { name } else { entry };
            host.ends_with(name.trim_end_matches('.'))
        });
        assert!(is_listed, "{host} is none of {list}");
    }
}

fn request_id(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else {
        return;
    };
    if let Ok(id) = RequestId::from_header_value(&value) {
        assert!((1..=RequestId::MAX_LEN).contains(&bytes.len()));
        assert!(
            bytes
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || b"._~+/=:-".contains(b))
        );
        assert_eq!(id.to_header_value(), value, "kept as it came");
        assert_eq!(id.to_string().parse(), Ok(id));
    }
}
