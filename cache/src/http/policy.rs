//! What was decided about a response when it was stored, for all who will ask for it.

use std::time::Duration;

use super::freshness::Stated;

/// For how long, and in which circumstances, a stored response may be used.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Policy {
    /// How old it was when it arrived (RFC 9111, 4.2.3).
    pub(super) initial_age: Duration,
    /// From when it was made (4.2.1).
    pub(super) lifetime: Duration,
    /// It is to be validated before each use (5.2.2.4).
    pub(super) no_cache: bool,
    /// It must not be used stale, by nobody's leave (4.2.4).
    pub(super) forbids_stale: bool,
    /// It must not be used stale unless it says so itself: `s-maxage` is for those who ask again in time (5.2.2.10).
    pub(super) refuses_max_stale: bool,
    /// It does not change while it is fresh (RFC 8246).
    pub(super) immutable: bool,
    /// For how long after its lifetime it may be used while it is asked for anew (RFC 5861, 3).
    pub(super) while_revalidating: Duration,
    /// The same when the origin fails (RFC 5861, 4).
    pub(super) if_error: Duration,
}

/// How long what is stale may be used, where a response does not say.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct StaleRules {
    pub(super) while_revalidating: Duration,
    pub(super) if_error: Duration,
}

impl Policy {
    pub(super) fn new(
        stated: &Stated,
        initial_age: Duration,
        lifetime: Duration,
        stale: StaleRules,
    ) -> Self {
        let directives = &stated.directives;
        let forbids_stale = stated.forbids_stale();
        let refuses_max_stale = forbids_stale || stated.s_maxage().is_some();
        // What the origin says of this very thing goes before what its `s-maxage` says of stale use in general (4.2.4); a choice of
        // this cache's owner does not.
        let window = |own: Option<Duration>, default: Duration| match own {
            _ if forbids_stale => Duration::ZERO,
            Some(own) => own,
            None if refuses_max_stale => Duration::ZERO,
            None => default,
        };
        // What never was fresh does not become stale.
        let while_revalidating = if lifetime.is_zero() {
            Duration::ZERO
        } else {
            stale.while_revalidating
        };
        Self {
            initial_age,
            lifetime,
            no_cache: directives.no_cache.is_everything(),
            forbids_stale,
            refuses_max_stale,
            immutable: directives.immutable,
            while_revalidating: window(directives.stale_while_revalidate, while_revalidating),
            if_error: window(directives.stale_if_error, stale.if_error),
        }
    }

    /// How long it can be of use after it has become stale, other than by being validated.
    pub(super) fn stale_use(&self) -> Duration {
        self.while_revalidating.max(self.if_error)
    }

    /// Whether it could be used without asking when it arrived.
    pub(super) fn is_fresh_at_first(&self) -> bool {
        !self.no_cache && self.lifetime > self.initial_age
    }

    pub(super) fn left(&self, age: Duration) -> Duration {
        self.lifetime.saturating_sub(age)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::{CACHE_CONTROL, HeaderMap};

    use super::super::freshness::Audience;
    use super::*;

    const OWN: StaleRules = StaleRules {
        while_revalidating: Duration::from_secs(1),
        if_error: Duration::from_secs(2),
    };

    fn of(field: &'static str, audience: Audience) -> Policy {
        let headers = HeaderMap::from_iter([(CACHE_CONTROL, HeaderValue::from_static(field))]);
        let stated = Stated::of(&headers, audience, &[]);
        Policy::new(&stated, Duration::ZERO, Duration::from_secs(1), OWN)
    }

    #[track_caller]
    fn check(field: &'static str, while_revalidating: u64, if_error: u64) {
        let policy = of(field, Audience::Shared);
        let found = (policy.while_revalidating, policy.if_error);
        let secs = Duration::from_secs;
        assert_eq!(found, (secs(while_revalidating), secs(if_error)), "{field}");
    }

    /// RFC 9111, 4.2.4; RFC 5861.
    #[test]
    fn what_is_stale_is_used_as_the_response_says_or_else_as_was_chosen() {
        check("max-age=1", 1, 2);
        check("stale-while-revalidate=5", 5, 2);
        check("stale-if-error=6, stale-while-revalidate=0", 0, 6);
        check("s-maxage=1", 0, 0);
        check("s-maxage=1, stale-while-revalidate=5", 5, 0);
        for forbids in ["must-revalidate", "proxy-revalidate", "no-cache"] {
            check(forbids, 0, 0);
            assert!(of(forbids, Audience::Shared).refuses_max_stale);
        }
        check("must-revalidate, stale-while-revalidate=5", 0, 0);
        check("no-cache=\"x\"", 1, 2);
    }

    #[test]
    fn what_is_for_shared_caches_is_not_for_private_ones() {
        for shared in ["s-maxage=1", "proxy-revalidate"] {
            let policy = of(shared, Audience::Private);
            assert!(!policy.forbids_stale && !policy.refuses_max_stale);
        }
        assert!(of("must-revalidate", Audience::Private).forbids_stale);
    }
}
