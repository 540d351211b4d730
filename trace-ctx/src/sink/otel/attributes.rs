//! A finished request in the words of the semantic conventions for HTTP.

use std::borrow::Cow;

use http::uri::Authority;
use http::{HeaderValue, Uri, Version};
use opentelemetry::trace::Event;
use opentelemetry::{Array, Key, KeyValue, Value as OtelValue};
use percent_encoding::percent_decode_str;

use super::OtelHead;
use crate::sink::failure::grpc_name;
use crate::sink::{known_method, scheme_of, span_name};
use crate::{Finished, Kind, Note, Value};

/// Credentials, of signed addresses (as the semantic conventions name them) and of whoever puts a token into a query: their values are never
/// recorded.
const SECRETS: [&str; 15] = [
    "AWSAccessKeyId",
    "Signature",
    "sig",
    "X-Goog-Signature",
    "X-Amz-Signature",
    "X-Amz-Credential",
    "X-Amz-Security-Token",
    "access_token",
    "refresh_token",
    "id_token",
    "token",
    "client_secret",
    "api_key",
    "apikey",
    "password",
];

pub(super) fn name(finished: &Finished<'_>) -> Cow<'static, str> {
    let route = finished.route.map(|route| route.as_str());
    span_name(known_method(finished.method), route)
}

pub(super) fn of(
    head: &OtelHead,
    finished: &Finished<'_>,
    scheme: &'static str,
    secrets: &[String],
) -> Vec<KeyValue> {
    let mut all = Vec::with_capacity(16);
    let mut say = |key: &'static str, value: OtelValue| all.push(KeyValue::new(key, value));
    request(head, finished, &mut say);
    target(head, finished, scheme, secrets, &mut say);
    caller(head, finished, &mut say);
    answer(finished, &mut say);
    all.extend(head.headers.iter().map(header));
    add_notes(finished, &mut all);
    all
}

/// Each key once, as OTLP asks: what was said last is told, and nothing that we know ourselves is said otherwise.
fn add_notes(finished: &Finished<'_>, all: &mut Vec<KeyValue>) {
    let ours = all.len();
    for said in finished.notes().iter().rev().filter_map(attribute) {
        if all.iter().all(|known| known.key != said.key) {
            all.push(said);
        }
    }
    all[ours..].reverse();
}

/// All its lines, in one attribute.
fn header((key, lines): &(Key, Vec<HeaderValue>)) -> KeyValue {
    let text = |line: &HeaderValue| String::from_utf8_lossy(line.as_bytes()).into_owned().into();
    let lines = Array::String(lines.iter().map(text).collect());
    KeyValue::new(key.clone(), OtelValue::Array(lines))
}

fn request(
    head: &OtelHead,
    finished: &Finished<'_>,
    say: &mut impl FnMut(&'static str, OtelValue),
) {
    let method = known_method(finished.method);
    say("http.request.method", method.into());
    if method == "_OTHER" {
        let original = finished.method.as_str().to_owned();
        say("http.request.method_original", original.into());
    }
    if let Some(version) = version(head.version) {
        say("network.protocol.version", version.into());
    }
    let request_id = finished.context.request_id();
    say(
        "buttress.request_id",
        request_id.with_str(ToOwned::to_owned).into(),
    );
}

fn target(
    head: &OtelHead,
    finished: &Finished<'_>,
    scheme: &'static str,
    secrets: &[String],
    say: &mut impl FnMut(&'static str, OtelValue),
) {
    let scheme = scheme_of(finished.uri, scheme);
    let authority = authority(head, finished.uri);
    match finished.kind {
        Kind::Server => {
            say("url.path", finished.uri.path().to_owned().into());
            if let Some(query) = finished.uri.query() {
                say("url.query", redacted(query, secrets).into());
            }
            say("url.scheme", scheme.into());
        }
        Kind::Client => {
            let full = full(scheme, authority, finished.uri, secrets);
            say("url.full", full.into());
        }
    }
    if let Some((address, port)) = authority.map(host_and_port) {
        say("server.address", address.to_owned().into());
        if let Some(port) = port.or_else(|| known_port(finished.kind, scheme)) {
            say("server.port", i64::from(port).into());
        }
    }
    if let Some(route) = finished.route {
        say("http.route", route.as_str().to_owned().into());
    }
}

/// Of a call the port is told always; of a request to a server only where the client did.
fn known_port(kind: Kind, scheme: &str) -> Option<u16> {
    match (kind, scheme) {
        (Kind::Client, "http") => Some(80),
        (Kind::Client, "https") => Some(443),
        _ => None,
    }
}

fn caller(head: &OtelHead, finished: &Finished<'_>, say: &mut impl FnMut(&'static str, OtelValue)) {
    if let (Kind::Server, Some(client)) = (finished.kind, finished.context.client_ip()) {
        say("client.address", client.to_string().into());
    }
    if let Some(user) = finished.context.user() {
        say("user.id", user.to_owned().into());
    }
    let agent = head
        .user_agent
        .as_ref()
        .filter(|_| finished.kind == Kind::Server);
    if let Some(agent) = agent.and_then(|agent| agent.to_str().ok()) {
        say("user_agent.original", agent.to_owned().into());
    }
}

fn answer(finished: &Finished<'_>, say: &mut impl FnMut(&'static str, OtelValue)) {
    if let Some(status) = finished.status {
        let status = i64::from(status.as_u16());
        say("http.response.status_code", status.into());
    }
    if let Some(code) = finished.grpc_status {
        say("rpc.response.status_code", grpc_name(code).into());
    }
    if let Some(error) = finished.error_type() {
        say("error.type", error.into());
    }
    say("buttress.outcome", finished.outcome.as_str().into());
}

fn attribute(note: &Note) -> Option<KeyValue> {
    let Note::Attribute { key, value } = note else {
        return None;
    };
    let value: OtelValue = match value {
        Value::Text(text) => text.clone().into_owned().into(),
        Value::Integer(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::Bool(is) => (*is).into(),
    };
    Some(KeyValue::new(key.clone(), value))
}

pub(super) fn events(finished: &Finished<'_>) -> Vec<Event> {
    let event = |note: &Note| match note {
        Note::Attribute { .. } => None,
        Note::Event { name, at } => Some(Event::new(name.clone(), *at, Vec::new(), 0)),
        Note::Error { message, at } => {
            let message = KeyValue::new("exception.message", message.clone());
            Some(Event::new("exception", *at, vec![message], 0))
        }
    };
    finished.notes().iter().filter_map(event).collect()
}

fn version(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_2 => Some("2"),
        Version::HTTP_3 => Some("3"),
        _ => None,
    }
}

/// Without user and password.
fn authority<'a>(head: &'a OtelHead, uri: &'a Uri) -> Option<&'a str> {
    let sent = || {
        head.host
            .as_ref()?
            .to_str()
            .ok()
            .filter(|host| is_host(host))
    };
    let authority = uri.authority().map(Authority::as_str).or_else(sent)?;
    Some(without_user(authority))
}

/// Whether it looks like a host and a port: it may be any text.
fn is_host(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b".-_~%:[]".contains(&byte);
    !text.is_empty() && text.bytes().all(is_part)
}

/// By hand: these are on the way of every span, and a search by pattern takes longer than what is searched.
fn without_user(authority: &str) -> &str {
    let at = authority.bytes().rposition(|byte| byte == b'@');
    at.map_or(authority, |at| &authority[at + 1..])
}

fn host_and_port(text: &str) -> (&str, Option<u16>) {
    match text.bytes().rposition(|byte| matches!(byte, b':' | b']')) {
        Some(at) if text.as_bytes()[at] == b':' => (&text[..at], text[at + 1..].parse().ok()),
        _ => (text, None),
    }
}

/// With a redacted query.
fn full(scheme: &str, authority: Option<&str>, uri: &Uri, secrets: &[String]) -> String {
    let mut full = String::new();
    if let Some(authority) = authority {
        full = format!("{scheme}://{authority}");
    }
    full.push_str(uri.path());
    if let Some(query) = uri.query() {
        full.push('?');
        full.push_str(&redacted(query, secrets));
    }
    full
}

fn redacted(query: &str, secrets: &[String]) -> String {
    let mut redacted = String::with_capacity(query.len());
    let mut rest = query;
    while !rest.is_empty() {
        let end = rest.bytes().position(|byte| byte == b'&');
        let (pair, after) = rest.split_at(end.unwrap_or(rest.len()));
        let equals = pair.bytes().position(|byte| byte == b'=');
        match equals.filter(|at| is_secret(&pair[..*at], secrets)) {
            Some(at) => {
                redacted.push_str(&pair[..at]);
                redacted.push_str("=REDACTED");
            }
            None => redacted.push_str(pair),
        }
        rest = after.strip_prefix('&').unwrap_or_default();
        redacted.push_str(if end.is_some() { "&" } else { "" });
    }
    redacted
}

/// As its reader would read it: `X%2DAmz-Signature` is the same key.
fn is_secret(key: &str, named: &[String]) -> bool {
    if key.contains('%') {
        is_one(&Cow::from(percent_decode_str(key)), named)
    } else {
        is_one(key.as_bytes(), named)
    }
}

fn is_one(key: &[u8], named: &[String]) -> bool {
    let is = |secret: &str| secret.as_bytes().eq_ignore_ascii_case(key);
    // Most keys are of a length that none of them has.
    let may_be = key.len() < 64 && LENGTHS >> key.len() & 1 == 1;
    (may_be && SECRETS.iter().any(|secret| is(secret))) || named.iter().any(|secret| is(secret))
}

/// A bit for each length that one of the secrets has.
const LENGTHS: u64 = {
    let (mut lengths, mut place) = (0, 0);
    while place < SECRETS.len() {
        lengths |= 1 << SECRETS[place].len();
        place += 1;
    }
    lengths
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_perhaps_a_port() {
        for (text, expected) in [
            ("a.example", ("a.example", None)),
            ("a.example:80", ("a.example", Some(80))),
            ("[::1]:80", ("[::1]", Some(80))),
            ("[::1]", ("[::1]", None)),
            ("a:", ("a", None)),
            ("a:65536", ("a", None)),
            ("user:pass@a:1", ("a", Some(1))),
            ("user@a", ("a", None)),
        ] {
            assert_eq!(host_and_port(without_user(text)), expected);
        }
        for text in ["", "user@a", "a b", "a/b", "<a>", "a\"", "\u{e9}"] {
            assert!(!is_host(text), "{text}");
        }
    }

    #[test]
    fn credentials_are_redacted() {
        assert_eq!(
            redacted("a=1&sig=x&b&SIGNATURE=y%26", &[]),
            "a=1&sig=REDACTED&b&SIGNATURE=REDACTED"
        );
        for secret in SECRETS {
            let query = format!("a=1&{secret}=x&b={secret}");
            let expected = format!("a=1&{secret}=REDACTED&b={secret}");
            assert_eq!(redacted(&query, &[]), expected);
        }
        let long = "k".repeat(100);
        assert_eq!(redacted(&format!("{long}=1"), &[]), format!("{long}=1"));
        for (query, expected) in [
            ("", ""),
            ("card=4242&cards=2", "card=REDACTED&cards=2"),
            ("&&", "&&"),
            ("sig", "sig"),
            ("sig=", "sig=REDACTED"),
            ("sig=x=y&&a", "sig=REDACTED&&a"),
            ("a&sig=x&", "a&sig=REDACTED&"),
            (
                "x%2Damz-signature=x&%zz=1",
                "x%2Damz-signature=REDACTED&%zz=1",
            ),
            ("access_token=x&tokens=2", "access_token=REDACTED&tokens=2"),
        ] {
            assert_eq!(redacted(query, &["Card".to_owned()]), expected);
        }
        let uri = "/p?X-Amz-Signature=x&q".parse().unwrap();
        assert_eq!(
            full("https", Some("host:1"), &uri, &[]),
            "https://host:1/p?X-Amz-Signature=REDACTED&q"
        );
    }
}
