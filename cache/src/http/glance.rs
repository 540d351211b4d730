//! What a request says that decides over it, seen in one walk over its fields.
//!
//! Most requests have none of these. Looking for each by its name costs a hash each.

use buttress_wire::key::Field;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request;

/// A request, and which of its fields are worth a look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Glance<'a> {
    pub(super) parts: &'a request::Parts,
    seen: u8,
    /// Those that are asked for again, by [`Kind::Kept`]: the first line of each.
    kept: [Option<&'a HeaderValue>; KEPT],
    /// Which of those have more lines, by bits.
    repeated: u8,
}

/// `Cache-Control`, or `Pragma` in its place.
const CONTROL: u8 = 1;
/// Conditions that a store can judge.
const CONDITION: u8 = 2;
const RANGE: u8 = 4;
/// What is none of a cache's business.
const BEYOND: u8 = 8;
/// What says something only beside a range.
const IF_RANGE: u8 = 16;

const HOST: usize = 0;
const AUTHORIZATION: usize = 1;
const COOKIE: usize = 2;
const KEPT: usize = 8;

/// What a field is looked at for.
#[derive(Clone, Copy)]
enum Kind {
    /// What it says is asked for again.
    Kept(usize),
    Nothing,
    /// That it is there.
    Says(u8),
}

impl<'a> Glance<'a> {
    pub(super) fn at(parts: &'a request::Parts) -> Self {
        let mut glance = Self {
            parts,
            seen: 0,
            kept: [None; KEPT],
            repeated: 0,
        };
        for (name, value) in &parts.headers {
            match kind(name) {
                Kind::Kept(at) => glance.keep(at, value),
                Kind::Nothing => {}
                Kind::Says(what) => glance.seen |= what,
            }
        }
        if glance.names_another_host() {
            glance.seen |= BEYOND;
        }
        glance
    }

    fn keep(&mut self, at: usize, value: &'a HeaderValue) {
        match &mut self.kept[at] {
            Some(_) => self.repeated |= 1 << at,
            none => *none = Some(value),
        }
    }

    fn kept(&self, at: usize) -> Field<'a> {
        match self.kept[at] {
            None => Field::Absent,
            Some(_) if self.repeated & (1 << at) != 0 => Field::Repeated,
            Some(line) => Field::Once(line),
        }
    }

    /// A field, without looking for it if it is one that is often asked for.
    pub(super) fn field(&self, name: &HeaderName) -> Field<'a> {
        if let Kind::Kept(at) = kind(name) {
            return self.kept(at);
        }
        let mut lines = self.parts.headers.get_all(name).iter();
        match (lines.next(), lines.next()) {
            (None, _) => Field::Absent,
            (Some(line), None) => Field::Once(line),
            (Some(_), Some(_)) => Field::Repeated,
        }
    }

    pub(super) fn headers(&self) -> &'a HeaderMap {
        &self.parts.headers
    }

    /// The authority that it is for, by its target or by the first line that says so.
    pub(super) fn authority(&self) -> &'a [u8] {
        match self.parts.uri.authority() {
            Some(authority) => authority.as_str().as_bytes(),
            None => self.kept[HOST].map_or(b"", HeaderValue::as_bytes),
        }
    }

    /// Whether a line says the host once more, or otherwise than the target.
    fn names_another_host(&self) -> bool {
        match (self.kept(HOST), self.parts.uri.authority()) {
            (Field::Repeated, _) => true,
            (Field::Once(line), Some(named)) => {
                let named = named.as_str().as_bytes();
                named != line && !is_same(self.parts, named, line.as_bytes())
            }
            _ => false,
        }
    }

    pub(super) fn has_control(&self) -> bool {
        self.seen & CONTROL != 0
    }

    pub(super) fn is_conditional(&self) -> bool {
        self.seen & CONDITION != 0
    }

    pub(super) fn has_range(&self) -> bool {
        self.seen & RANGE != 0
    }

    /// Whether it says what part of a response is wanted, or under what conditions.
    pub(super) fn is_particular(&self) -> bool {
        self.seen & (CONDITION | RANGE | IF_RANGE | BEYOND) != 0
    }

    pub(super) fn has_authorization(&self) -> bool {
        self.kept[AUTHORIZATION].is_some()
    }

    pub(super) fn has_cookie(&self) -> bool {
        self.kept[COOKIE].is_some()
    }

    /// Whether it is to change the protocol, has conditions that only the origin can judge (RFC 9110, 13.1.1 and 13.1.4), or names two hosts, of which the key
    /// has one, and the origin may take the other (RFC 9112, 3.2).
    pub(super) fn is_beyond(&self) -> bool {
        self.seen & BEYOND != 0
    }
}

#[inline]
fn kind(name: &HeaderName) -> Kind {
    match *name {
        header::CACHE_CONTROL | header::PRAGMA => Kind::Says(CONTROL),
        header::IF_NONE_MATCH | header::IF_MODIFIED_SINCE => Kind::Says(CONDITION),
        header::RANGE => Kind::Says(RANGE),
        header::IF_RANGE => Kind::Says(IF_RANGE),
        header::IF_MATCH | header::IF_UNMODIFIED_SINCE | header::UPGRADE => Kind::Says(BEYOND),
        header::HOST => Kind::Kept(HOST),
        header::AUTHORIZATION => Kind::Kept(AUTHORIZATION),
        header::COOKIE => Kind::Kept(COOKIE),
        header::ACCEPT => Kind::Kept(3),
        header::ACCEPT_CHARSET => Kind::Kept(4),
        header::ACCEPT_ENCODING => Kind::Kept(5),
        header::ACCEPT_LANGUAGE => Kind::Kept(6),
        header::ORIGIN => Kind::Kept(7),
        _ => Kind::Nothing,
    }
}

/// Whether two say the same authority, where one may name the scheme's own port.
fn is_same(parts: &request::Parts, one: &[u8], other: &[u8]) -> bool {
    let port: &[u8] = match parts.uri.scheme_str() {
        Some("https") => b":443",
        _ => b":80",
    };
    let [one, other] = [one, other].map(|all| all.strip_suffix(port).unwrap_or(all));
    one.eq_ignore_ascii_case(other)
}

#[cfg(test)]
mod tests {
    use buttress_wire::key::authority;
    use http::Request;

    use super::*;

    #[test]
    fn each_field_is_seen_for_what_it_is() {
        let seen = |name: &str| {
            let request = Request::get("/").header("accept", "*/*").header(name, "x");
            let (parts, ()) = request.body(()).unwrap().into_parts();
            let glance = Glance::at(&parts);
            let kinds = [
                glance.has_control(),
                glance.is_conditional(),
                glance.has_range(),
                glance.is_beyond(),
                glance.has_authorization(),
                glance.has_cookie(),
            ];
            kinds.iter().position(|is| *is)
        };
        for (name, expected) in [
            ("cache-control", Some(0)),
            ("Pragma", Some(0)),
            ("if-none-match", Some(1)),
            ("if-modified-since", Some(1)),
            ("range", Some(2)),
            ("if-match", Some(3)),
            ("if-unmodified-since", Some(3)),
            ("upgrade", Some(3)),
            ("authorization", Some(4)),
            ("cookie", Some(5)),
            ("if-range", None),
            ("host", None),
            ("accept", None),
        ] {
            assert_eq!(seen(name), expected, "{name}");
        }
    }

    #[test]
    fn a_field_reads_the_same_whether_it_was_kept_or_not() {
        let lines = [
            ("host", "shop"),
            ("accept", "a"),
            ("x-own", "a"),
            ("cookie", "a"),
            ("cookie", "b"),
            ("x-more", "a"),
            ("x-more", "b"),
        ];
        let mut request = Request::get("/");
        for (name, value) in lines {
            request = request.header(name, value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let glance = Glance::at(&parts);
        for name in [
            "host",
            "authorization",
            "cookie",
            "accept",
            "accept-charset",
            "accept-encoding",
            "accept-language",
            "origin",
            "x-own",
            "x-more",
            "x-none",
        ] {
            let values: Vec<_> = parts.headers.get_all(name).iter().collect();
            let expected = match values[..] {
                [] => Field::Absent,
                [value] => Field::Once(value),
                _ => Field::Repeated,
            };
            let name = HeaderName::from_static(name);
            assert_eq!(glance.field(&name), expected, "{name}");
        }
    }

    #[test]
    fn the_authority_is_that_of_the_target_or_of_the_first_line() {
        for (target, hosts, expected) in [
            ("/", &["shop", "evil"][..], "shop"),
            ("/", &["shop"], "shop"),
            ("/", &[], ""),
            ("http://shop/", &["evil"], "shop"),
        ] {
            let mut request = Request::get(target);
            for host in hosts {
                request = request.header("host", *host);
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            assert_eq!(Glance::at(&parts).authority(), expected.as_bytes());
            assert_eq!(authority(&parts), expected.as_bytes());
        }
    }

    /// RFC 9112, 3.2 and 3.2.2.
    #[test]
    fn two_hosts_are_seen() {
        for (target, hosts, expected) in [
            ("/", &["shop"][..], false),
            ("/", &[], false),
            ("/", &["shop", "shop"], true),
            ("http://shop/", &[], false),
            ("http://shop/", &["Shop"], false),
            ("http://shop/", &["shop:80"], false),
            ("https://shop:443/", &["shop"], false),
            ("https://shop/", &["shop:80"], true),
            ("http://shop/", &["evil"], true),
            ("http://shop/", &["shop", "evil"], true),
        ] {
            let mut request = Request::get(target)
                .header("accept", "a")
                .header("accept", "b");
            for host in hosts {
                request = request.header("host", *host);
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            assert_eq!(
                Glance::at(&parts).is_beyond(),
                expected,
                "{target} {hosts:?}"
            );
        }
    }
}
