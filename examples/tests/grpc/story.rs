//! The program, as a user runs it.

use std::process::Stdio;

use examples::within_reason;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::calls::{new_order, raw};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_grpc"));
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

#[tokio::test]
async fn the_story_is_told_to_its_end() {
    let output = within_reason(program().output()).await.unwrap();
    assert!(output.status.success());
    let told = String::from_utf8(output.stdout).unwrap();
    let mut rest = told.as_str();
    for expected in [
        "One trace.",
        "→ order 1 (lamp), reservation 1\n",
        "client  /shop.Orders/Place",
        "server  /shop.Stock/Reserve",
        "One effect.",
        "→ order 1 (lamp), reservation 1, replayed",
        "→ InvalidArgument",
        "→ Aborted",
        "→ order 2 (lamp), reservation 2\n",
        "Deadlines.",
        "→ DeadlineExceeded",
        "→ order 3 (lamp)",
        "A breaker.",
        "→ Internal",
        "→ Unavailable",
        "asked 0 times",
        "→ order 4 (lamp)",
        "A stream",
        "says \"watching\"",
        "says \"order 6: 1 × stool\"",
    ] {
        let at = rest.find(expected);
        let at = at.unwrap_or_else(|| panic!("no {expected:?} in its place in\n{told}"));
        rest = &rest[at + expected.len()..];
    }
}

#[tokio::test]
async fn with_an_address_it_stays_and_writes_a_line_for_each_call() {
    let mut child = program()
        .args(["--serve", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut line = async || within_reason(lines.next_line()).await.unwrap().unwrap();
    let orders = line().await;
    let orders = orders.strip_prefix("orders: http://").unwrap().to_owned();
    assert!(line().await.starts_with("stock:"));

    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let fields = [("traceparent", parent.as_str())];
    let address = orders.parse().unwrap();
    let answer = raw(address, "/shop.Orders/Place", &new_order("lamp"), &fields).await;
    assert_eq!(answer.trailers.unwrap()["grpc-status"], "0");
    for _ in 0..3 {
        let record: serde_json::Value = serde_json::from_str(&line().await).unwrap();
        assert_eq!(record["trace_id"], trace, "{record}");
    }
}
