//! Looking for a few fields in a message, cheaply.

use http::{HeaderMap, HeaderName, HeaderValue};

/// How often a field stands in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field<'a> {
    Absent,
    Once(&'a HeaderValue),
    Repeated,
}

/// Up to so many fields, passing by all of them costs less than hashing the names that are looked for.
const FEW: usize = 16;

/// Finds several fields at once.
#[inline]
pub(crate) fn find<'a, const N: usize>(
    headers: &'a HeaderMap,
    names: [&HeaderName; N],
) -> [Field<'a>; N] {
    if headers.len() <= FEW {
        pass_by(headers, names)
    } else {
        names.map(|name| look_up(headers, name))
    }
}

#[inline]
fn pass_by<'a, const N: usize>(headers: &'a HeaderMap, names: [&HeaderName; N]) -> [Field<'a>; N] {
    let mut found = [Field::Absent; N];
    for (name, value) in headers {
        for (field, wanted) in found.iter_mut().zip(names) {
            if name == wanted {
                *field = field.and(value);
            }
        }
    }
    found
}

fn look_up<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Field<'a> {
    let values = headers.get_all(name).iter();
    values.fold(Field::Absent, Field::and)
}

impl<'a> Field<'a> {
    #[inline]
    fn and(self, value: &'a HeaderValue) -> Self {
        match self {
            Self::Absent => Self::Once(value),
            Self::Once(_) | Self::Repeated => Self::Repeated,
        }
    }
}

/// Makes a field that is there say this and only this.
#[inline]
pub(crate) fn overwrite(headers: &mut HeaderMap, name: &HeaderName, value: HeaderValue) {
    if headers.len() <= FEW {
        let mut places = headers.iter_mut().filter(|(there, _)| *there == name);
        if let (Some((_, place)), None) = (places.next(), places.next()) {
            *place = value;
            return;
        }
    }
    headers.insert(name, value);
}

/// Whether none of these is there. Among many fields it does not look: they may be.
#[inline]
pub(crate) fn has_none<const N: usize>(headers: &HeaderMap, names: [&HeaderName; N]) -> bool {
    headers.len() <= FEW && headers.keys().all(|there| !names.contains(&there))
}

/// Removes a field. Most often there is none.
#[inline]
pub(crate) fn remove(headers: &mut HeaderMap, name: &HeaderName) {
    let is_absent = headers.len() <= FEW && headers.keys().all(|there| there != name);
    if !is_absent {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [HeaderName; 3] = [
        HeaderName::from_static("x-a"),
        HeaderName::from_static("x-bb"),
        http::header::ACCEPT,
    ];

    fn message(values: &[(usize, &'static str)], others: usize) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for other in 0..others {
            let name = HeaderName::try_from(format!("x-other-{other}")).unwrap();
            headers.insert(name, HeaderValue::from_static("o"));
        }
        for (name, value) in values {
            headers.append(&NAMES[*name], HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn fields_are_found_among_few_and_among_many() {
        for others in [0, 5, 13, 14, 50] {
            let headers = message(&[(0, "1"), (2, "2"), (0, "3"), (2, "4"), (2, "5")], others);
            let found = find(&headers, [&NAMES[0], &NAMES[1], &NAMES[2]]);
            assert_eq!(found, [Field::Repeated, Field::Absent, Field::Repeated]);
            let headers = message(&[(1, "1")], others);
            let value = HeaderValue::from_static("1");
            assert_eq!(find(&headers, [&NAMES[1]]), [Field::Once(&value)]);
        }
    }

    #[test]
    fn a_field_is_overwritten_whatever_was_there() {
        for others in [0, 13, 14, 50] {
            for before in [&[][..], &[(0, "1")], &[(0, "1"), (0, "2")]] {
                let value = HeaderValue::from_static("new");
                let mut headers = message(before, others);
                overwrite(&mut headers, &NAMES[0], value.clone());
                let all: Vec<_> = headers.get_all(&NAMES[0]).iter().collect();
                assert_eq!(all, [&value], "{before:?}");
                assert_eq!(headers.len(), others + 1);
                remove(&mut headers, &NAMES[0]);
                remove(&mut headers, &NAMES[1]);
                assert_eq!(headers.len(), others);
            }
        }
    }
}
