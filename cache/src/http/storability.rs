//! Whether a response may be stored (RFC 9111, section 3).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use buttress_wire::fields::{list, list_contains};
use buttress_wire::lex::is_token;
use http::header::{self, HeaderMap, HeaderName};
use http::{Method, StatusCode, response};

use super::freshness::{Audience, Stated, heuristic, initial_age};
use super::glance::Glance;
use super::policy::{Policy, StaleRules};
use super::reuse::Wish;
use super::sight::Sight;
use super::targeted::CDN_CACHE_CONTROL;

/// What is known of a request when its response comes back.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) has_authorization: bool,
    pub(super) has_cookie: bool,
    pub(super) no_store: bool,
}

impl Asked {
    pub(super) fn by(request: &Glance<'_>, wish: &Wish) -> Self {
        Self {
            method: request.parts.method.clone(),
            has_authorization: request.has_authorization(),
            has_cookie: request.has_cookie(),
            no_store: wish.is_no_store(),
        }
    }

    /// Of nobody in particular.
    pub(super) fn by_anybody() -> Self {
        Self {
            method: Method::GET,
            has_authorization: false,
            has_cookie: false,
            no_store: false,
        }
    }
}

/// How a response is judged beside what it says itself.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) audience: Audience,
    /// The fields of RFC 9213 that are meant for this cache, in order.
    pub(super) targets: Arc<[HeaderName]>,
    /// The longest lifetime that is guessed, if guessing is allowed.
    pub(super) heuristic: Option<Duration>,
    /// For a cacheable status without freshness information.
    pub(super) default_ttl: Option<Duration>,
    pub(super) allow_set_cookie: bool,
    /// A request's `Cookie` does not say that the response is its owner's.
    pub(super) ignore_cookie: bool,
    pub(super) stale: StaleRules,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            audience: Audience::Shared,
            targets: Arc::new([CDN_CACHE_CONTROL]),
            heuristic: None,
            default_ttl: None,
            allow_set_cookie: false,
            ignore_cookie: false,
            stale: StaleRules::default(),
        }
    }
}

/// When a response came, and what somebody who knows better says of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) time: SystemTime,
    /// Since the request was sent.
    pub(super) delay: Duration,
    /// In place of what the response says.
    pub(super) ttl: Option<Duration>,
}

/// What is to be done with a response that may be stored.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Verdict {
    pub(super) policy: Policy,
    /// Fields that are one client's, or would have to be validated before each use: they are left out (5.2.2.4, 5.2.2.7).
    pub(super) omitted: Vec<HeaderName>,
}

/// How a response may be stored; `None` for one that may not, or that nobody could use. When it came is asked only of those that may be.
pub(super) fn storable(
    asked: &Asked,
    head: &response::Parts,
    sight: Sight,
    rules: &Rules,
    arrival: impl FnOnce() -> Arrival,
) -> Option<Verdict> {
    let targets = if sight.is_targeted() {
        &rules.targets[..]
    } else {
        &[]
    };
    let stated = Stated::of(&head.headers, rules.audience, targets);
    let directives = &stated.directives;
    let mut omitted = directives.no_cache.fields().to_vec();
    if stated.is_shared() {
        omitted.extend_from_slice(directives.private.fields());
    }
    if asked.method != Method::GET
        || asked.no_store
        || forbids(&stated, head.status)
        || !is_for_others(head.status)
        || (sight.varies() && varies_by_anything(&head.headers))
        || (sight.varies() && hides_what_it_varies_by(&head.headers, sight, &omitted))
        || sight.has_content_range()
        || (sight.has_set_cookie() && hides_no_cookie(&omitted, rules))
        || is_personal(asked, &stated, rules)
    {
        return None;
    }
    let arrival = arrival();
    let lifetime = match arrival.ttl {
        Some(ttl) => Some(ttl),
        None => lifetime(head, &stated, rules, arrival.time)?,
    };
    // Who says nothing of reuse does not say that there is a time after it.
    let stale = lifetime.map_or(StaleRules::default(), |_| rules.stale);
    let initial_age = match sight.has_age() {
        true => initial_age(&head.headers, arrival.time, arrival.delay),
        false => arrival.delay,
    };
    let policy = Policy::new(&stated, initial_age, lifetime.unwrap_or_default(), stale);
    is_useful(&policy, sight).then_some(Verdict { policy, omitted })
}

/// `no-store`, `private`, and `must-understand` for a status that we do not (5.2.2.3, 5.2.2.5, 5.2.2.7).
fn forbids(stated: &Stated, status: StatusCode) -> bool {
    let directives = &stated.directives;
    let is_private = directives.private.is_everything() && stated.is_shared();
    let is_hidden = if directives.must_understand {
        // Who understands it does not listen to the `no-store` beside it, which is for the others.
        !is_understood(status)
    } else {
        directives.no_store
    };
    is_private || is_hidden
}

/// `*`, and what is no field name: nobody knows what it varies by (4.1).
fn varies_by_anything(headers: &HeaderMap) -> bool {
    list(headers, header::VARY).any(|name| name == b"*" || !is_token(name))
}

/// Without its `Vary` a response would be for everybody.
fn hides_what_it_varies_by(headers: &HeaderMap, sight: Sight, omitted: &[HeaderName]) -> bool {
    let is_named = || list_contains(headers, header::CONNECTION, "vary");
    omitted.contains(&header::VARY) || (sight.has_hop_by_hop() && is_named())
}

/// A cookie that is set is one client's.
fn hides_no_cookie(omitted: &[HeaderName], rules: &Rules) -> bool {
    !rules.allow_set_cookie
        && rules.audience == Audience::Shared
        && !omitted.contains(&header::SET_COOKIE)
}

/// A response to a request with `Authorization` is its owner's, unless it says otherwise (3.5). We take a `Cookie` for the same.
fn is_personal(asked: &Asked, stated: &Stated, rules: &Rules) -> bool {
    let directives = &stated.directives;
    let is_owned = asked.has_authorization || (asked.has_cookie && !rules.ignore_cookie);
    let is_given = directives.public || directives.s_maxage.is_some() || directives.must_revalidate;
    stated.is_shared() && is_owned && !is_given
}

/// What the response says; else what may be guessed, which is for some statuses and for `public` (4.2.2). The outer `None` is for what may not be stored; the inner
/// one for what may, but without a lifetime: if it has a validator, it is validated before each use.
fn lifetime(
    head: &response::Parts,
    stated: &Stated,
    rules: &Rules,
    response_time: SystemTime,
) -> Option<Option<Duration>> {
    let headers = &head.headers;
    let explicit = stated.lifetime(headers, response_time);
    if explicit.is_some() {
        return Some(explicit);
    }
    let is_cacheable = is_heuristically_cacheable(head.status);
    let guess = || heuristic(headers, response_time, rules.heuristic?);
    let default = || rules.default_ttl.filter(|_| is_cacheable);
    (stated.directives.public || is_cacheable).then(|| guess().or_else(default))
}

/// Whether a response says itself how long it is fresh.
pub(super) fn is_explicit(headers: &HeaderMap, rules: &Rules, response_time: SystemTime) -> bool {
    let stated = Stated::of(headers, rules.audience, &rules.targets);
    stated.lifetime(headers, response_time).is_some()
}

/// Whether anybody will ever be answered with it.
fn is_useful(policy: &Policy, sight: Sight) -> bool {
    let is_usable = policy.lifetime > policy.initial_age || !policy.stale_use().is_zero();
    sight.has_validator() || (is_usable && !policy.no_cache)
}

/// Whether the origin can be asked if it is still the same (RFC 9110, section 8.8).
pub(super) fn has_validator(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ETAG) || headers.contains_key(header::LAST_MODIFIED)
}

/// A final status whose meaning is in the response itself: neither a part nor an update of another one, not about a condition, a range or an expectation of the
/// one request that it answers, and none of those that are not to be stored (RFC 6585).
fn is_for_others(status: StatusCode) -> bool {
    !status.is_informational()
        && !matches!(
            status.as_u16(),
            206 | 304 | 412 | 416 | 417 | 428 | 429 | 431 | 511
        )
}

/// RFC 9110, section 15.1, without 206.
fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

/// The statuses of RFC 9110, section 15, whose meaning for a cache we know.
fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200..=205 | 300..=303 | 305 | 307 | 308 | 400..=417 | 421 | 422 | 426 | 500..=505
    )
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};

    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn verdict(
        request: &[(&str, &str)],
        status: u16,
        response: &[(&str, &str)],
        rules: &Rules,
    ) -> Option<Verdict> {
        let mut asked = Request::get("/");
        for (name, value) in request {
            asked = asked.header(*name, *value);
        }
        let (asked, ()) = asked.body(()).unwrap().into_parts();
        let asked = Glance::at(&asked);
        let asked = Asked::by(&asked, &Wish::at(&asked));
        let mut head = Response::builder().status(status);
        for (name, value) in response {
            head = head.header(*name, *value);
        }
        let (head, ()) = head.body(()).unwrap().into_parts();
        let arrival = Arrival {
            time: NOW,
            delay: Duration::ZERO,
            ttl: None,
        };
        let sight = Sight::of(&head.headers, &rules.targets);
        storable(&asked, &head, sight, rules, || arrival)
    }

    fn judge(status: u16, response: &[(&str, &str)], rules: &Rules) -> bool {
        verdict(&[], status, response, rules).is_some()
    }

    #[track_caller]
    fn check(request: &[(&str, &str)], response: &[(&str, &str)], expected: bool) {
        let found = verdict(request, 200, response, &Rules::default()).is_some();
        assert_eq!(found, expected, "{request:?} {response:?}");
    }

    const FRESH: (&str, &str) = ("cache-control", "max-age=60");
    const BEARER: (&str, &str) = ("authorization", "Bearer x");
    const ETAG: (&str, &str) = ("etag", "\"1\"");

    fn control(field: &str) -> (&str, &str) {
        ("cache-control", field)
    }

    /// RFC 9111, 3.
    #[test]
    fn what_may_be_stored_and_what_may_not() {
        for (response, expected) in [
            (&[FRESH][..], true),
            (&[], false),
            (&[control("max-age=0")], false),
            (&[control("max-age=60, no-store")], false),
            (&[control("max-age=60, private")], false),
            (&[control("max-age=60, no-cache")], false),
            (&[FRESH, ("vary", "accept, *")], false),
            (&[FRESH, ("vary", "x-v;q=1")], false),
            (&[FRESH, ("set-cookie", "a=1")], false),
            (&[FRESH, ("content-range", "bytes 0-1/2")], false),
            (&[FRESH, ("age", "60")], false),
            (&[FRESH, ("age", "59")], true),
            (&[("expires", "Thu, 01 Jan 1970 00:01:00 GMT")], true),
            (&[("expires", "0")], false),
        ] {
            check(&[], response, expected);
        }
        check(&[control("no-store")], &[FRESH], false);
        check(&[("range", "bytes=0-1")], &[FRESH], true);
    }

    #[test]
    fn what_can_be_validated_is_of_use_without_being_fresh() {
        for stale in ["max-age=0", "no-cache", "max-age=60, no-cache", "x-none"] {
            check(&[], &[control(stale)], false);
            check(&[], &[control(stale), ETAG], true);
        }
        check(&[], &[control("no-store"), ETAG], false);
        check(&[], &[control("max-age=0, stale-if-error=60")], true);
        // No freshness, no meaning of its own for caches.
        assert!(!judge(500, &[ETAG], &Rules::default()));
    }

    /// RFC 9111, 3.5.
    #[test]
    fn an_authorized_response_needs_a_word_for_it() {
        check(&[("cookie", "session=1")], &[FRESH], false);
        for (field, expected) in [
            ("max-age=60", false),
            ("max-age=60, proxy-revalidate", false),
            ("max-age=60, public", true),
            ("s-maxage=60", true),
            ("max-age=60, must-revalidate", true),
        ] {
            check(&[BEARER], &[control(field)], expected);
        }
        let rules = Rules {
            ignore_cookie: true,
            ..Rules::default()
        };
        let judge = |request| verdict(&[request], 200, &[FRESH], &rules).is_some();
        assert!(judge(("cookie", "session=1")));
        assert!(!judge(BEARER));
    }

    #[test]
    fn a_private_cache_stores_its_owners_responses() {
        let rules = Rules {
            audience: Audience::Private,
            ..Rules::default()
        };
        let response = [control("max-age=60, private"), ("set-cookie", "a=1")];
        assert!(verdict(&[BEARER], 200, &response, &rules).is_some());
        let named = [control("max-age=60, private=\"set-cookie\", no-cache=x-a")];
        let verdict = verdict(&[], 200, &named, &rules).unwrap();
        assert_eq!(verdict.omitted, ["x-a"], "3.1: all else is stored");
        assert!(!judge(200, &[control("max-age=60, no-store")], &rules));
        assert!(!judge(200, &[control("s-maxage=60")], &rules));
    }

    /// RFC 9111, 5.2.2.4 and 5.2.2.7.
    #[test]
    fn fields_that_are_named_are_left_out_and_the_rest_is_stored() {
        let response = [
            control("max-age=60, private=\"set-cookie\", no-cache=\"x-a\""),
            ("set-cookie", "a=1"),
        ];
        let verdict = verdict(&[], 200, &response, &Rules::default()).unwrap();
        let x_a = HeaderName::from_static("x-a");
        assert_eq!(verdict.omitted, [x_a, header::SET_COOKIE]);
        assert!(!verdict.policy.no_cache);
    }

    /// RFC 9111, 3, and RFC 9110, 15.
    #[test]
    fn any_final_status_is_storable_when_freshness_is_explicit() {
        for (status, expected) in [
            (200, true),
            (404, true),
            (500, true),
            (299, true),
            (999, true),
            (206, false),
            (304, false),
            (416, false),
        ] {
            assert_eq!(
                judge(status, &[FRESH], &Rules::default()),
                expected,
                "{status}"
            );
        }
    }

    /// RFC 6585, 3 to 6; RFC 9110, 15.5.13, 15.5.17 and 15.5.18.
    #[test]
    fn what_is_about_one_request_or_never_to_be_stored_is_not() {
        for status in [412, 416, 417, 428, 429, 431, 511] {
            assert!(!judge(status, &[FRESH], &Rules::default()), "{status}");
            let must = control("max-age=60, must-understand");
            assert!(!judge(status, &[must], &Rules::default()), "{status}");
        }
    }

    /// RFC 9111, 3.1, 4.1 and 5.2.2.4.
    #[test]
    fn nobody_is_to_forget_what_a_response_varies_by() {
        let vary = ("vary", "accept");
        for control in ["max-age=60, no-cache=\"vary\"", "max-age=60, private=Vary"] {
            check(&[], &[("cache-control", control), vary], false);
            check(&[], &[("cache-control", control)], true);
        }
        check(&[], &[FRESH, vary, ("connection", "close, Vary")], false);
        check(&[], &[FRESH, vary, ("connection", "close")], true);
    }

    /// RFC 9111, 5.2.2.3.
    #[test]
    fn what_must_be_understood_is_stored_when_it_is() {
        let fields = [control("max-age=60, must-understand, no-store")];
        let judge = |status| judge(status, &fields, &Rules::default());
        assert!(judge(200) && judge(404) && judge(503));
        assert!(!judge(299) && !judge(999));
    }

    #[test]
    fn a_default_ttl_is_for_the_cacheable_statuses_without_a_word_of_their_own() {
        let rules = Rules {
            default_ttl: Some(Duration::from_secs(5)),
            ..Rules::default()
        };
        assert!(judge(200, &[], &rules));
        assert!(!judge(500, &[], &rules));
        assert!(!judge(200, &[control("max-age=0")], &rules));
        assert!(!judge(200, &[control("no-store")], &rules));
    }

    /// RFC 9111, 4.2.4; RFC 5861.
    #[test]
    fn what_says_nothing_of_reuse_is_not_used_stale_by_choice() {
        let secs = Duration::from_secs;
        let rules = Rules {
            stale: StaleRules {
                while_revalidating: secs(10),
                if_error: secs(3600),
            },
            ..Rules::default()
        };
        let windows = |response: &[(&str, &str)]| {
            let policy = verdict(&[], 200, response, &rules)?.policy;
            Some((
                policy.while_revalidating.as_secs(),
                policy.if_error.as_secs(),
            ))
        };
        for (response, expected) in [
            (&[][..], None),
            (&[control("public")], None),
            (&[ETAG], Some((0, 0))),
            // It never was fresh, and is there for when the origin fails.
            (&[control("max-age=0"), ETAG], Some((0, 3600))),
            (&[control("max-age=1")], Some((10, 3600))),
            (
                &[control("max-age=0, stale-while-revalidate=5")],
                Some((5, 3600)),
            ),
            (&[control("stale-if-error=5")], Some((0, 5))),
        ] {
            assert_eq!(windows(response), expected, "{response:?}");
        }
    }

    /// RFC 9111, 4.2.2.
    #[test]
    fn a_lifetime_is_guessed_where_that_is_allowed() {
        let rules = Rules {
            heuristic: Some(Duration::from_secs(3600)),
            ..Rules::default()
        };
        let modified = ("last-modified", "Thu, 01 Jan 1970 00:00:00 GMT");
        let lifetime = |status, fields: &[(&str, &str)], rules| {
            let verdict = verdict(&[], status, fields, rules)?;
            Some(verdict.policy.lifetime.as_secs())
        };
        let date = ("date", "Thu, 01 Jan 1970 00:10:00 GMT");
        for (status, extra, expected) in [
            (200, "x-none", Some(60)),
            (404, "x-none", Some(60)),
            (500, "x-none", None),
            (500, "public", Some(60)),
            (200, "max-age=5", Some(5)),
            (200, "no-store", None),
        ] {
            let fields = [modified, date, control(extra)];
            assert_eq!(
                lifetime(status, &fields, &rules),
                expected,
                "{status} {extra}"
            );
        }
        let off = lifetime(200, &[modified, date], &Rules::default());
        assert_eq!(off, Some(0), "it is validated each time");
    }
}
