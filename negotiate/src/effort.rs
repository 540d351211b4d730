//! How much was looked at: counted in tests, where the choice is held to be linear in the field.

#[cfg(test)]
thread_local! {
    static SEEN: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Whoever scans `bytes`, or lets them be scanned, says so here.
#[inline]
pub(crate) fn seen(bytes: &[u8]) {
    #[cfg(test)]
    SEEN.set(SEEN.get() + bytes.len() + 1);
    #[cfg(not(test))]
    let _ = bytes;
}

/// How many bytes `look` looks at; one more for each time.
#[cfg(test)]
pub(crate) fn of<R>(look: impl FnOnce() -> R) -> usize {
    SEEN.set(0);
    let _ = look();
    SEEN.get()
}

#[cfg(test)]
mod tests {
    use http::header::{
        ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_TYPE, HeaderMap,
        HeaderValue,
    };
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::decode::Readers;
    use crate::{Charsets, Codings, Json, Languages, Limits, NdJson, Offers};

    const OFFERS: [&str; 12] = [
        "a/b",
        "a/b;x=1",
        "a/b;x=1;y=2;z=3",
        "a/c;charset=utf-8",
        "text/html",
        "text/html;level=1",
        "application/json",
        "a/d",
        "a/e",
        "a/f",
        "a/g",
        "a/h",
    ];
    const NAMES: [&str; 6] = ["gzip", "en-GB", "zh-Hant-TW", "utf-8", "identity", "de"];

    /// Times that a byte of a field is looked at for each offer, and once more.
    const TIMES: usize = 8;

    #[track_caller]
    fn check(field: &[u8], names: &[&str], types: &[&str]) {
        let Ok(value) = HeaderValue::from_bytes(field) else {
            return;
        };
        let headers: HeaderMap = [
            ACCEPT,
            ACCEPT_CHARSET,
            ACCEPT_ENCODING,
            ACCEPT_LANGUAGE,
            CONTENT_TYPE,
        ]
        .map(|name| (name, value.clone()))
        .into_iter()
        .collect();
        let most = |offers: usize| TIMES * (field.len() + 8) * (offers + 1);
        let all = Limits {
            bytes: usize::MAX,
            ranges: usize::MAX,
        };
        let offers = Offers::new(types.iter().map(|name| (*name, ()))).unwrap();
        let offers = offers.limits(all);
        let media = of(|| offers.select(&headers));
        assert!(
            media <= most(types.len()),
            "{media} for {} bytes: {value:?}",
            field.len()
        );
        let names = names.iter().copied();
        let (codings, charsets) = (Codings::new(names.clone()), Charsets::new(names.clone()));
        let languages = Languages::new(names.clone());
        for look in [
            of(|| codings.select(&headers)),
            of(|| charsets.select(&headers)),
            of(|| languages.filter(&headers)),
            of(|| languages.filter_extended(&headers)),
            of(|| languages.lookup(&headers)),
        ] {
            assert!(
                look <= most(names.len()),
                "{look} for {} bytes: {value:?}",
                field.len()
            );
        }
        let readers = Readers::new(&(Json, NdJson::new()));
        let read = of(|| readers.find(&headers, true));
        assert!(
            read <= most(0),
            "{read} for {} bytes: {value:?}",
            field.len()
        );
    }

    /// What looks cheap and could cost much.
    fn piece() -> impl Strategy<Value = &'static str> {
        select(vec![
            "a/b",
            "a/*",
            "*/*",
            ";",
            ",",
            ";x=1",
            ";x=1;y=2",
            ";y=2",
            ";q=0",
            ";q=0.5",
            ";q=0.123",
            ";q=\"0.5\"",
            "\"",
            "\\",
            "\"\\\"",
            " ",
            "\t",
            "=",
            "*",
            "-a",
            "-",
            "en",
            "en-GB",
            "zh-Hant-TW",
            "gzip",
            "x-gzip",
            "utf-8",
            "text/html;level=1",
            "application/json",
            ";charset=utf-8",
            ";charset=\"utf-8\"",
            ", ,;;,",
            "/",
        ])
    }

    proptest! {
        #[test]
        fn a_choice_looks_at_every_byte_a_few_times_for_each_offer(
            pieces in proptest::collection::vec(piece(), 0..80),
            repeated in 1_usize..40,
            types in proptest::sample::subsequence(OFFERS.to_vec(), 1..12),
            names in proptest::sample::subsequence(NAMES.to_vec(), 1..6),
        ) {
            check(pieces.concat().repeat(repeated).as_bytes(), &names, &types);
        }
    }

    #[test]
    fn what_is_made_to_cost_much_costs_no_more() {
        for piece in [
            "a",
            ",",
            ";",
            "\"",
            "\\",
            " ",
            "\t",
            "*",
            "-",
            "/",
            "=",
            "a/b,",
            "a/b;",
            "a/b;x=1",
            ";x=1",
            ";x",
            ";q=0",
            "a/b;q=0.5,",
            "a/b;q=0.123,",
            "\"\\",
            "\"\\\"",
            ",\"",
            ";\"",
            "a/b;x=\"",
            "a-",
            "en-",
            "a-a-",
            "*-",
            "-*",
            "en-GB;q=0,",
            "en-GB-",
            "*,",
            "*/*,",
            "a/*,",
            "a/b;x=1;x=1;x=1,",
            "x-gzip,",
            ";charset=utf-8",
            ";charset=\"",
            ", ,",
            ";;;,",
            "a/b ;x=1,",
        ] {
            for start in [
                "",
                "a/b;x=1",
                "application/json",
                "\"",
                "en-GB",
                "a/b;q=0.5,",
            ] {
                // Fields of names are read up to 8192 bytes and 256 elements.
                for length in [250 * piece.len(), 8000] {
                    let field = format!("{start}{}", piece.repeat(length / piece.len()));
                    check(field.as_bytes(), &NAMES, &OFFERS);
                }
            }
        }
    }
}
