//! Who is trusted, where a client is, and what is recorded of whom.

use std::net::SocketAddr;

use buttress_trace_ctx::{
    Always, ClientIp, DebugHeader, Head, Never, ParentBased, PeerAddr, PeerIn, PerRoute, Policy,
    Probability, RouteName, Sampling, SharedSecret, Trust, TrustPolicy,
};
use http::{HeaderName, HeaderValue, Request};

use crate::server::PARENT;

fn from(peer: &str) -> Request<()> {
    let mut request = Request::new(());
    let peer: SocketAddr = peer.parse().unwrap();
    request.extensions_mut().insert(PeerAddr(peer));
    request
}

#[test]
fn a_peer_is_trusted_by_its_network() {
    let policy = PeerIn::new("10.0.0.0/8, ::1, fd00::/8".parse().unwrap());
    for (peer, trust) in [
        ("10.1.2.3:1", Trust::Continue),
        ("[::ffff:10.1.2.3]:1", Trust::Continue),
        ("[::1]:1", Trust::Continue),
        ("[fd12::1]:1", Trust::Continue),
        ("11.1.2.3:1", Trust::Link),
        ("[::2]:1", Trust::Link),
    ] {
        assert_eq!(policy.trust(&Head::of(&from(peer))), trust, "{peer}");
    }
    assert_eq!(policy.trust(&Head::of(&Request::new(()))), Trust::Link);
    let policy = policy.or(Trust::Ignore);
    assert_eq!(policy.trust(&Head::of(&Request::new(()))), Trust::Ignore);
    let error = "10.0.0.0/33"
        .parse::<buttress_trace_ctx::Networks>()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "\"10.0.0.0/33\" is neither an address nor a network"
    );
}

#[cfg(feature = "axum")]
#[test]
fn axum_knows_the_peer() {
    let policy = PeerIn::new("10.0.0.1".parse().unwrap());
    let mut request = Request::new(());
    let peer: SocketAddr = "10.0.0.1:9".parse().unwrap();
    request
        .extensions_mut()
        .insert(axum::extract::ConnectInfo(peer));
    assert_eq!(policy.trust(&Head::of(&request)), Trust::Continue);
}

#[test]
fn a_secret_is_trusted_whole_once_and_never_empty() {
    let name = HeaderName::from_static("x-mesh");
    let policy = SharedSecret::new(name.clone(), &HeaderValue::from_static("s3cret"));
    let empty = SharedSecret::new(name, &HeaderValue::from_static(""));
    for (values, trust) in [
        (&["s3cret"][..], Trust::Continue),
        (&["s3creT"], Trust::Link),
        (&["s3cre"], Trust::Link),
        (&["s3cret "], Trust::Link),
        (&["s3cret", "s3cret"], Trust::Link),
        (&[""], Trust::Link),
        (&[], Trust::Link),
    ] {
        let mut request = Request::new(());
        for value in values {
            request
                .headers_mut()
                .append("x-mesh", HeaderValue::from_static(value));
        }
        assert_eq!(policy.trust(&Head::of(&request)), trust, "{values:?}");
        assert_eq!(empty.trust(&Head::of(&request)), Trust::Link, "{values:?}");
    }
    assert!(!format!("{policy:?}").contains("s3cret"));
}

#[test]
fn a_client_is_where_the_first_stranger_from_the_right_is() {
    let proxies: buttress_trace_ctx::Networks = "10.0.0.0/8,fd00::/8".parse().unwrap();
    let legacy = ClientIp::x_forwarded_for(proxies.clone());
    let standard = ClientIp::forwarded(proxies);
    for (peer, lines, client) in [
        ("8.8.8.8:1", &["1.1.1.1"][..], "8.8.8.8"),
        ("10.0.0.1:1", &[], "10.0.0.1"),
        ("10.0.0.1:1", &["1.1.1.1"], "1.1.1.1"),
        ("10.0.0.1:1", &["6.6.6.6, 1.1.1.1"], "1.1.1.1"),
        ("10.0.0.1:1", &["6.6.6.6, 1.1.1.1 , 10.0.0.2"], "1.1.1.1"),
        ("10.0.0.1:1", &["6.6.6.6", "1.1.1.1", "10.0.0.2"], "1.1.1.1"),
        ("10.0.0.1:1", &["10.9.9.9, 10.0.0.2"], "10.9.9.9"),
        ("10.0.0.1:1", &["1.1.1.1, junk, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1:1", &["1.1.1.1:80"], "1.1.1.1"),
        ("10.0.0.1:1", &["2001:db8::1, fd00::2"], "2001:db8::1"),
        ("10.0.0.1:1", &["1.1.1.1,"], "10.0.0.1"),
        ("10.0.0.1:1", &["\", 1.1.1.1"], "1.1.1.1"),
    ] {
        let mut request = from(peer);
        for line in lines {
            request
                .headers_mut()
                .append("x-forwarded-for", HeaderValue::from_static(line));
        }
        assert_eq!(
            legacy.of(&Head::of(&request)).unwrap().to_string(),
            client,
            "{lines:?}"
        );
        assert_eq!(
            standard.of(&Head::of(&request)).unwrap().to_string(),
            peer[..peer.len() - 2]
        );
    }
    for (line, client) in [
        ("for=1.1.1.1;proto=https", "1.1.1.1"),
        ("proto=https; For=\"[2001:db8::1]:80\"", "2001:db8::1"),
        (
            "for=6.6.6.6, for=\"[2001:db8::1]\", for=10.2.2.2",
            "2001:db8::1",
        ),
        ("for=6.6.6.6, for=_hidden", "10.0.0.1"),
        ("for=6.6.6.6, for=unknown, for=10.0.0.7", "10.0.0.7"),
        ("for=1.1.1.1;host=\"a,for=6.6.6.6\"", "1.1.1.1"),
        ("host=\"a\\\",for=6.6.6.6\";for=1.1.1.1", "1.1.1.1"),
        // What a stranger began does not hide what a proxy of ours added.
        ("for=\"6.6.6.6, for=1.1.1.1", "1.1.1.1"),
        ("for=6.6.6.6;host=\"x\\, for=1.1.1.1", "1.1.1.1"),
        ("for=1.1.1.1;host=\"a\\\\\"", "1.1.1.1"),
        ("for=1.1.1.1, for=\"6.6.6.6", "10.0.0.1"),
        ("for=1.1.1.1;host=\"a,for=6.6.6.6\\\"b\"", "1.1.1.1"),
        ("host=\"for=6.6.6.6;x\";for=1.1.1.1", "1.1.1.1"),
    ] {
        let mut request = from("10.0.0.1:1");
        request
            .headers_mut()
            .insert("forwarded", HeaderValue::from_static(line));
        assert_eq!(
            standard.of(&Head::of(&request)).unwrap().to_string(),
            client,
            "{line}"
        );
    }
    assert_eq!(legacy.of(&Head::of(&Request::new(()))), None);
}

#[test]
fn bytes_that_are_no_text_hide_nothing_but_themselves() {
    let proxies: buttress_trace_ctx::Networks = "10.0.0.0/8".parse().unwrap();
    let legacy = ClientIp::x_forwarded_for(proxies.clone());
    let standard = ClientIp::forwarded(proxies);
    for (line, client) in [
        (&b"\xff, 1.1.1.1"[..], "1.1.1.1"),
        (b"\xff,1.1.1.1,10.0.0.2", "1.1.1.1"),
        (b"1.1.1.1, \xff", "10.0.0.1"),
        (b"6.6.6.6\xff", "10.0.0.1"),
    ] {
        let mut request = from("10.0.0.1:1");
        let value = HeaderValue::from_bytes(line).unwrap();
        request.headers_mut().insert("x-forwarded-for", value);
        let found = legacy.of(&Head::of(&request)).unwrap().to_string();
        assert_eq!(found, client, "{line:?}");
    }
    let mut request = from("10.0.0.1:1");
    let value = HeaderValue::from_bytes(b"for=\xff, for=1.1.1.1;by=\xff").unwrap();
    request.headers_mut().insert("forwarded", value);
    let found = standard.of(&Head::of(&request)).unwrap().to_string();
    assert_eq!(found, "1.1.1.1");
}

#[test]
fn a_network_of_ipv4_in_ipv6_s_clothes_is_one_of_ipv4() {
    for (network, peer, trust) in [
        ("::ffff:10.0.0.0/104", "10.1.2.3:1", Trust::Continue),
        (
            "::ffff:10.0.0.0/104",
            "[::ffff:10.1.2.3]:1",
            Trust::Continue,
        ),
        ("::ffff:10.0.0.0/104", "11.1.2.3:1", Trust::Link),
        ("::ffff:10.0.0.1", "10.0.0.1:1", Trust::Continue),
        ("::ffff:10.0.0.1/128", "10.0.0.1:1", Trust::Continue),
        ("::ffff:0.0.0.0/96", "9.9.9.9:1", Trust::Continue),
        ("10.0.0.0/8", "[::10.1.2.3]:1", Trust::Link),
        ("::/0", "[2001:db8::1]:1", Trust::Continue),
        ("::/0", "9.9.9.9:1", Trust::Link),
        ("0.0.0.0/0", "[2001:db8::1]:1", Trust::Link),
    ] {
        let policy = PeerIn::new(network.parse().unwrap());
        let found = policy.trust(&Head::of(&from(peer)));
        assert_eq!(found, trust, "{peer} in {network}");
    }
}

#[test]
fn a_route_has_a_sampler_of_its_own() {
    let policy = Policy::default().sampler(PerRoute::new(Always).route("/health", Never));
    let ask = |route: Option<&'static str>| {
        let mut request = Request::new(());
        if let Some(route) = route {
            request
                .extensions_mut()
                .insert(RouteName::from_static(route));
        }
        policy.accept(&mut request).sampling()
    };
    assert_eq!(ask(Some("/health")), Sampling::Deny);
    assert_eq!(ask(Some("/orders")), Sampling::Accept);
    assert_eq!(ask(None), Sampling::Accept);
}

#[test]
fn who_knows_the_word_is_recorded() {
    let (name, word) = (
        HeaderName::from_static("x-debug"),
        HeaderValue::from_static("please"),
    );
    let policy = Policy::default().sampler(DebugHeader::new(name, &word, ParentBased(Never)));
    let ask = |value: &'static str| {
        let mut request = Request::new(());
        let unsampled = HeaderValue::from_str(&format!("{}00", &PARENT[..53])).unwrap();
        request.headers_mut().insert("traceparent", unsampled);
        request
            .headers_mut()
            .insert("x-debug", HeaderValue::from_static(value));
        policy.accept(&mut request).sampling()
    };
    assert_eq!(ask("please"), Sampling::Debug);
    assert!(!ask("pleasE").is_sampled());
}

#[test]
fn the_threshold_goes_out_and_goes_away_when_it_no_longer_holds() {
    let accept = |policy: &Policy, state: &'static str| {
        let mut request = Request::new(());
        request
            .headers_mut()
            .insert("traceparent", HeaderValue::from_static(PARENT));
        request
            .headers_mut()
            .insert("tracestate", HeaderValue::from_static(state));
        let context = policy.accept(&mut request);
        String::from_utf8(context.state().as_bytes().to_vec()).unwrap()
    };
    let followed = Policy::default();
    let halved = Policy::default().sampler(Probability::new(0.5));
    let overruled = Policy::default().sampler(Always);
    let sent = "a=1,ot=th:c;rv:ffffffffffffff";
    assert_eq!(accept(&followed, sent), sent);
    assert_eq!(accept(&halved, sent), "ot=th:8;rv:ffffffffffffff,a=1");
    assert_eq!(accept(&overruled, sent), "ot=rv:ffffffffffffff,a=1");
    assert_eq!(
        accept(&halved, "ot=th:0;rv:00000000000000"),
        "ot=rv:00000000000000"
    );
}
