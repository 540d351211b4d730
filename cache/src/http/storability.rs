//! Whether a response may be stored (RFC 9111, section 3).

use std::time::{Duration, SystemTime};

use buttress_wire::fields::list;
use buttress_wire::lex::is_token;
use http::header::{self, HeaderMap};
use http::{Method, StatusCode, response};

use super::directives::Directives;
use super::freshness::{initial_age, lifetime};

/// What is known of a request when its response comes back.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    /// It says who asks: with `Authorization` or `Cookie`.
    pub(super) personal: bool,
    pub(super) no_store: bool,
    pub(super) ranged: bool,
}

impl Asked {
    pub(super) fn of(method: &Method, headers: &HeaderMap) -> Self {
        Self {
            method: method.clone(),
            personal: headers.contains_key(header::AUTHORIZATION)
                || headers.contains_key(header::COOKIE),
            no_store: Directives::of(headers).no_store,
            ranged: headers.contains_key(header::RANGE),
        }
    }
}

/// How old a storable response is, and how long it lives from when it was made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Times {
    pub(super) initial_age: Duration,
    pub(super) lifetime: Duration,
}

impl Times {
    pub(super) fn left(self, since_response: Duration) -> Duration {
        self.lifetime
            .saturating_sub(self.initial_age)
            .saturating_sub(since_response)
    }
}

/// How a response is judged beside what it says itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rules {
    /// For a cacheable status without freshness information.
    pub(super) default_ttl: Option<Duration>,
    pub(super) allow_set_cookie: bool,
}

/// The times of a response that may be stored; `None` for one that may not, or that would be stale at once.
pub(super) fn storable(
    asked: &Asked,
    head: &response::Parts,
    rules: Rules,
    response_time: SystemTime,
    response_delay: Duration,
) -> Option<Times> {
    let directives = Directives::of(&head.headers);
    let forbidden = asked.method != Method::GET
        || asked.no_store
        || asked.ranged
        || directives.no_store
        || directives.private
        // It would have to be validated before each use, which this cache leaves to its client and its origin.
        || directives.no_cache
        // `*`, and what is no field name: nobody knows what it varies by.
        || list(&head.headers, header::VARY).any(|name| name == b"*" || !is_token(name))
        || (head.headers.contains_key(header::SET_COOKIE) && !rules.allow_set_cookie)
        || head.headers.contains_key(header::CONTENT_RANGE)
        || (asked.personal && !allows_personal(&directives));
    if forbidden || !is_complete(head.status) {
        return None;
    }
    let explicit = lifetime(&head.headers, &directives, response_time);
    let default = rules
        .default_ttl
        .filter(|_| is_heuristically_cacheable(head.status));
    let lifetime = explicit.or(default)?;
    let initial_age = initial_age(&head.headers, response_time, response_delay);
    (lifetime > initial_age).then_some(Times {
        initial_age,
        lifetime,
    })
}

/// A response to a request with `Authorization` is its owner's, unless it says otherwise (3.5). We take a `Cookie` for the same.
fn allows_personal(directives: &Directives) -> bool {
    directives.public || directives.s_maxage.is_some() || directives.must_revalidate
}

/// A final status whose meaning is in the response itself: neither a part nor an update of another one.
fn is_complete(status: StatusCode) -> bool {
    !status.is_informational()
        && status != StatusCode::PARTIAL_CONTENT
        && status != StatusCode::NOT_MODIFIED
}

/// RFC 9110, section 15.1.
fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};

    use super::*;

    fn judge(
        request: &[(&str, &str)],
        status: u16,
        response: &[(&str, &str)],
        rules: Rules,
    ) -> bool {
        let mut asked = Request::get("/");
        for (name, value) in request {
            asked = asked.header(*name, *value);
        }
        let asked = asked.body(()).unwrap();
        let asked = Asked::of(asked.method(), asked.headers());
        let mut head = Response::builder().status(status);
        for (name, value) in response {
            head = head.header(*name, *value);
        }
        let (head, ()) = head.body(()).unwrap().into_parts();
        storable(&asked, &head, rules, SystemTime::UNIX_EPOCH, Duration::ZERO).is_some()
    }

    #[track_caller]
    fn check(request: &[(&str, &str)], response: &[(&str, &str)], expected: bool) {
        let found = judge(request, 200, response, Rules::default());
        assert_eq!(found, expected, "{request:?} {response:?}");
    }

    const FRESH: (&str, &str) = ("cache-control", "max-age=60");
    const BEARER: (&str, &str) = ("authorization", "Bearer x");

    #[test]
    fn what_may_be_stored_and_what_may_not() {
        check(&[], &[FRESH], true);
        check(&[], &[], false);
        check(&[], &[("cache-control", "max-age=0")], false);
        check(&[], &[("cache-control", "max-age=60, no-store")], false);
        check(&[], &[("cache-control", "max-age=60, private")], false);
        check(&[], &[("cache-control", "max-age=60, no-cache")], false);
        check(&[], &[FRESH, ("vary", "accept, *")], false);
        check(&[], &[FRESH, ("vary", "x-v;q=1")], false);
        check(&[], &[FRESH, ("set-cookie", "a=1")], false);
        check(&[], &[FRESH, ("content-range", "bytes 0-1/2")], false);
        check(&[], &[FRESH, ("age", "60")], false);
        check(&[], &[FRESH, ("age", "59")], true);
        check(&[("cache-control", "no-store")], &[FRESH], false);
        check(&[("range", "bytes=0-1")], &[FRESH], false);
    }

    #[test]
    fn an_authorized_response_needs_a_word_for_it() {
        check(&[BEARER], &[FRESH], false);
        check(&[("cookie", "session=1")], &[FRESH], false);
        check(
            &[BEARER],
            &[("cache-control", "max-age=60, proxy-revalidate")],
            false,
        );
        check(&[BEARER], &[("cache-control", "max-age=60, public")], true);
        check(&[BEARER], &[("cache-control", "s-maxage=60")], true);
        check(
            &[BEARER],
            &[("cache-control", "max-age=60, must-revalidate")],
            true,
        );
    }

    #[test]
    fn any_final_status_is_storable_when_freshness_is_explicit() {
        let judge = |status, rules| judge(&[], status, &[FRESH], rules);
        for (status, expected) in [
            (200, true),
            (404, true),
            (500, true),
            (299, true),
            (206, false),
            (304, false),
        ] {
            assert_eq!(judge(status, Rules::default()), expected, "{status}");
        }
    }

    #[test]
    fn a_default_ttl_is_for_the_cacheable_statuses_without_a_word_of_their_own() {
        let rules = Rules {
            default_ttl: Some(Duration::from_secs(5)),
            ..Rules::default()
        };
        assert!(judge(&[], 200, &[], rules));
        assert!(!judge(&[], 500, &[], rules));
        assert!(!judge(&[], 200, &[("cache-control", "max-age=0")], rules));
        assert!(!judge(&[], 200, &[("cache-control", "no-store")], rules));
    }
}
