//! What a response says that decides over what becomes of it, seen in one walk over its fields.
//!
//! Most responses have few of these. Looking for each by its name costs a hash each.

use buttress_wire::fields::is_hop_by_hop;
use http::header::{self, HeaderMap, HeaderName};

use super::invalidation::CACHE_GROUPS;

/// Which fields a response has that are worth a look.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sight(u16);

/// `Age`, or `Date`.
const AGE: u16 = 1;
const CONTENT_RANGE: u16 = 2;
const GROUPS: u16 = 4;
/// What is of one connection only. What else is, is named by one of these.
const HOP_BY_HOP: u16 = 8;
const SET_COOKIE: u16 = 16;
/// What is meant for this cache, in place of `Cache-Control`.
const TARGETED: u16 = 32;
/// What the origin can be asked by if it is still the same.
const VALIDATOR: u16 = 64;
const VARY: u16 = 128;

impl Sight {
    /// Of a response to a cache that listens to `targets`.
    pub(super) fn of(headers: &HeaderMap, targets: &[HeaderName]) -> Self {
        let seen = headers.keys().fold(0, |seen, name| {
            let targeted = if targets.contains(name) { TARGETED } else { 0 };
            seen | targeted | kind(name)
        });
        Self(seen)
    }

    /// Whether it may be older than it looks.
    pub(super) fn has_age(self) -> bool {
        self.0 & AGE != 0
    }

    pub(super) fn has_content_range(self) -> bool {
        self.0 & CONTENT_RANGE != 0
    }

    pub(super) fn has_groups(self) -> bool {
        self.0 & GROUPS != 0
    }

    pub(super) fn has_hop_by_hop(self) -> bool {
        self.0 & HOP_BY_HOP != 0
    }

    pub(super) fn has_set_cookie(self) -> bool {
        self.0 & SET_COOKIE != 0
    }

    pub(super) fn is_targeted(self) -> bool {
        self.0 & TARGETED != 0
    }

    pub(super) fn has_validator(self) -> bool {
        self.0 & VALIDATOR != 0
    }

    pub(super) fn varies(self) -> bool {
        self.0 & VARY != 0
    }
}

fn kind(name: &HeaderName) -> u16 {
    match *name {
        header::AGE | header::DATE => AGE,
        header::CONTENT_RANGE => CONTENT_RANGE,
        header::ETAG | header::LAST_MODIFIED => VALIDATOR,
        header::SET_COOKIE => SET_COOKIE,
        header::VARY => VARY,
        _ if is_hop_by_hop(name) => HOP_BY_HOP,
        _ if *name == CACHE_GROUPS => GROUPS,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::super::targeted::CDN_CACHE_CONTROL;
    use super::*;

    #[test]
    fn each_field_is_seen_for_what_it_is() {
        let seen = |name: &'static str| {
            let fields = ["server", name].map(HeaderName::from_static);
            let fields = fields.map(|name| (name, HeaderValue::from_static("x")));
            let sight = Sight::of(&HeaderMap::from_iter(fields), &[CDN_CACHE_CONTROL]);
            let kinds = [
                sight.has_age(),
                sight.has_content_range(),
                sight.has_groups(),
                sight.has_hop_by_hop(),
                sight.has_set_cookie(),
                sight.is_targeted(),
                sight.has_validator(),
                sight.varies(),
            ];
            assert!(kinds.iter().filter(|is| **is).count() <= 1, "{name}");
            kinds.iter().position(|is| *is)
        };
        for (name, expected) in [
            ("age", Some(0)),
            ("date", Some(0)),
            ("content-range", Some(1)),
            ("cache-groups", Some(2)),
            ("connection", Some(3)),
            ("transfer-encoding", Some(3)),
            ("set-cookie", Some(4)),
            ("cdn-cache-control", Some(5)),
            ("etag", Some(6)),
            ("last-modified", Some(6)),
            ("vary", Some(7)),
            ("cache-control", None),
            ("expires", None),
            ("x-own", None),
        ] {
            assert_eq!(seen(name), expected, "{name}");
        }
    }
}
