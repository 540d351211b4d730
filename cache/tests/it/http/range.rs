//! RFC 9110, section 14: parts of what is stored.

use super::*;

const FIELDS: [(&str, &str); 3] = [
    ("cache-control", "max-age=60"),
    ("etag", "\"1\""),
    ("content-length", "10"),
];

async fn stored() -> Test {
    let test = test();
    test.says("0123456789", &FIELDS);
    test.get("/a").await;
    test
}

#[tokio::test]
async fn one_part_is_cut_from_what_is_stored() {
    let test = stored().await;
    for (range, content_range, body) in [
        ("bytes=0-3", "bytes 0-3/10", "0123"),
        ("bytes=7-", "bytes 7-9/10", "789"),
        ("bytes=-2", "bytes 8-9/10", "89"),
    ] {
        let seen = test.send(get("/a", &[("range", range)])).await;
        assert_eq!(seen.head.status, StatusCode::PARTIAL_CONTENT);
        assert_eq!(seen.outcome(), CacheOutcome::Hit);
        assert_eq!(seen.field("content-range"), content_range);
        assert_eq!(seen.field("content-length"), body.len().to_string());
        seen.is(body);
    }
    assert_eq!(test.calls(), 1);
}

#[tokio::test]
async fn several_parts_are_one_multipart_body() {
    let test = test();
    let body: &'static str = Box::leak("x".repeat(1000).into_boxed_str());
    test.says(
        body,
        &[("cache-control", "max-age=60"), ("content-type", "a/b")],
    );
    test.get("/a").await;
    let seen = test
        .send(get("/a", &[("range", "bytes=0-1,500-501")]))
        .await;
    assert_eq!(seen.head.status, StatusCode::PARTIAL_CONTENT);
    assert!(
        seen.field("content-type")
            .starts_with("multipart/byteranges; boundary=")
    );
    assert_eq!(seen.field("content-range"), "");
    let text = String::from_utf8(seen.body.as_ref().unwrap().to_vec()).unwrap();
    assert_eq!(seen.field("content-length"), text.len().to_string());
    assert_eq!(text.matches("content-type: a/b\r\n").count(), 2);
    assert!(text.contains("content-range: bytes 500-501/1000\r\n\r\nxx\r\n"));
}

#[tokio::test]
async fn a_part_that_is_not_there_is_refused_and_a_broken_wish_is_ignored() {
    let test = stored().await;
    let seen = test.send(get("/a", &[("range", "bytes=10-")])).await;
    assert_eq!(seen.head.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(seen.field("content-range"), "bytes */10");
    seen.is("");
    let seen = test.send(get("/a", &[("range", "lines=1")])).await;
    assert_eq!(seen.head.status, StatusCode::OK);
    let head = Request::head("/a")
        .header("host", "shop")
        .header("range", "bytes=0-1");
    let seen = test.send(head.body(Empty::new()).unwrap()).await;
    assert_eq!(seen.head.status, StatusCode::OK);
}

#[tokio::test]
async fn a_condition_decides_between_the_part_and_the_whole() {
    let test = stored().await;
    for (condition, status) in [("\"1\"", 206), ("\"2\"", 200), ("W/\"1\"", 200)] {
        let fields = [("range", "bytes=0-1"), ("if-range", condition)];
        let seen = test.send(get("/a", &fields)).await;
        assert_eq!(seen.head.status, status, "{condition}");
    }
    let fields = [("range", "bytes=0-1"), ("if-none-match", "\"1\"")];
    let seen = test.send(get("/a", &fields)).await;
    assert_eq!(
        seen.head.status,
        StatusCode::NOT_MODIFIED,
        "it goes before the range"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_stale_is_validated_as_a_whole_and_cut_then() {
    let test = stored().await;
    advance(Duration::from_secs(60)).await;
    test.answers(|request| {
        assert!(!request.headers().contains_key("range"));
        let mut response = text("", &[("etag", "\"1\"")]);
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    });
    let seen = test.send(get("/a", &[("range", "bytes=0-1")])).await;
    assert_eq!(seen.outcome(), CacheOutcome::Revalidated);
    assert_eq!(seen.head.status, StatusCode::PARTIAL_CONTENT);
    seen.is("01");
}

/// An origin of ten bytes that gives parts.
fn partial(test: &Test, tag: &'static str, body: &'static str) {
    test.answers(move |request| {
        let fields = [
            ("cache-control", "max-age=60"),
            ("etag", tag),
            ("vary", "accept-encoding"),
        ];
        let Some(range) = request.headers().get("range") else {
            return text(body, &fields);
        };
        let range = range.to_str().unwrap().strip_prefix("bytes=").unwrap();
        let (first, last) = range.split_once('-').unwrap();
        let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
        let mut response = text(&body[first..=last], &fields);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let range = format!("bytes {first}-{last}/10");
        response
            .headers_mut()
            .insert("content-range", range.parse().unwrap());
        response
    });
}

async fn part(test: &Test, range: &str) -> Seen {
    let range = format!("bytes={range}");
    let seen = test.send(get("/a", &[("range", &range)])).await;
    assert_eq!(seen.head.status, StatusCode::PARTIAL_CONTENT);
    seen
}

/// RFC 9111, 3.3 and 3.4.
#[tokio::test]
async fn parts_are_stored_and_put_together_until_they_are_the_whole() {
    let test = test();
    partial(&test, "\"1\"", "0123456789");
    assert_eq!(part(&test, "0-3").await.outcome(), MISS);
    let hit = part(&test, "1-2").await;
    assert_eq!(
        (hit.outcome(), hit.field("content-range")),
        (CacheOutcome::Hit, "bytes 1-2/10")
    );
    assert_eq!(hit.field("content-length"), "2");
    hit.is("12");
    let seen = part(&test, "2-6").await;
    assert_eq!(seen.outcome(), CacheOutcome::Forwarded(Forwarded::Partial));
    let hit = part(&test, "0-6").await;
    assert_eq!(hit.outcome(), CacheOutcome::Hit);
    hit.is("0123456");
    assert_eq!(test.get("/b").await.outcome(), MISS, "the whole of another");
    part(&test, "7-9").await;
    let calls = test.calls();
    let whole = test.get("/a").await;
    assert_eq!(
        (whole.outcome(), whole.head.status),
        (CacheOutcome::Hit, StatusCode::OK)
    );
    assert_eq!(
        (whole.field("content-range"), whole.field("content-length")),
        ("", "10")
    );
    whole.is("0123456789");
    assert_eq!(test.calls(), calls);
}

#[tokio::test]
async fn parts_of_different_representations_do_not_mix() {
    let test = test();
    partial(&test, "\"1\"", "0123456789");
    part(&test, "0-4").await;
    partial(&test, "\"2\"", "abcdefghij");
    part(&test, "5-9").await;
    assert_ne!(part(&test, "0-1").await.outcome(), CacheOutcome::Hit);
    part(&test, "0-9").await.is("abcdefghij");
    for tag in ["W/\"1\"", "none"] {
        let test = super::test();
        partial(&test, tag, "0123456789");
        part(&test, "0-4").await;
        assert_eq!(
            part(&test, "0-4").await.outcome(),
            MISS,
            "{tag} is not strong"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn parts_go_when_their_time_has_come_or_their_target_is_changed() {
    let test = test();
    partial(&test, "\"1\"", "0123456789");
    part(&test, "0-4").await;
    advance(Duration::from_secs(60)).await;
    assert_eq!(
        part(&test, "0-4").await.outcome(),
        CacheOutcome::Forwarded(Forwarded::Stale)
    );
    assert_eq!(part(&test, "0-4").await.outcome(), CacheOutcome::Hit);
    test.answers(|_| text("", &[]));
    let put = Request::put("/a").header("host", "shop");
    test.send(put.body(Empty::new()).unwrap()).await;
    partial(&test, "\"1\"", "0123456789");
    assert_eq!(part(&test, "0-4").await.outcome(), MISS);
}

#[tokio::test]
async fn a_part_that_is_cut_short_is_not_stored() {
    let test = test();
    test.answers(|_| {
        let fields = [
            ("cache-control", "max-age=60"),
            ("etag", "\"1\""),
            ("content-range", "bytes 0-4/10"),
        ];
        let mut response = text("012", &fields);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        response
    });
    part(&test, "0-4").await;
    assert_eq!(part(&test, "0-4").await.outcome(), MISS);
}

const WHOLE: [(&str, &str); 4] = [
    ("cache-control", "max-age=60"),
    ("etag", "\"1\""),
    ("content-type", "a/b"),
    ("x-first", "1"),
];

/// A part of ten bytes, with these fields.
fn give(test: &Test, fields: &'static [(&str, &str)], range: &'static str, body: &'static str) {
    test.answers(move |_| {
        let mut response = text(body, fields);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let range = format!("bytes {range}/10").parse().unwrap();
        response.headers_mut().insert("content-range", range);
        response
    });
}

/// RFC 9111, 3.4; RFC 9110, 15.3.7: who has a part already is not told everything again.
#[tokio::test]
async fn parts_that_are_put_together_have_the_fields_of_all() {
    let test = test();
    give(&test, &WHOLE, "0-4", "01234");
    part(&test, "0-4").await;
    give(
        &test,
        &[WHOLE[0], WHOLE[1], ("x-second", "1")],
        "5-9",
        "56789",
    );
    let rest = [("range", "bytes=5-9"), ("if-range", "\"1\"")];
    test.send(get("/a", &rest)).await.is("56789");
    let whole = test.get("/a").await;
    assert_eq!(
        (whole.outcome(), whole.head.status.as_u16()),
        (CacheOutcome::Hit, 200)
    );
    whole.is("0123456789");
    let found = ["content-type", "x-first", "x-second", "content-length"];
    assert_eq!(found.map(|name| whole.field(name)), ["a/b", "1", "1", "10"]);
    assert_eq!(test.calls(), 2);
}

/// Such a part says too little to be an answer to somebody else.
#[tokio::test]
async fn a_part_for_who_has_the_rest_is_stored_with_the_rest_or_not_at_all() {
    let test = test();
    let rest = [("range", "bytes=5-9"), ("if-range", "\"1\"")];
    for earlier in [&[][..], &[WHOLE[0], ("etag", "\"2\"")]] {
        if !earlier.is_empty() {
            give(&test, &[WHOLE[0], ("etag", "\"2\"")], "0-4", "01234");
            part(&test, "0-4").await;
        }
        give(&test, &[WHOLE[0], WHOLE[1]], "5-9", "56789");
        let seen = test.send(get("/a", &rest)).await;
        assert!(!seen.field("cache-status").contains("stored"), "{seen:?}");
        assert_ne!(part(&test, "5-9").await.outcome(), CacheOutcome::Hit);
        test.layer.purge_target(
            &get("/a", &[]).into_parts().0,
            buttress_cache::Depth::Remove,
        );
    }
}

/// The same tag of something longer: whoever says so is not to be trusted, and not to be mixed.
#[tokio::test]
async fn a_part_of_another_length_is_no_part_of_the_same() {
    let test = test();
    give(&test, &WHOLE, "0-4", "01234");
    part(&test, "0-4").await;
    test.answers(|_| {
        let fields = [WHOLE[0], WHOLE[1], ("content-range", "bytes 5-9/12")];
        let mut response = text("56789", &fields);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        response
    });
    part(&test, "5-9").await;
    let hit = part(&test, "5-9").await;
    assert_eq!(hit.outcome(), CacheOutcome::Hit);
    let found = ["content-range", "content-type", "x-first"].map(|name| hit.field(name));
    assert_eq!(found, ["bytes 5-9/12", "", ""]);
}

/// RFC 9530, 2: a digest of the content is one of the bytes that are sent.
#[tokio::test]
async fn a_digest_of_a_part_is_not_that_of_the_whole_nor_the_other_way_round() {
    let test = test();
    let fields = [
        ("cache-control", "max-age=60"),
        ("etag", "\"1\""),
        ("content-digest", "sha-256=:AAAA:"),
        ("content-md5", "AAAA"),
    ];
    let digests = |seen: &Seen| {
        let names = ["content-digest", "content-md5"];
        names.map(|name| seen.head.headers.contains_key(name))
    };
    test.answers(move |_| text("0123456789", &fields));
    assert_eq!(digests(&test.get("/a").await), [true, true]);
    assert_eq!(digests(&test.get("/a").await), [true, true]);
    for range in ["bytes=0-4", "bytes=20-"] {
        let seen = test.send(get("/a", &[("range", range)])).await;
        assert_eq!(
            (seen.outcome(), digests(&seen)),
            (CacheOutcome::Hit, [false, false])
        );
    }
    for range in ["0-4", "5-9"] {
        test.answers(move |_| {
            let (first, last) = range.split_once('-').unwrap();
            let bytes = &"0123456789"[first.parse().unwrap()..=last.parse().unwrap()];
            let mut response = text(bytes, &fields);
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let range = format!("bytes {range}/10").parse().unwrap();
            response.headers_mut().insert("content-range", range);
            response
        });
        let range = format!("bytes={range}");
        test.send(get("/b", &[("range", &range)])).await;
    }
    let seen = test.get("/b").await;
    seen.is("0123456789");
    assert_eq!(
        (seen.outcome(), digests(&seen)),
        (CacheOutcome::Hit, [false, false])
    );
}

/// RFC 9110, 14.1.2.
#[tokio::test]
async fn the_end_of_nothing_is_all_of_it() {
    let test = test();
    test.says("", &[("cache-control", "max-age=60")]);
    test.get("/a").await;
    for (range, status) in [("bytes=-5", 200), ("bytes=-0", 416), ("bytes=0-", 416)] {
        let seen = test.send(get("/a", &[("range", range)])).await;
        assert_eq!(
            (seen.outcome(), seen.head.status.as_u16()),
            (CacheOutcome::Hit, status)
        );
    }
}
