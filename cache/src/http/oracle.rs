//! Our decisions beside those of the crate `http-cache-semantics`: the same on common ground, and the differences one by one.

use std::time::{Duration, SystemTime};

use http::{Request, Response, request, response};
use http_cache_semantics::{BeforeRequest, CacheOptions, CachePolicy};
use proptest::prelude::*;

use super::glance::Glance;
use super::reuse::{Reuse, Wish};
use super::sight::Sight;
use super::storability::{Arrival, Asked, Rules, storable};

/// One response, and a request some time later.
#[derive(Clone, Debug)]
struct Case {
    first: Vec<(&'static str, String)>,
    status: u16,
    response: Vec<(&'static str, String)>,
    then: Vec<(&'static str, String)>,
    after: u64,
}

/// Sun, 06 Nov 1994 08:49:37 GMT
const NOW: u64 = 784_111_777;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn date(seconds: u64) -> String {
    httpdate::fmt_http_date(at(seconds))
}

impl Case {
    fn request(fields: &[(&'static str, String)]) -> request::Parts {
        let mut request = Request::get("http://h/");
        for (name, value) in fields {
            request = request.header(*name, value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn head(&self) -> response::Parts {
        let mut response = Response::builder().status(self.status);
        for (name, value) in &self.response {
            response = response.header(*name, value);
        }
        response.body(()).unwrap().into_parts().0
    }

    /// Whether we would answer without asking the origin.
    fn ours(&self) -> bool {
        let (first, then) = (Self::request(&self.first), Self::request(&self.then));
        let rules = Rules {
            heuristic: Some(Duration::from_secs(1 << 31)),
            ..Rules::default()
        };
        let first = Glance::at(&first);
        let asked = Asked::by(&first, &Wish::at(&first));
        let arrival = Arrival {
            time: at(NOW),
            delay: Duration::ZERO,
            ttl: None,
        };
        let head = self.head();
        let sight = Sight::of(&head.headers, &rules.targets);
        let Some(verdict) = storable(&asked, &head, sight, &rules, || arrival) else {
            return false;
        };
        let age = verdict.policy.initial_age + Duration::from_secs(self.after);
        let reuse = Wish::of(&then.headers).reuse(&verdict.policy, age);
        matches!(reuse, Reuse::Fresh | Reuse::Stale)
    }

    fn theirs(&self) -> bool {
        let (first, then) = (Self::request(&self.first), Self::request(&self.then));
        let options = CacheOptions::default();
        let policy = CachePolicy::new_options(&first, &self.head(), at(NOW), options);
        let before = policy.before_request(&then, at(NOW + self.after));
        policy.is_storable() && matches!(before, BeforeRequest::Fresh(_))
    }
}

/// Even, so that no limit of a request (odd) is met exactly.
fn seconds() -> impl Strategy<Value = u64> {
    (0_u64..40).prop_map(|n| n * 2)
}

fn maybe(field: &'static str) -> impl Strategy<Value = Option<String>> {
    proptest::option::weighted(0.2, Just(field.to_owned()))
}

/// Directives on which the two agree.
fn response_control() -> impl Strategy<Value = Vec<String>> {
    let age = |name: &'static str| {
        proptest::option::of(seconds()).prop_map(move |n| n.map(|n| format!("{name}={n}")))
    };
    let flags = (
        maybe("no-store"),
        maybe("no-cache"),
        maybe("private"),
        maybe("public"),
        maybe("must-revalidate"),
        maybe("x-unknown=1"),
    );
    (age("max-age"), age("s-maxage"), flags).prop_map(|(max, shared, flags)| {
        let (a, b, c, d, e, f) = flags;
        [max, shared, a, b, c, d, e, f]
            .into_iter()
            .flatten()
            .collect()
    })
}

fn request_control() -> impl Strategy<Value = Vec<String>> {
    let limit = |name: &'static str| {
        let odd = proptest::option::weighted(0.3, seconds());
        odd.prop_map(move |n| n.map(|n| format!("{name}={}", n + 1)))
    };
    (
        limit("max-age"),
        limit("min-fresh"),
        limit("max-stale"),
        maybe("no-cache"),
    )
        .prop_map(|(a, b, c, d)| [a, b, c, d].into_iter().flatten().collect())
}

fn case() -> impl Strategy<Value = Case> {
    let status = prop::sample::select(vec![
        200_u16, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 501,
    ]);
    let dates = (
        proptest::option::of(seconds()),
        proptest::option::of(seconds()),
        proptest::option::of(0_u64..400),
    );
    let first = (maybe("Bearer x"), maybe("no-store"));
    let fields = (response_control(), dates, first, request_control());
    (status, fields, seconds()).prop_map(|(status, fields, after)| {
        let (control, (expires, age, modified), (bearer, no_store), mut then) = fields;
        // They take what says that it must not be used stale: see below.
        let is_strict = |d: &String| d.starts_with("s-maxage") || d == "no-cache";
        if control.iter().any(is_strict) {
            then.retain(|directive| !directive.starts_with("max-stale"));
        }
        let mut response = vec![("etag", "\"1\"".to_owned()), ("date", date(NOW))];
        response.push(("cache-control", control.join(", ")));
        response.extend(expires.map(|n| ("expires", date(NOW + n))));
        response.extend(age.map(|n| ("age", n.to_string())));
        // A tenth in whole seconds, and even.
        response.extend(modified.map(|n| ("last-modified", date(NOW - 20 * n))));
        let first = bearer.map(|value| ("authorization", value));
        let no_store = no_store.map(|value| ("cache-control", value));
        Case {
            first: first.into_iter().chain(no_store).collect(),
            status,
            response,
            then: vec![("cache-control", then.join(", "))],
            after,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn on_common_ground_the_decisions_are_the_same(case in case()) {
        prop_assert_eq!(case.ours(), case.theirs(), "ours, theirs");
    }
}

type Fields = &'static [(&'static str, &'static str)];

#[track_caller]
fn differ(status: u16, response: Fields, first: Fields, then: Fields, ours: bool) {
    let owned = |fields: Fields| -> Vec<(&'static str, String)> {
        fields
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect()
    };
    let case = Case {
        first: owned(first),
        status,
        response: owned(response),
        then: owned(then),
        after: 10,
    };
    assert_eq!((case.ours(), case.theirs()), (ours, !ours), "{case:?}");
}

fn control(value: &'static str) -> Fields {
    Box::leak(Box::new([("cache-control", value)]))
}

/// What we take from the store, and they do not.
#[test]
fn where_they_ask_in_vain() {
    // Directives have no case (RFC 9111, 5.2).
    differ(200, control("Max-Age=60"), &[], &[], true);
    // Any final status is storable when it says for how long (3).
    differ(500, control("max-age=60"), &[], &[], true);
    // `proxy-revalidate` is about what is stale (5.2.2.8).
    differ(200, control("max-age=60, proxy-revalidate"), &[], &[], true);
    // Too large a number is as large as can be (1.2.2).
    differ(200, control("max-age=99999999999999999999"), &[], &[], true);
    // A date has three formats (RFC 9110, 5.6.7).
    const ASCTIME: Fields = &[
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("expires", "Sun Nov  6 08:50:37 1994"),
    ];
    differ(200, ASCTIME, &[], &[], true);
    // With field names it is about these fields (5.2.2.4, 5.2.2.7).
    differ(200, control("max-age=60, no-cache=\"x-a\""), &[], &[], true);
    differ(200, control("max-age=60, private=\"x-a\""), &[], &[], true);
    // A comma in a quoted string does not separate.
    differ(
        200,
        control("max-age=60, ext=\"a, no-store, b\""),
        &[],
        &[],
        true,
    );
    // In a response `Pragma` means nothing (5.4).
    const PRAGMA: Fields = &[
        ("pragma", "no-cache"),
        ("expires", "Sun, 06 Nov 1994 08:50:37 GMT"),
    ];
    differ(200, PRAGMA, &[], &[], true);
    // Nor in a request that has `Cache-Control` (5.4).
    const BOTH: Fields = &[("pragma", "no-cache"), ("cache-control", "x")];
    differ(200, control("max-age=60"), &[], BOTH, true);
    // An equal directive twice is no contradiction, and an unequal one makes the age the smaller one.
    differ(
        200,
        control("max-age=5, max-age=6"),
        &[],
        control("max-stale"),
        true,
    );
    // `max-stale` is met by its very limit (5.2.1.2).
    differ(200, control("max-age=5"), &[], control("max-stale=5"), true);
    // What is immutable is not reloaded while it is fresh (RFC 8246).
    differ(
        200,
        control("max-age=60, immutable"),
        &[],
        control("max-age=0"),
        true,
    );
    // Targeted fields (RFC 9213).
    const CDN: Fields = &[
        ("cache-control", "no-store"),
        ("cdn-cache-control", "max-age=60"),
    ];
    differ(200, CDN, &[], &[], true);
    // `must-understand` is for those who do (5.2.2.3).
    differ(
        200,
        control("max-age=60, must-understand, no-store"),
        &[],
        &[],
        true,
    );
}

/// What we do not take from the store, and they do.
#[test]
fn where_they_do_not_ask() {
    // A prohibition has no case either.
    differ(200, control("max-age=60, NO-STORE"), &[], &[], false);
    differ(200, control("max-age=60, Private"), &[], &[], false);
    // What starts as one and goes on as noise is one.
    differ(200, control("max-age=60, no-store;x"), &[], &[], false);
    // The age is that of `Date` as well (4.2.3).
    const OLD: Fields = &[
        ("cache-control", "max-age=60"),
        ("date", "Sun, 06 Nov 1994 08:48:37 GMT"),
    ];
    differ(200, OLD, &[], &[], false);
    // `Age` is the first of a list (5.1).
    const LIST: Fields = &[("cache-control", "max-age=60"), ("age", "60, 1")];
    differ(200, LIST, &[], &[], false);
    // Several dates are none (5.3).
    const TWO: Fields = &[
        ("expires", "Sun, 06 Nov 1994 08:50:37 GMT"),
        ("expires", "Sun, 06 Nov 1994 08:50:37 GMT"),
    ];
    differ(200, TWO, &[], &[], false);
    // `s-maxage` and `no-cache` forbid stale use, whoever would like it (4.2.4).
    differ(200, control("s-maxage=5"), &[], control("max-stale"), false);
    const NO_CACHE: Fields = &[("cache-control", "max-age=60, no-cache"), ("etag", "\"1\"")];
    differ(200, NO_CACHE, &[], control("max-stale"), false);
    // Without a date of modification nothing is guessed (4.2.2).
    differ(200, control("immutable"), &[], &[], false);
    // A cookie that is set is its owner's, until somebody who knows says otherwise: our choice, and stricter than the RFC's.
    const COOKIE: Fields = &[
        ("cache-control", "max-age=60, public"),
        ("set-cookie", "a=1"),
    ];
    differ(200, COOKIE, &[], &[], false);
    // And one that is sent is like `Authorization`.
    differ(200, control("max-age=60"), &[("cookie", "a=1")], &[], false);
    // A limit that is no number is none that is met.
    differ(200, control("max-age=60"), &[], control("max-age=x"), false);
}
