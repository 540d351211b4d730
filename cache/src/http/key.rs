//! What a stored response is found by: its target (RFC 9111, section 2).

use std::borrow::Cow;

use buttress_wire::key::KeyBuilder;
use http::Uri;

use super::query::SearchRule;

/// What of a query is in the key.
#[derive(Debug)]
pub(super) enum Query<'a> {
    /// The query as it is.
    Exact(Option<Cow<'a, str>>),
    /// What the origin says that counts of it.
    By(&'a SearchRule, Option<&'a str>),
    /// None: this is where the origin's rule for the path is kept.
    Rule,
}

/// The primary key: partition, scheme, authority, path and query. The target may have the authority, or not.
#[inline]
pub(super) fn write_primary(
    key: &mut Vec<u8>,
    partition: &[u8],
    scheme: Option<&str>,
    uri: &Uri,
    authority: &[u8],
    query: &Query<'_>,
) {
    let own = uri.scheme_str();
    let mut builder = KeyBuilder::new(key);
    builder
        .part(partition)
        .part(scheme.or(own).unwrap_or("http"))
        .authority_of(own, authority)
        .part(uri.path());
    match query {
        Query::Exact(query) => drop(builder.optional(query.as_deref())),
        // No query begins like these.
        Query::By(rule, query) => {
            key.push(2);
            rule.write_self(key);
            rule.write(key, *query);
        }
        Query::Rule => key.push(3),
    }
}

/// The schemes under which a target may have been stored: an unsafe request may come by another protocol version.
pub(super) const SCHEMES: [&str; 2] = ["http", "https"];

#[cfg(test)]
mod tests {
    use buttress_wire::key::authority;
    use http::Request;

    use super::*;

    fn primary(partition: &str, uri: &str, host: &str) -> Vec<u8> {
        let request = Request::get(uri).header("host", host).body(()).unwrap();
        let mut key = Vec::new();
        let parts = request.into_parts().0;
        let query = Query::Exact(parts.uri.query().map(Cow::Borrowed));
        let (partition, authority) = (partition.as_bytes(), authority(&parts));
        write_primary(&mut key, partition, None, &parts.uri, authority, &query);
        key
    }

    #[test]
    fn everything_that_an_origin_may_tell_apart_is_apart() {
        let base = primary("", "/a", "h");
        for other in [
            primary("t", "/a", "h"),
            primary("", "/a?", "h"),
            primary("", "/a/", "h"),
            primary("", "/A", "h"),
            primary("", "/a", "i"),
            primary("", "https://h/a", "h"),
        ] {
            assert_ne!(base, other);
        }
    }
}
