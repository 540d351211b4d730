//! Fields of an incoming request that may go on to some hosts, and to no other.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

/// Fields that came with a request, kept for the calls made for it. Most are credentials: never shown.
#[derive(Clone, Default)]
pub(crate) struct Carried(Vec<(HeaderName, HeaderValue)>);

impl Carried {
    pub(crate) const EMPTY: Self = Self(Vec::new());

    /// Those of these names that came; `None` if none did.
    pub(crate) fn take(names: &[HeaderName], headers: &HeaderMap) -> Option<Self> {
        let values = |name| headers.get_all(name).iter().map(move |value| (name, value));
        let fields = names.iter().flat_map(values);
        let fields: Vec<_> = fields
            .map(|(name, value)| (name.clone(), secret(value)))
            .collect();
        (!fields.is_empty()).then_some(Self(fields))
    }

    /// Adds what is carried to a call, unless the call says otherwise by a field of its own of that name.
    pub(crate) fn give(&self, headers: &mut HeaderMap) {
        for (place, (name, value)) in self.0.iter().enumerate() {
            let is_ours = self.0[..place].iter().any(|(earlier, _)| earlier == name);
            if is_ours || !headers.contains_key(name) {
                headers.append(name, value.clone());
            }
        }
    }

    /// Removes copies of what is carried from a call, as somebody makes who passes all fields on.
    pub(crate) fn withhold(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.0 {
            if headers.get_all(name).iter().any(|sent| sent == value) {
                headers.remove(name);
            }
        }
    }
}

/// Marked, so that neither `Debug` nor HPACK's table shows it to anybody.
fn secret(value: &HeaderValue) -> HeaderValue {
    let mut value = value.clone();
    value.set_sensitive(true);
    value
}

impl fmt::Debug for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|field| &field.0))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use http::header::{AUTHORIZATION, COOKIE};

    use super::*;

    fn fields(fields: &[(HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    fn carried() -> Carried {
        let came = fields(&[
            (AUTHORIZATION, "Bearer x"),
            (COOKIE, "a=1"),
            (COOKIE, "b=2"),
        ]);
        Carried::take(&[AUTHORIZATION, COOKIE], &came).unwrap()
    }

    #[test]
    fn only_what_is_named_is_taken() {
        let came = fields(&[(COOKIE, "a=1")]);
        assert!(Carried::take(&[AUTHORIZATION], &came).is_none());
        assert_eq!(
            format!("{:?}", carried()),
            r#"["authorization", "cookie", "cookie"]"#
        );
    }

    #[test]
    fn what_a_call_says_itself_counts() {
        let mut call = fields(&[(AUTHORIZATION, "Basic own")]);
        carried().give(&mut call);
        let own = fields(&[
            (AUTHORIZATION, "Basic own"),
            (COOKIE, "a=1"),
            (COOKIE, "b=2"),
        ]);
        assert_eq!(call, own);
    }

    #[test]
    fn only_copies_are_withheld() {
        let mut call = fields(&[
            (AUTHORIZATION, "Basic own"),
            (COOKIE, "z=0"),
            (COOKIE, "b=2"),
        ]);
        carried().withhold(&mut call);
        assert_eq!(call, fields(&[(AUTHORIZATION, "Basic own")]));
    }
}
