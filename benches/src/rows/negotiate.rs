//! The choice among four media types.

use std::hint::black_box;

use buttress_negotiate::{Match, Offers};
use http::{HeaderMap, HeaderValue, header};

use crate::kit::{Budget, Call, Row, Work, Zero};

/// What Chrome sends when somebody follows a link, but for the image formats of its own.
const BROWSER: &str =
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";

/// From the bytes of the field, and from a `HeaderMap`.
pub const ROWS: &[Row] = &[
    Row::Call(Call {
        id: "negotiate/browser/ours",
        budget: Some(Budget::new(100.0, 0)),
        zero: Zero::Beside(|| Work::new(|| BROWSER)),
        work: || {
            let offers = offers();
            assert_eq!(chosen(offers.select_field(BROWSER.as_bytes())), 2);
            Work::new(move || chosen(offers.select_field(black_box(BROWSER.as_bytes()))))
        },
    }),
    Row::Call(Call {
        id: "negotiate/browser/ours-headers",
        budget: Some(Budget::new(130.0, 0)),
        zero: Zero::Beside(|| Work::new(|| BROWSER)),
        work: || {
            let (offers, mut headers) = (offers(), HeaderMap::new());
            headers.insert(header::ACCEPT, HeaderValue::from_static(BROWSER));
            Work::new(move || chosen(offers.select(&headers)))
        },
    }),
];

fn offers() -> Offers<u8> {
    let types = [
        "application/json",
        "text/csv",
        "text/html",
        "application/xml",
    ];
    Offers::new(types.into_iter().zip(0..)).expect("media types")
}

fn chosen<E>(found: Result<Match<'_, u8>, E>) -> usize {
    match found {
        Ok(found) => found.index(),
        Err(_) => unreachable!("a browser takes anything"),
    }
}
