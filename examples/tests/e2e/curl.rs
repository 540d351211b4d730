use tokio::process::Command;

use crate::storefront::{Storefront, within_reason};

/// What a newcomer pastes shows what it promises.
#[tokio::test]
async fn each_printed_line_shows_its_pattern() {
    // However slow the machine is, five hundred requests are too many.
    let shop = Storefront::start_with(&["--rate", "1", "--burst", "400"]).await;
    for (pattern, shown) in [
        (
            "cache",
            &["x-cache: MISS", "x-cache: HIT-MEMORY", "\nage: "][..],
        ),
        ("dedup", &["\"requests\":100", "\"reads\":1"]),
        (
            "idempotency",
            &[
                "201 Created",
                "idempotency-replayed: true",
                "\"payment\":\"pay-1\"",
            ],
        ),
        ("negotiate", &["product,name", "<sales>", "\"available\""]),
        (
            "trace",
            &[
                "x-request-id: ",
                "x-trace-id: 4bf92f3577b34da6a3ce929d0e0e4736",
                "traceparent",
            ],
        ),
        (
            "tokens",
            &[
                "200 OK",
                "401 Unauthorized",
                "www-authenticate: Bearer realm=\"storefront\", error=\"invalid_token\"",
            ],
        ),
        ("limits", &[" 200", " 429"]),
        (
            "circuit",
            &[
                "502 Bad Gateway",
                "503 Service Unavailable",
                "retry-after: ",
            ],
        ),
    ] {
        let line = shop.program.greeting().iter().map(|line| line.trim_start());
        let line = line
            .filter_map(|line| line.strip_prefix(pattern))
            .find(|l| l.contains("curl"));
        let command = line
            .unwrap_or_else(|| panic!("no line for {pattern}"))
            .trim();
        let output = Command::new("bash").args(["-c", command]).output();
        let output = within_reason(output).await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        for expected in shown {
            assert!(
                text.contains(expected),
                "{pattern}: no {expected:?} in\n{text}"
            );
        }
    }
}
