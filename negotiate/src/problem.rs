//! Problems as XML (RFC 9457, appendix B).

use buttress_wire::{PROBLEM_JSON, Problem};
use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderName, HeaderValue,
};
use http::response::Parts;
use http_body_util::Full;
use serde_json::Value;

use crate::negotiated::OriginalAccept;
use crate::offers::Offers;
use crate::xml_text::{escape, is_name};

/// Fields that tell of the bytes that were there.
const OF_OTHER_BYTES: [HeaderName; 5] = [
    ETAG,
    ACCEPT_RANGES,
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("content-md5"),
];

const PROBLEM_XML: HeaderValue = HeaderValue::from_static("application/problem+xml");

/// What a problem can be written in; whether it is XML.
pub(crate) fn forms() -> Offers<bool> {
    let forms = [
        ("application/problem+json", false),
        ("application/json", false),
        ("application/problem+xml", true),
        ("application/xml", true),
        ("text/xml", true),
    ];
    Offers::new(forms).expect("these are media types")
}

/// Whether a client may rather have its problems in XML: only one that knows the word does. Asked of every request, and so no more than a glance.
pub(crate) fn may_be_xml(accept: &OriginalAccept) -> bool {
    let has_x = |line: &HeaderValue| {
        let is_x = |any, byte: &u8| any | byte.eq_ignore_ascii_case(&b'x');
        // Without stopping at the first: so it is looked at in wide steps.
        line.as_bytes().iter().fold(false, is_x)
    };
    accept.lines().iter().any(has_x)
}

/// Whether a client rather has its problems in XML. Asked only where there is a problem.
fn prefers_xml(forms: &Offers<bool>, accept: &OriginalAccept) -> bool {
    let lines = || accept.lines().iter().map(HeaderValue::as_bytes);
    let is_word = |word: &[u8]| word.eq_ignore_ascii_case(b"xml");
    let is_mentioned = lines().any(|line| line.windows(3).any(is_word));
    is_mentioned && forms.select_lines(lines).is_ok_and(|form| *form.value())
}

/// The problem that a response is, as XML where its client rather has that. It may come from any layer, or from the handler: who makes one leaves it in the extensions.
/// One that a layer between has coded is not what the extensions say any more.
pub(crate) fn as_xml(
    head: &mut Parts,
    forms: &Offers<bool>,
    accept: &OriginalAccept,
) -> Option<Full<Bytes>> {
    let problem = head.extensions.get::<Problem>()?;
    let is_coded = head.headers.contains_key(CONTENT_ENCODING);
    if is_coded || head.headers.get(CONTENT_TYPE) != Some(&PROBLEM_JSON) {
        return None;
    }
    if !prefers_xml(forms, accept) {
        return None;
    }
    let xml = to_xml(problem);
    OF_OTHER_BYTES
        .iter()
        .for_each(|name| drop(head.headers.remove(name)));
    head.headers.insert(CONTENT_TYPE, PROBLEM_XML);
    if head.headers.contains_key(CONTENT_LENGTH) {
        head.headers.insert(CONTENT_LENGTH, xml.len().into());
    }
    Some(Full::from(xml))
}

fn to_xml(problem: &Problem) -> Vec<u8> {
    let mut xml = Vec::with_capacity(320);
    xml.extend_from_slice(
        b"<?xml version=\"1.0\" encoding=\"UTF-8\"?><problem xmlns=\"urn:ietf:rfc:7807\">",
    );
    element("type", &problem.kind().into(), &mut xml);
    element("title", &problem.title().into(), &mut xml);
    element("status", &problem.status().as_u16().into(), &mut xml);
    if let Some(detail) = problem.detail_text() {
        element("detail", &detail.into(), &mut xml);
    }
    for (name, value) in problem.members() {
        element(name, value, &mut xml);
    }
    xml.extend_from_slice(b"</problem>");
    xml
}

/// A member whose name is no name in XML has no place there.
fn element(name: &str, value: &Value, xml: &mut Vec<u8>) {
    if !is_name(name) {
        return;
    }
    tag(["<", name, ">"], xml);
    match value {
        Value::Null => {}
        Value::String(text) => escape(text, xml),
        Value::Bool(_) | Value::Number(_) => xml.extend_from_slice(value.to_string().as_bytes()),
        // Members of an array are called so by the RFC.
        Value::Array(all) => all.iter().for_each(|one| element("i", one, xml)),
        Value::Object(all) => all.iter().for_each(|(name, one)| element(name, one, xml)),
    }
    tag(["</", name, ">"], xml);
}

fn tag(parts: [&str; 3], xml: &mut Vec<u8>) {
    let parts = parts.into_iter();
    parts.for_each(|part| xml.extend_from_slice(part.as_bytes()));
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use http::header::{ACCEPT, HeaderMap};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_problem_is_written_as_the_rfc_shows_it() {
        let problem = Problem::new(
            StatusCode::FORBIDDEN,
            "https://a.example/p?a&b",
            "No \u{b}credit",
        )
        .detail("a < b")
        .with("balance", 30)
        .with("accounts", json!(["/1", {"type": "x"}]))
        .with("no name", 1);
        let xml = String::from_utf8(to_xml(&problem)).unwrap();
        assert_eq!(
            xml,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><problem xmlns=\"urn:ietf:rfc:7807\">\
             <type>https://a.example/p?a&amp;b</type><title>No \u{fffd}credit</title><status>403</status>\
             <detail>a &lt; b</detail><accounts><i>/1</i><i><type>x</type></i></accounts><balance>30</balance></problem>"
        );
    }

    #[test]
    fn only_who_wants_xml_more_gets_it() {
        let forms = forms();
        for (accept, expected) in [
            ("application/xml", true),
            ("application/problem+XML, application/problem+json", true),
            ("application/problem+json, application/problem+xml", false),
            ("application/xml;q=0.5, application/json;q=0.4", true),
            ("application/xml;q=0.5, */*", false),
            ("application/xml;q=0", false),
            ("text/*", false),
            ("*/*", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            let accept = OriginalAccept::of(&headers);
            assert_eq!(prefers_xml(&forms, &accept), expected, "{accept:?}");
            assert!(may_be_xml(&accept) || !expected, "{accept:?}");
        }
    }
}
