//! What a choice may cost.

use buttress_negotiate::{Charsets, Codings, Json, Languages, Negotiated, Offers, ResponseFuture};
use http::{HeaderMap, HeaderValue, header};
use testkit::alloc::{Counting, count};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const FIELDS: [&str; 7] = [
    "application/json",
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "text/html;level=\"1\\2\";q=\"0.5\", application/json;charset=utf-8;q=0.3",
    "",
    "image/png",
    ",,;;,\"",
    "text/html;a=1;a=2;b=\"x, y\"",
];

#[test]
fn a_choice_allocates_nothing() {
    for offered in [1, 4, 8, 9, 40] {
        let types: Vec<_> = (0..offered - 1).map(|i| format!("text/x-{i}")).collect();
        let types = types
            .iter()
            .map(String::as_str)
            .chain(["text/html;level=12"]);
        let offers = Offers::new(types.map(|t| (t, ()))).unwrap();
        for field in FIELDS {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(field))]);
            let (spent, _) = count(|| offers.select(&headers).is_ok());
            assert_eq!(spent.count, 0, "{field:?}");
            let (ranked, _) = count(|| offers.ranked(&headers).count());
            assert_eq!(
                ranked.count, 1,
                "the list of ranked offers: the counter counts"
            );
        }
    }
}

#[test]
fn a_choice_among_names_allocates_nothing() {
    let names = ["gzip", "utf-8", "en-GB", "identity"];
    let (codings, charsets) = (Codings::new(names), Charsets::new(names));
    let languages = Languages::new(names);
    let field = HeaderValue::from_static("x-gzip;q=0.5, utf-8;q=\"0.1\", en-GB-x-a, *;q=0");
    let fields = [
        header::ACCEPT_ENCODING,
        header::ACCEPT_CHARSET,
        header::ACCEPT_LANGUAGE,
    ];
    let headers: HeaderMap = fields
        .map(|name| (name, field.clone()))
        .into_iter()
        .collect();
    let (spent, chosen) = count(|| {
        let languages = [languages.filter(&headers), languages.lookup(&headers)];
        (
            codings.select(&headers),
            charsets.select(&headers),
            languages,
        )
    });
    assert_eq!(spent.count, 0);
    assert_eq!(chosen.0.unwrap().name, "gzip");
    assert_eq!(chosen.1.unwrap().name, "utf-8");
    assert_eq!(chosen.2[0].unwrap().name, "utf-8");
    assert_eq!(chosen.2[1].unwrap().name, "en-GB");
}

#[test]
fn futures_and_choices_are_small() {
    let inner = size_of::<[u64; 4]>();
    assert!(size_of::<ResponseFuture<[u64; 4], (Json,)>>() <= inner + 24);
    assert!(size_of::<Negotiated<(Json,)>>() <= 56);
}
