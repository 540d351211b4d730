//! Who holds a connection, and does not ask or does not end it: the gateway hangs up by itself.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::gateway::{Gateway, within_reason};
use crate::origin::Origin;

#[tokio::test]
async fn who_sends_half_a_head_or_nothing_is_hung_up_on() {
    let origin = Origin::start().await;
    let gateway = Gateway::start_with(&origin, &["--patience", "100"]).await;
    for half in [
        "",
        "PRI * HTTP/2.0\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nX-Half: ",
    ] {
        let client = gateway.send(half).await;
        let said = client.read().await;
        assert!(!said.contains("200"), "{half:?}: {said}");
    }
}

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
const AGREED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";

#[tokio::test]
async fn a_tunnel_of_which_one_side_has_ended_does_not_wait_for_ever_for_the_other() {
    let mut origin = Origin::start().await;
    let gateway = Gateway::start_with(&origin, &["--tunnel-linger", "100"]).await;
    for client_ends in [true, false] {
        let (mut client, mut request) = tokio::join!(gateway.send(UPGRADE), origin.request());
        request.write(AGREED).await;
        client.until("\r\n\r\n").await;
        let (ends, silent) = match client_ends {
            true => (&mut client.stream, &mut request.stream),
            false => (&mut request.stream, &mut client.stream),
        };
        ends.shutdown().await.unwrap();
        let heard = within_reason(silent.read(&mut [0])).await.unwrap();
        assert_eq!(heard, 0, "it hears of it, and says nothing");
        let end = within_reason(ends.read(&mut [0])).await;
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
}
