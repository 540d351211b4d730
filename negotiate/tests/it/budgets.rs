//! What a choice may cost.

use buttress_negotiate::{Json, Negotiated, Offers, ResponseFuture};
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
fn futures_and_choices_are_small() {
    let inner = size_of::<[u64; 4]>();
    assert!(size_of::<ResponseFuture<[u64; 4], (Json,)>>() <= inner + 24);
    assert!(size_of::<Negotiated<(Json,)>>() <= 56);
}
