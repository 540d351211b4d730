//! The formats beside W3C, as tables, and through one another.

use buttress_trace_ctx::{
    B3, Baggage, BaggageFields, Deferring, ExtractOnly, Extracted, FastIds, Jaeger, Never, Origin,
    Policy, Propagator, Propagators, SampleRequest, Sampling, TraceContext, Trust, W3c, XRay,
};
use http::{HeaderMap, HeaderName, HeaderValue, Request};

const T: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const S: &str = "00f067aa0ba902b7";

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

/// `trace/span/decision`, or what else was found.
fn found(propagator: &dyn Propagator, fields: &[(&'static str, &str)]) -> String {
    match propagator.extract(&headers(fields)) {
        Extracted::Remote(remote) => format!(
            "{}/{}/{:?}",
            remote.parent.trace_id, remote.parent.span_id, remote.sampling
        ),
        other => format!("{other:?}"),
    }
}

fn remote(sampling: &str) -> String {
    format!("{T}/{S}/{sampling}")
}

#[test]
fn b3_in_one_field() {
    let short = format!("{}{}/{S}/Defer", "0".repeat(16), &T[..16]);
    for (value, expected) in [
        (format!("{T}-{S}"), remote("Defer")),
        (format!("{T}-{S}-0"), remote("Deny")),
        (format!("{T}-{S}-1"), remote("Accept")),
        (format!("{T}-{S}-d"), remote("Debug")),
        (format!("{T}-{S}-1-{S}"), remote("Accept")),
        (format!("{}-{S}", &T[..16]), short),
        ("0".into(), "Nothing".into()),
        ("d".into(), "Nothing".into()),
        (format!("{T}-{S}-2"), "Invalid".into()),
        (format!("{T}-{S}-true"), "Invalid".into()),
        (format!("{T}-{S}-1-{S}-"), "Invalid".into()),
        (format!("{T}-{S}-1-{}", &S[1..]), "Invalid".into()),
        (format!("{}-{S}", &T[1..]), "Invalid".into()),
        (format!("{T}-{}", &S[1..]), "Invalid".into()),
        (format!("{}-{S}", T.to_uppercase()), "Invalid".into()),
        (format!("+{}-{S}", &T[1..]), "Invalid".into()),
        (format!("{}-{S}", "0".repeat(32)), "Invalid".into()),
        (T.into(), "Invalid".into()),
        (String::new(), "Invalid".into()),
    ] {
        assert_eq!(found(&B3::multi(), &[("b3", &value)]), expected, "{value}");
    }
    let twice = format!("{T}-{S}");
    assert_eq!(
        found(&B3::single(), &[("b3", &twice), ("b3", &twice)]),
        "Invalid"
    );
}

#[test]
fn b3_in_several_fields() {
    let ids = [("x-b3-traceid", T), ("x-b3-spanid", S)];
    for (more, expected) in [
        (&[][..], remote("Defer")),
        (&[("x-b3-sampled", "1")], remote("Accept")),
        (&[("x-b3-sampled", "true")], remote("Accept")),
        (&[("x-b3-sampled", "0")], remote("Deny")),
        (&[("x-b3-flags", "1")], remote("Debug")),
        (
            &[("x-b3-flags", "1"), ("x-b3-sampled", "0")],
            remote("Debug"),
        ),
        (
            &[("x-b3-flags", "0"), ("x-b3-sampled", "1")],
            remote("Accept"),
        ),
        (&[("x-b3-parentspanid", S)], remote("Defer")),
        (&[("x-b3-parentspanid", "xyz")], "Invalid".into()),
        (&[("x-b3-sampled", "yes")], "Invalid".into()),
        (&[("x-b3-flags", "2")], "Invalid".into()),
        (&[("x-b3-traceid", T)], "Invalid".into()),
    ] {
        let fields = [&ids[..], more].concat();
        assert_eq!(found(&B3::single(), &fields), expected, "{more:?}");
    }
    assert_eq!(found(&B3::multi(), &ids[..1]), "Invalid");
    assert_eq!(found(&B3::multi(), &[("x-b3-sampled", "1")]), "Nothing");
}

#[test]
fn x_ray() {
    let root = format!("Root=1-{}-{}", &T[..8], &T[8..]);
    for (value, expected) in [
        (format!("{root};Parent={S};Sampled=1"), remote("Accept")),
        (format!("{root};Parent={S};Sampled=0"), remote("Deny")),
        (format!("{root};Parent={S};Sampled=?"), remote("Defer")),
        (format!("{root};Parent={S}"), remote("Defer")),
        (
            format!("Sampled=1; Parent={S} ;{root};Self=x;Lineage=a:0"),
            remote("Accept"),
        ),
        (root.clone(), "Nothing".into()),
        (format!("Parent={S}"), "Invalid".into()),
        (format!("{root};{root};Parent={S}"), "Invalid".into()),
        (format!("{root};Parent={S};Sampled=2"), "Invalid".into()),
        (format!("{root};Parent={}", &S[1..]), "Invalid".into()),
        (
            format!("{};Parent={S}", root.replace("=1-", "=2-")),
            "Invalid".into(),
        ),
        (
            format!("{};Parent={S}", root.replace('f', "F")),
            "Invalid".into(),
        ),
        (format!("Root=1-{T}-;Parent={S}"), "Invalid".into()),
    ] {
        assert_eq!(
            found(&XRay, &[("x-amzn-trace-id", &value)]),
            expected,
            "{value}"
        );
    }
}

#[test]
fn jaeger() {
    let bare = format!("{:0>32}/{:0>16}/Accept", "abc", "1");
    for (value, expected) in [
        (format!("{T}:{S}:0:1"), remote("Accept")),
        (format!("{T}:{S}:{S}:01"), remote("Accept")),
        (format!("{T}:{S}:0:0"), remote("Deny")),
        (format!("{T}:{S}:0:3"), remote("Debug")),
        (format!("{T}:{S}:0:2"), remote("Deny")),
        (format!("{T}%3A{S}%3a0%3A1"), remote("Accept")),
        ("abc:1:0:1".into(), bare),
        (format!("{T}:{S}:1"), "Invalid".into()),
        (format!("{T}:{S}:0:"), "Invalid".into()),
        (format!("{T}:{S}:0:001"), "Invalid".into()),
        (format!("{T}:{S}:0:+1"), "Invalid".into()),
        (format!("{T}0:{S}:0:1"), "Invalid".into()),
        (format!("0:{S}:0:1"), "Invalid".into()),
        (format!(":{S}:0:1"), "Invalid".into()),
        (format!("{T}%2C{S}:0:1"), "Invalid".into()),
    ] {
        assert_eq!(
            found(&Jaeger, &[("uber-trace-id", &value)]),
            expected,
            "{value}"
        );
    }
}

#[test]
fn every_format_reads_what_it_writes_and_keeps_the_decision_it_has_a_word_for() {
    let formats: [(&dyn Propagator, &[Sampling]); 5] = [
        (&W3c, &[Sampling::Deny, Sampling::Accept]),
        (
            &B3::single(),
            &[Sampling::Deny, Sampling::Accept, Sampling::Debug],
        ),
        (
            &B3::multi(),
            &[Sampling::Deny, Sampling::Accept, Sampling::Debug],
        ),
        (&XRay, &[Sampling::Deny, Sampling::Accept]),
        (
            &Jaeger,
            &[Sampling::Deny, Sampling::Accept, Sampling::Debug],
        ),
    ];
    for (format, words) in formats {
        for &sampling in words {
            for context in [
                TraceContext::root(&FastIds),
                TraceContext::root(&FastIds).child(&FastIds),
            ] {
                let context = context.with_sampling(sampling);
                let mut out = HeaderMap::new();
                format.inject(&context, &mut out);
                let Extracted::Remote(remote) = format.extract(&out) else {
                    panic!("{out:?}")
                };
                assert_eq!(remote.parent.trace_id, context.trace_id());
                assert_eq!(remote.parent.span_id, context.span_id());
                assert_eq!(remote.sampling, sampling, "{out:?}");
            }
        }
    }
}

#[test]
fn those_we_call_are_told_that_a_deferred_trace_is_not_sampled() {
    let formats: [&dyn Propagator; 5] = [&W3c, &B3::single(), &B3::multi(), &XRay, &Jaeger];
    for format in formats {
        let policy = Policy::default().sampler(Deferring(Never));
        let context = policy.accept(&mut Request::new(()));
        assert_eq!(context.sampling(), Sampling::Defer);
        let mut out = HeaderMap::new();
        format.inject(&context.child(&FastIds), &mut out);
        let Extracted::Remote(remote) = format.extract(&out) else {
            panic!("{out:?}")
        };
        assert_eq!(remote.sampling, Sampling::Deny, "{out:?}");
    }
}

#[test]
fn no_stale_field_stays_beside_what_is_written() {
    let stale = format!("{T}-{S}-1");
    for format in [B3::single(), B3::multi()] {
        let mut out = headers(&[
            ("b3", &stale),
            ("x-b3-flags", "1"),
            ("x-b3-parentspanid", S),
        ]);
        format.inject(&TraceContext::root(&FastIds), &mut out);
        assert!(!format!("{out:?}").contains(T) && !out.contains_key("x-b3-flags"));
        assert!(!out.contains_key("x-b3-parentspanid"));
    }
}

#[test]
fn both_forms_of_b3_stand_beside_one_another() {
    let both: [&dyn Propagator; 3] = [
        &(B3::single(), B3::multi()),
        &(B3::multi(), B3::single()),
        &Propagators::from_names("b3multi,b3").unwrap(),
    ];
    for format in both {
        let stale = format!("{T}-{S}-1");
        let mut out = headers(&[("b3", &stale), ("x-b3-traceid", T), ("x-b3-flags", "1")]);
        for _ in 0..2 {
            let context = TraceContext::root(&FastIds).with_sampling(Sampling::Deny);
            format.inject(&context, &mut out);
            let (trace, span) = (context.trace_id(), context.span_id());
            assert_eq!(out["b3"], format!("{trace}-{span}-0"));
            assert_eq!(out["x-b3-traceid"], trace.to_string());
            assert_eq!(out["x-b3-spanid"], span.to_string());
            assert_eq!(out.len(), 4, "{out:?}");
        }
    }
}

#[test]
fn a_list_that_a_handler_made_too_long_is_shortened_on_its_way_out() {
    let mut context = TraceContext::root(&FastIds);
    for key in ["old", "older", "new"] {
        let value = "v".repeat(200);
        context.state_mut().insert(key, &value).unwrap();
    }
    let mut out = HeaderMap::new();
    W3c.inject(&context, &mut out);
    let sent = out["tracestate"].to_str().unwrap();
    assert!(sent.len() <= 512 && sent.starts_with("new=v"), "{sent}");
    assert_eq!(sent.matches('=').count(), 2);
}

#[test]
fn names_choose_propagators() {
    let all =
        Propagators::from_names(" xray,b3, b3multi,tracecontext,xray,,baggage,jaeger").unwrap();
    let mut out = headers(&[("tracestate", "stale=1")]);
    let mut context = TraceContext::root(&FastIds).with_sampling(Sampling::Accept);
    context.baggage_mut().insert("tenant", "a b").unwrap();
    all.inject(&context, &mut out);
    for name in [
        "x-amzn-trace-id",
        "b3",
        "x-b3-traceid",
        "traceparent",
        "uber-trace-id",
    ] {
        assert!(out.contains_key(name), "{name}");
    }
    assert_eq!(out["baggage"], "tenant=a%20b");
    assert!(!out.contains_key("tracestate"));
    let Extracted::Remote(remote) = all.extract(&out) else {
        panic!()
    };
    assert_eq!(remote.parent.span_id, context.span_id());
    assert_eq!(all.baggage(&out).unwrap().get("tenant").unwrap(), "a b");

    let none = Propagators::from_names("none").unwrap();
    assert_eq!(none.extract(&out), Extracted::Nothing);
    let error = Propagators::from_names("tracecontext,otrace").unwrap_err();
    assert_eq!(error.to_string(), "no propagator is called \"otrace\"");
}

#[test]
fn what_one_format_refuses_is_removed_although_another_is_valid() {
    let b3 = format!("{T}-{S}-1");
    let several = [("x-b3-traceid", T), ("x-b3-spanid", S)];
    let w3c = ("traceparent", crate::server::PARENT);
    let cases: [(&dyn Fn() -> Policy, &[_], &[&str]); 6] = [
        (
            &|| Policy::default().propagator((W3c, B3::single())),
            &[("traceparent", "junk"), ("tracestate", "a=1"), ("b3", &b3)],
            &["b3"],
        ),
        (
            &|| {
                let names = Propagators::from_names("tracecontext,xray,b3");
                Policy::default().propagator(names.unwrap())
            },
            &[
                ("traceparent", "junk"),
                ("x-amzn-trace-id", "junk"),
                ("b3", &b3),
            ],
            &["b3"],
        ),
        (
            &|| Policy::default().propagator((Jaeger, ((XRay, W3c), BaggageFields))),
            &[("uber-trace-id", "junk"), ("x-amzn-trace-id", "junk"), w3c],
            &["traceparent"],
        ),
        (
            &|| Policy::default().propagator(B3::single()),
            &[("b3", "junk"), several[0], several[1]],
            &["x-b3-spanid", "x-b3-traceid"],
        ),
        (
            &|| Policy::default().propagator((ExtractOnly(Jaeger), W3c)),
            &[("uber-trace-id", "junk"), w3c, ("tracestate", "a=1")],
            &["traceparent", "tracestate"],
        ),
        // What nobody has looked at is not refused.
        (
            &|| Policy::default().propagator((W3c, Jaeger)),
            &[w3c, ("uber-trace-id", "junk")],
            &["traceparent", "uber-trace-id"],
        ),
    ];
    for (policy, sent, stays) in cases {
        let mut request = Request::new(());
        *request.headers_mut() = headers(sent);
        let context = policy().accept(&mut request);
        assert_eq!(context.origin(), Origin::Continued);
        let mut names: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, stays, "{sent:?}");
    }
}

#[test]
fn baggage_comes_in_from_the_trusted_and_goes_out_as_it_came() {
    let sent = |traceparent: bool| {
        let mut request = Request::new(());
        let lines = headers(&[("baggage", "a = 1 ;p"), ("baggage", "b=%2C,bad")]);
        *request.headers_mut() = lines;
        if traceparent {
            request.headers_mut().insert(
                "traceparent",
                HeaderValue::from_static(crate::server::PARENT),
            );
        }
        request
    };
    let policy = Policy::default().propagator((W3c, BaggageFields));
    for traceparent in [true, false] {
        let mut request = sent(traceparent);
        let context = policy.accept(&mut request);
        let mut out = HeaderMap::new();
        policy.inject(&context.child(&FastIds), &mut out);
        assert_eq!(out["baggage"], "a = 1 ;p,b=%2C");
        assert!(request.headers().contains_key("baggage"));
    }
    for trust in [Trust::Link, Trust::Ignore] {
        let mut request = sent(true);
        let context = policy.clone().trust(trust).accept(&mut request);
        assert!(context.baggage().is_empty() && request.headers().is_empty());
    }
}

#[test]
fn a_deferred_decision_is_the_samplers() {
    let b3 = Policy::default().propagator(B3::single());
    let ask = |policy: Policy| {
        let mut request = Request::new(());
        *request.headers_mut() = headers(&[("b3", &format!("{T}-{S}"))]);
        policy.accept(&mut request).sampling()
    };
    assert_eq!(ask(b3.clone()), Sampling::Accept);
    let defers = |_: &SampleRequest<'_>| Sampling::Defer;
    assert_eq!(ask(b3.sampler(defers)), Sampling::Defer);
}

#[test]
fn baggage_is_shown_without_its_values() {
    let mut baggage = Baggage::default();
    baggage.insert("user", "secret").unwrap();
    assert_eq!(format!("{baggage:?}"), r#"{"user"}"#);
}
