//! What a request that may have changed something takes out of the store (RFC 9111, section 4.4; RFC 9875).

use http::header::{self, HeaderMap, HeaderName};
use http::uri::Uri;
use http::{Request, request};
use sfv::{BareItem, List, ListEntry, Parser};

/// `Cache-Groups` (RFC 9875, 2).
pub(super) const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");
/// `Cache-Group-Invalidation` (RFC 9875, 3).
const CACHE_GROUP_INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");

/// How many groups of one response are read, and how long their names may be: twice what everybody has to support, at least
/// (RFC 9875, 2).
const MAX_GROUPS: usize = 128;
const MAX_NAME: usize = 128;

/// The tags that stand for the groups of a response: groups of one origin are none of another's.
pub(super) fn groups(headers: &HeaderMap, origin: &[u8]) -> Vec<String> {
    named(headers, &CACHE_GROUPS, origin)
}

/// The tags of the groups that a response to an unsafe request invalidates.
pub(super) fn invalidated_groups(headers: &HeaderMap, origin: &[u8]) -> Vec<String> {
    named(headers, &CACHE_GROUP_INVALIDATION, origin)
}

/// A list of strings; what is anything else is as if it were not there.
fn named(headers: &HeaderMap, field: &HeaderName, origin: &[u8]) -> Vec<String> {
    let lines: Vec<_> = headers
        .get_all(field)
        .iter()
        .map(http::HeaderValue::as_bytes)
        .collect();
    if lines.is_empty() {
        return Vec::new();
    }
    let Ok(list) = Parser::new(&lines.join(&b", "[..])).parse::<List>() else {
        return Vec::new();
    };
    let names: Option<Vec<_>> = list.iter().map(name).collect();
    let names = names.unwrap_or_default().into_iter().take(MAX_GROUPS);
    names
        .filter(|name| name.len() <= MAX_NAME)
        .map(|name| tag(origin, name))
        .collect()
}

fn name(entry: &ListEntry) -> Option<&str> {
    match entry {
        ListEntry::Item(item) => match &item.bare_item {
            BareItem::String(name) => Some(name.as_str()),
            _ => None,
        },
        ListEntry::InnerList(_) => None,
    }
}

/// Begins with what no tag of a handler is likely to begin with, and has the length of the origin in it: two of them are equal only if both parts are.
fn tag(origin: &[u8], group: &str) -> String {
    let origin: String = origin.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\0group\0{origin}\0{group}")
}

/// A request that may have changed what is at its target, and what its response may name beside that.
pub(super) struct Target {
    pub(super) parts: request::Parts,
}

impl Target {
    pub(super) fn of(parts: &request::Parts) -> Self {
        let mut kept = Request::new(()).into_parts().0;
        kept.uri = parts.uri.clone();
        kept.headers = parts.headers.clone();
        kept.extensions = parts.extensions.clone();
        Self { parts: kept }
    }

    /// What `Location` and `Content-Location` name, where it is on the same origin (4.4).
    pub(super) fn named(&self, response: &HeaderMap) -> Vec<request::Parts> {
        let fields = [header::LOCATION, header::CONTENT_LOCATION];
        let values = fields.iter().flat_map(|name| response.get_all(name));
        let values = values.filter_map(|value| value.to_str().ok());
        values.filter_map(|value| self.resolve(value)).collect()
    }

    /// Whether `Content-Location` says that the response is what is at the target.
    pub(super) fn is_at_content_location(&self, response: &HeaderMap) -> bool {
        let location = response.get(header::CONTENT_LOCATION);
        let location = location.and_then(|value| value.to_str().ok());
        let named = location.and_then(|value| self.resolve(value));
        named.is_some_and(|named| named.uri.path_and_query() == self.parts.uri.path_and_query())
    }

    /// The request for `reference` (RFC 3986, 5), when it is on the same origin.
    fn resolve(&self, reference: &str) -> Option<request::Parts> {
        let reference = reference.split('#').next().unwrap_or_default();
        let mut named = self.parts.clone();
        let path_and_query = match absolute(reference) {
            Some((scheme, rest)) => {
                if !self.is_own_scheme(scheme) {
                    return None;
                }
                self.own_path(Some(scheme), rest)?
            }
            None => match reference.strip_prefix("//") {
                Some(rest) => self.own_path(self.parts.uri.scheme_str(), rest)?,
                None => self.relative(reference),
            },
        };
        let mut uri = std::mem::take(&mut named.uri).into_parts();
        uri.path_and_query = Some(path_and_query.parse().ok()?);
        named.uri = Uri::from_parts(uri).ok()?;
        Some(named)
    }

    /// What follows the authority, if that is our own.
    fn own_path(&self, scheme: Option<&str>, rest: &str) -> Option<String> {
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if !self.is_own(scheme, authority) {
            return None;
        }
        Some(if path.starts_with('/') {
            without_dots(path)
        } else {
            format!("/{path}")
        })
    }

    fn relative(&self, reference: &str) -> String {
        let base = self.parts.uri.path();
        if reference.starts_with('/') {
            return without_dots(reference);
        }
        if reference.is_empty() {
            let own = self.parts.uri.path_and_query();
            return own.map_or_else(|| base.to_owned(), ToString::to_string);
        }
        if reference.starts_with('?') {
            return format!("{base}{reference}");
        }
        let folder = base.rfind('/').map_or("/", |slash| &base[..=slash]);
        without_dots(&format!("{folder}{reference}"))
    }

    /// Of HTTP/1.1 the scheme is not known; then either is our own.
    fn is_own_scheme(&self, scheme: &str) -> bool {
        let own = self.parts.uri.scheme_str();
        let is_http = ["http", "https"]
            .iter()
            .any(|s| scheme.eq_ignore_ascii_case(s));
        own.map_or(is_http, |own| own.eq_ignore_ascii_case(scheme))
    }

    /// Whether this is our own authority, of a scheme that is.
    fn is_own(&self, scheme: Option<&str>, authority: &str) -> bool {
        let host = self.parts.headers.get(header::HOST);
        let own = match self.parts.uri.authority() {
            Some(own) => own.as_str().as_bytes(),
            None => host.map_or(&b""[..], |host| host.as_bytes()),
        };
        let [own, named] = [own, authority.as_bytes()].map(|all| without_port(scheme, all));
        own.eq_ignore_ascii_case(named)
    }
}

/// Without the port that the scheme has of itself (RFC 9110, 4.2.3); if it is not known, of either.
fn without_port<'a>(scheme: Option<&str>, authority: &'a [u8]) -> &'a [u8] {
    let is = |other: &str| scheme.is_none_or(|scheme| scheme.eq_ignore_ascii_case(other));
    let port = |of: &str, port: &[u8]| authority.strip_suffix(port).filter(|_| is(of));
    let port = port("http", b":80").or_else(|| port("https", b":443"));
    port.unwrap_or(authority)
}

/// Splits `scheme://`.
fn absolute(reference: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = reference.split_once("://")?;
    let is_scheme = scheme
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    (is_scheme && !scheme.is_empty()).then_some((scheme, rest))
}

/// RFC 3986, 5.2.4.
fn without_dots(path_and_query: &str) -> String {
    let end = path_and_query.find('?').unwrap_or(path_and_query.len());
    let (path, query) = path_and_query.split_at(end);
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    format!("/{}{query}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn target(uri: &str, host: &str) -> Target {
        let request = Request::put(uri).header("host", host).body(()).unwrap();
        Target::of(&request.into_parts().0)
    }

    #[track_caller]
    fn check(target: &Target, reference: &'static str, expected: Option<&str>) {
        let response =
            HeaderMap::from_iter([(header::LOCATION, HeaderValue::from_static(reference))]);
        let named = target.named(&response);
        let found = named.first().map(|parts| parts.uri.to_string());
        assert_eq!(found.as_deref(), expected, "{reference}");
    }

    /// RFC 9111, 4.4; RFC 3986, 5.4.
    #[test]
    fn what_a_response_names_is_ours_on_the_same_origin() {
        let own = target("/b/c/d?q", "Shop:80");
        for (reference, expected) in [
            ("/x?y", Some("/x?y")),
            ("g", Some("/b/c/g")),
            ("./g?y#s", Some("/b/c/g?y")),
            ("../g", Some("/b/g")),
            ("../../../g", Some("/g")),
            ("g/.", Some("/b/c/g/")),
            ("..", Some("/b/")),
            ("?y", Some("/b/c/d?y")),
            ("", Some("/b/c/d?q")),
            ("//shop/x", Some("/x")),
            ("http://shop/x", Some("/x")),
            ("//shop:443/x", Some("/x")),
            ("HTTPS://SHOP/x", None),
            ("http://shop:443/x", None),
            ("http://shop", Some("/")),
            ("http://shop?y", Some("/?y")),
            ("http://shop:8080/x", None),
            ("http://other/x", None),
            ("//other/x", None),
            ("ftp://shop/x", None),
        ] {
            check(&own, reference, expected);
        }
        // Of which scheme a request came is not always known; but a port is of one of them.
        let plain = target("/a", "shop");
        for (reference, expected) in [
            ("HTTPS://SHOP:443/x", Some("/x")),
            ("http://shop:80/x", Some("/x")),
            ("https://shop:80/x", None),
            ("http://shop:443/x", None),
        ] {
            check(&plain, reference, expected);
        }
        let known = target("https://shop/a", "");
        check(&known, "//shop:443/b", Some("https://shop/b"));
        check(&known, "//shop:80/b", None);
        check(&known, "https://shop/b", Some("https://shop/b"));
        check(&known, "http://shop/b", None);
    }

    #[test]
    fn every_line_of_both_fields_is_read() {
        let response = HeaderMap::from_iter([
            (header::LOCATION, HeaderValue::from_static("/a")),
            (header::CONTENT_LOCATION, HeaderValue::from_static("/b")),
        ]);
        assert_eq!(target("/", "h").named(&response).len(), 2);
    }

    fn groups_of(lines: &[&'static str], origin: &[u8]) -> Vec<String> {
        let line = |line: &&'static str| (CACHE_GROUPS, HeaderValue::from_static(line));
        groups(&lines.iter().map(line).collect(), origin)
    }

    /// RFC 9875, 2.
    #[test]
    fn groups_are_strings_of_one_origin() {
        let two = groups_of(&["\"a\", \"b\";x=1"], b"o");
        assert_eq!(two.len(), 2);
        assert_eq!(two, groups_of(&["\"a\"", "\"b\""], b"o"));
        assert_ne!(two, groups_of(&["\"a\", \"b\""], b"p"));
        assert_ne!(groups_of(&["\"A\""], b"o"), groups_of(&["\"a\""], b"o"));
        let name = |n| format!("\"{n:0>32}\"");
        let most: Vec<_> = (0..128).map(name).collect();
        let line = HeaderValue::try_from(most.join(", ")).unwrap();
        let all = HeaderMap::from_iter([(CACHE_GROUPS, line)]);
        assert_eq!(
            groups(&all, b"o").len(),
            128,
            "what everybody has to support"
        );
        for invalid in ["a", "\"a\", b", "1", "(\"a\")", "\"a", ""] {
            assert!(groups_of(&[invalid], b"o").is_empty(), "{invalid}");
        }
    }
}
