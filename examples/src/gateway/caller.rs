//! Whose an `Idempotency-Key` is.

use std::borrow::Cow;

use buttress_wire::key::KeyBuilder;
use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE};
use http::request::Parts;

/// Keys of one caller are not those of another. Who is calling is what `Authorization` and the cookies say, all of them in their order; or, of the cookies, only the one that holds the session.
pub(crate) fn scope(
    session: Option<String>,
) -> impl Fn(&Parts) -> Cow<'_, [u8]> + Send + Sync + 'static {
    move |parts| {
        let mut scope = Vec::new();
        let mut known = KeyBuilder::new(&mut scope);
        known.field(&parts.headers, &AUTHORIZATION);
        match &session {
            None => cookies(&parts.headers).fold(&mut known, |known, cookie| known.part(cookie)),
            Some(name) => known.optional(cookie(&parts.headers, name)),
        };
        scope.into()
    }
}

/// Each with its name (RFC 6265, 4.2.1), on however many lines they come, as in HTTP/2 (RFC 9113, 8.2.3).
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(COOKIE).iter();
    let cookies = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let cookies = cookies.map(<[u8]>::trim_ascii);
    cookies.filter(|cookie| !cookie.is_empty())
}

/// The value of the first of this name.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let value = |cookie: &'a [u8]| cookie.strip_prefix(name.as_bytes())?.strip_prefix(b"=");
    cookies(headers).find_map(value)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn scope_of(session: Option<&str>, fields: &[(&str, &str)]) -> Vec<u8> {
        let mut request = Request::builder();
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        scope(session.map(str::to_owned))(&parts).into_owned()
    }

    #[test]
    fn who_is_calling_is_what_both_fields_say() {
        let all = [
            &[][..],
            &[("authorization", "a")],
            &[("cookie", "a")],
            &[("cookie", "a"), ("authorization", "a")],
            &[("cookie", "a"), ("cookie", "a")],
            &[("cookie", "ab")],
        ]
        .map(|fields| scope_of(None, fields));
        for (n, one) in all.iter().enumerate() {
            assert!(!all[..n].contains(one), "{n}");
        }
    }

    #[test]
    fn on_how_many_lines_cookies_come_says_nothing() {
        let one = scope_of(None, &[("cookie", "a=1; b=2")]);
        assert_eq!(one, scope_of(None, &[("cookie", "a=1"), ("cookie", "b=2")]));
        assert_ne!(one, scope_of(None, &[("cookie", "a=1b=2")]));
    }

    #[test]
    fn of_the_cookies_only_the_session_counts_where_it_has_a_name() {
        let of = |cookies| scope_of(Some("sid"), &[("cookie", cookies)]);
        assert_eq!(of("sid=1; seen=4"), of("seen=5;sid=1"));
        assert_eq!(of("seen=4"), of("xsid=1; sidx=2"));
        for other in ["sid=2; seen=4", "sid=", "", "sid"] {
            assert_ne!(of("sid=1; seen=4"), of(other), "{other}");
        }
    }
}
