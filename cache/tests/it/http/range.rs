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
