//! Whose an `Idempotency-Key` is.

use std::borrow::Cow;

use buttress_wire::key::KeyBuilder;
use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE};
use http::request::Parts;

/// Keys of one caller are not those of another. Who is calling is what `Authorization` and `Cookie` say, all of them; or, of the cookies, only the one that holds the session.
pub(crate) fn scope(
    session: Option<String>,
) -> impl Fn(&Parts) -> Cow<'_, [u8]> + Send + Sync + 'static {
    move |parts| {
        let mut scope = Vec::new();
        let mut known = KeyBuilder::new(&mut scope);
        known.field(&parts.headers, &AUTHORIZATION);
        match &session {
            None => known.field(&parts.headers, &COOKIE),
            Some(name) => known.optional(cookie(&parts.headers, name)),
        };
        scope.into()
    }
}

/// The value of a cookie (RFC 6265, 5.4), the first of its name.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let fields = headers.get_all(COOKIE).iter();
    let mut pairs = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
    pairs.find_map(|pair| {
        let value = pair.trim_ascii().strip_prefix(name.as_bytes())?;
        value.strip_prefix(b"=")
    })
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
        ]
        .map(|fields| scope_of(None, fields));
        for (n, one) in all.iter().enumerate() {
            assert!(!all[..n].contains(one), "{n}");
        }
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
