//! Whether a stored response may be used for a request (RFC 9111, sections 4 and 5.2.1; RFC 5861; RFC 8246).

use std::time::Duration;

use buttress_wire::fields::list_contains;
use http::header::{self, HeaderMap};

use super::directives::Directives;
use super::glance::Glance;
use super::policy::Policy;

/// What a request says about stored responses.
#[derive(Debug, Default)]
pub(super) struct Wish {
    directives: Directives,
}

/// What may be done with a stored response.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reuse {
    /// It is fresh.
    Fresh,
    /// It is stale, and the request takes it so.
    Stale,
    /// The origin has to be asked, since the request or the response wants it.
    Validate(Why),
    /// It is stale, and may be used while it is asked for anew.
    WhileRevalidating,
}

/// Who wants the origin to be asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Why {
    Request,
    Response,
}

impl Wish {
    /// Most say nothing.
    pub(super) fn at(glance: &Glance<'_>) -> Self {
        if glance.has_control() {
            Self::of(glance.headers())
        } else {
            Self::default()
        }
    }

    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut directives = Directives::of(headers);
        // `Pragma: no-cache` counts where there is no `Cache-Control` (5.4).
        if !headers.contains_key(header::CACHE_CONTROL)
            && list_contains(headers, header::PRAGMA, "no-cache")
        {
            directives.no_cache = super::directives::Scope::Everything;
        }
        Self { directives }
    }

    /// Whether a stored response of this age will do.
    pub(super) fn reuse(&self, policy: &Policy, age: Duration) -> Reuse {
        let wish = &self.directives;
        let left = policy.lifetime.saturating_sub(age);
        let is_fresh = !left.is_zero();
        if self.is_no_cache() {
            return Reuse::Validate(Why::Request);
        }
        if policy.no_cache {
            return Reuse::Validate(Why::Response);
        }
        // Who reloads says `max-age=0`, and that is what an immutable response is to be spared (RFC 8246, 2).
        let too_old = wish.max_age.is_some_and(|max| age > max) && !(policy.immutable && is_fresh);
        if too_old || wish.min_fresh.is_some_and(|min| left < min) {
            return Reuse::Validate(Why::Request);
        }
        if is_fresh {
            return Reuse::Fresh;
        }
        let stale_for = age.saturating_sub(policy.lifetime);
        if !policy.refuses_max_stale && wish.max_stale.is_some_and(|max| stale_for <= max) {
            return Reuse::Stale;
        }
        // Who names an age or a rest does not want what is stale (5.2.1.1).
        let particular = wish.max_age.is_some() || wish.min_fresh.is_some();
        if stale_for < policy.while_revalidating && !particular {
            return Reuse::WhileRevalidating;
        }
        Reuse::Validate(Why::Response)
    }

    /// Whether a stale response of this age will do since the origin fails (RFC 5861, 4): by its own word, or by the request's.
    pub(super) fn takes_if_error(&self, policy: &Policy, age: Duration) -> bool {
        let stale_for = age.saturating_sub(policy.lifetime);
        let asked = self.directives.stale_if_error;
        let asked = asked.filter(|_| !policy.refuses_max_stale);
        let allowed = asked.unwrap_or_default().max(policy.if_error);
        !policy.forbids_stale && !self.is_no_cache() && stale_for < allowed
    }

    /// Whether the response must not be stored (5.2.1.5).
    pub(super) fn is_no_store(&self) -> bool {
        self.directives.no_store
    }

    /// Whether the origin must not be asked: 504 without a stored response (5.2.1.7).
    pub(super) fn is_only_if_cached(&self) -> bool {
        self.directives.only_if_cached
    }

    /// Whether it says nothing against what somebody else asked for a moment ago.
    pub(super) fn is_plain(&self) -> bool {
        !self.is_no_cache()
            && !self.directives.no_store
            && self.directives.max_age.is_none()
            && self.directives.min_fresh.is_none()
    }

    pub(super) fn is_no_cache(&self) -> bool {
        // A request's has no field names; whatever follows it, it is meant.
        self.directives.no_cache != super::directives::Scope::Nothing
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::Reuse::{Fresh, Stale, Validate, WhileRevalidating};
    use super::Why::{Request, Response};
    use super::*;

    fn wish(field: &'static str) -> Wish {
        Wish::of(&HeaderMap::from_iter([(
            header::CACHE_CONTROL,
            HeaderValue::from_static(field),
        )]))
    }

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// Fresh for ten seconds.
    fn policy() -> Policy {
        Policy {
            lifetime: secs(10),
            ..Policy::default()
        }
    }

    #[track_caller]
    fn check(field: &'static str, policy: &Policy, age: u64, expected: Reuse) {
        let found = wish(field).reuse(policy, secs(age));
        assert_eq!(found, expected, "{field} {age} {policy:?}");
    }

    /// RFC 9111, 5.2.1.
    #[test]
    fn a_request_may_ask_for_more_than_fresh() {
        for (field, age, expected) in [
            ("", 5, Fresh),
            ("", 9, Fresh),
            ("", 10, Validate(Response)),
            ("max-age=5", 5, Fresh),
            ("max-age=4", 5, Validate(Request)),
            ("max-age=0", 0, Fresh),
            ("min-fresh=5", 5, Fresh),
            ("min-fresh=6", 5, Validate(Request)),
            ("no-cache", 0, Validate(Request)),
            ("no-cache=\"x\"", 0, Validate(Request)),
        ] {
            check(field, &policy(), age, expected);
        }
    }

    /// RFC 9111, 4.2.4 and 5.2.1.2.
    #[test]
    fn a_request_may_take_it_stale_unless_the_response_forbids_it() {
        let strict = Policy {
            refuses_max_stale: true,
            ..policy()
        };
        for (field, age, expected) in [
            ("max-stale", 1000, Stale),
            ("max-stale=5", 15, Stale),
            ("max-stale=5", 16, Validate(Response)),
            ("max-stale=5, max-age=12", 13, Validate(Request)),
            ("max-stale=5, max-age=60", 12, Stale),
            ("max-age=60", 12, Validate(Response)),
            ("max-stale=a", 11, Validate(Response)),
        ] {
            check(field, &policy(), age, expected);
            if expected == Stale {
                check(field, &strict, age, Validate(Response));
            }
        }
    }

    /// RFC 5861, 3.
    #[test]
    fn within_its_window_it_may_be_used_while_it_is_revalidated() {
        let policy = Policy {
            while_revalidating: secs(5),
            ..policy()
        };
        check("", &policy, 9, Fresh);
        check("", &policy, 10, WhileRevalidating);
        check("", &policy, 14, WhileRevalidating);
        check("", &policy, 15, Validate(Response));
        check("max-age=60", &policy, 12, Validate(Response));
        check("no-cache", &policy, 12, Validate(Request));
        check("max-stale=2", &policy, 12, Stale);
    }

    /// RFC 5861, 4.
    #[test]
    fn when_the_origin_fails_it_may_be_used_as_long_as_one_of_the_two_says() {
        let takes = |field, policy: &Policy, age| wish(field).takes_if_error(policy, secs(age));
        assert!(!takes("", &policy(), 10));
        assert!(takes("stale-if-error=5", &policy(), 14));
        assert!(!takes("stale-if-error=5", &policy(), 15));
        let own = Policy {
            if_error: secs(5),
            ..policy()
        };
        assert!(takes("", &own, 14) && !takes("", &own, 15));
        assert!(takes("stale-if-error=1", &own, 14));
        assert!(!takes("no-cache", &own, 14));
        let forbids = Policy {
            forbids_stale: true,
            ..own
        };
        assert!(!takes("stale-if-error=5", &forbids, 12));
    }

    /// RFC 8246, 2.
    #[test]
    fn what_is_immutable_is_not_reloaded_while_it_is_fresh() {
        let immutable = Policy {
            immutable: true,
            ..policy()
        };
        check("max-age=0", &immutable, 5, Fresh);
        check("max-age=0", &immutable, 10, Validate(Request));
        check("no-cache", &immutable, 5, Validate(Request));
    }

    #[test]
    fn a_response_may_want_to_be_validated_each_time() {
        let no_cache = Policy {
            no_cache: true,
            ..policy()
        };
        check("", &no_cache, 0, Validate(Response));
        check("max-stale", &no_cache, 0, Validate(Response));
    }

    /// RFC 9111, 5.4.
    #[test]
    fn pragma_counts_only_alone() {
        let pragma = (header::PRAGMA, HeaderValue::from_static("no-cache"));
        let control = (
            header::CACHE_CONTROL,
            HeaderValue::from_static("max-age=60"),
        );
        let found = |headers| Wish::of(&headers).reuse(&policy(), Duration::ZERO);
        assert_eq!(
            found(HeaderMap::from_iter([pragma.clone()])),
            Validate(Request)
        );
        assert_eq!(found(HeaderMap::from_iter([pragma, control])), Fresh);
    }
}
