//! Problem details (RFC 9457).

use std::borrow::Cow;

use bytes::Bytes;
use http::StatusCode;
use http::header::HeaderValue;
use serde_json::{Map, Value};

/// The media type of a problem in JSON.
pub const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// A machine-readable answer to "what went wrong" (RFC 9457, section 3).
///
/// `type` is what programs compare: it is stable, and the same for every occurrence. `title` is its name for people;
/// `detail` is about this occurrence.
///
/// ```
/// use buttress_wire::Problem;
/// use http::StatusCode;
///
/// let problem = Problem::new(StatusCode::CONFLICT, "urn:example:busy", "The key is in use")
///     .detail("the first request has not finished")
///     .with("attempt", 2);
/// assert_eq!(
///     &problem.to_json()[..],
///     br#"{"type":"urn:example:busy","title":"The key is in use","status":409,"detail":"the first request has not finished","attempt":2}"#,
/// );
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    status: StatusCode,
    kind: Cow<'static, str>,
    title: Cow<'static, str>,
    detail: Option<Cow<'static, str>>,
    members: Map<String, Value>,
}

impl Problem {
    /// A problem of type `kind`, a URI.
    pub fn new(
        status: StatusCode,
        kind: impl Into<Cow<'static, str>>,
        title: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            kind: kind.into(),
            title: title.into(),
            detail: None,
            members: Map::new(),
        }
    }

    /// Says what happened this time.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds an extension member (RFC 9457, 3.2). The five standard names are not extensions and are ignored.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        let name = name.into();
        if !["type", "title", "status", "detail", "instance"].contains(&name.as_str()) {
            self.members.insert(name, value.into());
        }
        self
    }

    /// The status of the response that carries it.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The URI that says which problem this is: the member `type`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Its name, for people.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// What is said of this occurrence.
    #[must_use]
    pub fn detail_text(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// The extension members.
    #[must_use]
    pub fn members(&self) -> &Map<String, Value> {
        &self.members
    }

    /// The `application/problem+json` document: the standard members first, then the extensions.
    #[must_use]
    pub fn to_json(&self) -> Bytes {
        let mut json = String::with_capacity(160);
        let mut member = |name: &str, value: &dyn std::fmt::Display| {
            json.push(if json.is_empty() { '{' } else { ',' });
            // A `serde_json::Value` displays as compact JSON, and so is escaped as it must be.
            json.push_str(&format!("{}:{value}", Value::from(name)));
        };
        member("type", &Value::from(&*self.kind));
        member("title", &Value::from(&*self.title));
        member("status", &self.status.as_u16());
        if let Some(detail) = &self.detail {
            member("detail", &Value::from(&**detail));
        }
        for (name, value) in &self.members {
            member(name, value);
        }
        json.push('}');
        Bytes::from(json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_text_gives_valid_json(title: String, detail: String, name: String, value: String) {
            let problem = Problem::new(StatusCode::BAD_REQUEST, "about:blank", title.clone())
                .detail(detail.clone())
                .with(name, value);
            let back: Value = serde_json::from_slice(&problem.to_json()).unwrap();
            assert_eq!(back["title"], title);
            assert_eq!(back["detail"], detail);
            assert_eq!(back["status"], 400);
        }
    }

    #[test]
    fn a_standard_member_cannot_be_overwritten() {
        let problem = Problem::new(StatusCode::CONFLICT, "urn:a", "A").with("status", 200);
        let json = problem.to_json();
        assert_eq!(&json[..], br#"{"type":"urn:a","title":"A","status":409}"#);
    }
}
