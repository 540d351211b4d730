use std::process::Stdio;

use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::storefront::{LAMP, Storefront, command, within_reason};

#[tokio::test]
async fn sigterm_finishes_what_is_under_way_and_ends_the_streams() {
    let mut shop = Storefront::start().await;
    shop.payments_wait(true).await;
    let mut events = shop
        .open(shop.request("GET", "/events"), "")
        .await
        .into_body();
    let stop = async {
        shop.until("the order has begun", |now| {
            now["idempotency"]["claimed"] == 1
        })
        .await;
        shop.program.terminate();
        shop.payments_wait(false).await;
    };
    let (order, ()) = tokio::join!(shop.order("k", LAMP), stop);
    assert_eq!(order.status, 201, "it was begun, and is finished");
    while let Some(frame) = within_reason(events.frame()).await {
        assert!(frame.is_ok(), "a stream ends cleanly");
    }
    assert_eq!(shop.program.ended().await, Some(0));
}

#[tokio::test]
async fn who_sends_half_a_head_or_nothing_is_hung_up_on() {
    let shop = Storefront::start_with(&["--patience", "100"]).await;
    for half in [
        "",
        "PRI",
        "GET /products/lamp HTTP/1.1\r\nHost: h\r\nX-Half: ",
    ] {
        let address = shop.url.trim_start_matches("http://");
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(half.as_bytes()).await.unwrap();
        let mut said = String::new();
        let hung_up = within_reason(client.read_to_string(&mut said)).await;
        assert!(!said.contains("200"), "{half:?}: {hung_up:?} {said}");
    }
}

#[tokio::test]
async fn what_takes_too_long_at_the_end_is_given_up_and_said() {
    let mut shop = Storefront::start_with(&["--grace", "0"]).await;
    shop.payments_wait(true).await;
    tokio::select! {
        _ = shop.order("k", LAMP) => panic!("nobody waited for it"),
        _ = shop.until("the order has begun", |now| now["idempotency"]["claimed"] == 1) => {}
    }
    shop.program.terminate();
    assert_eq!(shop.program.ended().await, Some(1));
}

#[tokio::test]
async fn sigterm_also_waits_for_what_has_lost_its_caller() {
    let mut shop = Storefront::start().await;
    shop.payments_wait(true).await;
    tokio::select! {
        _ = shop.order("k", LAMP) => panic!("nobody waited for it"),
        _ = shop.until("the order has begun", |now| now["idempotency"]["claimed"] == 1) => {}
    }
    shop.program.terminate();
    shop.program.says("stopping").await;
    assert!(shop.program.is_running(), "it waits for the order");
    shop.payments_wait(false).await;
    assert_eq!(shop.program.ended().await, Some(0));
}

#[tokio::test]
async fn a_port_that_is_taken_is_a_clear_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--listen", "--upstream"] {
        let other = if flag == "--listen" {
            "--upstream"
        } else {
            "--listen"
        };
        let mut command = command();
        command
            .args([flag, &address, other, "127.0.0.1:0"])
            .stdout(Stdio::null());
        let output = within_reason(command.output()).await.unwrap();
        let words = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(words.contains(&address) && words.contains(flag), "{words}");
        assert!(
            words.contains("in use") && words.lines().count() == 1,
            "{words}"
        );
    }
}

#[tokio::test]
async fn a_bad_flag_is_a_clear_error() {
    for args in [&["--lisen", "x"][..], &["--listen", "nowhere"]] {
        let output = within_reason(command().args(args).output()).await.unwrap();
        let words = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(
            words.contains("--listen"),
            "it names the flag that there is: {words}"
        );
    }
}

#[tokio::test]
async fn what_several_processes_share_is_named_whole_and_in_urls() {
    let redis = "redis://127.0.0.1";
    for (args, code, flag) in [
        (&["--redis", redis][..], 2, "--postgres"),
        (
            &["--redis", "nowhere", "--postgres", "postgres://a@b/c"],
            1,
            "--redis",
        ),
        (
            &["--redis", redis, "--postgres", "nowhere"],
            1,
            "--postgres",
        ),
    ] {
        let output = within_reason(command().args(args).output()).await.unwrap();
        let words = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{words}");
        assert!(words.contains(flag), "{words}");
    }
}
