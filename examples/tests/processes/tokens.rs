//! Tokens: whichever process has signed one, all believe it.

use examples::within_reason;
use http::StatusCode;

use crate::process::{Answer, Process};
use crate::world::World;

async fn token(shop: &Process, wanted: &str) -> String {
    let answer = shop.get(&format!("/demo/token?{wanted}")).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    String::from_utf8(answer.body.to_vec()).unwrap()
}

async fn page_for(shop: &Process, token: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    let fields = [("authorization", &*bearer)];
    shop.send_with(("GET", "/products/lamp"), &fields, "").await
}

async fn shown_to(shop: &Process, token: &str) -> StatusCode {
    page_for(shop, token).await.status
}

/// Waits until the page comes out of the cache, as it does once Redis was asked.
async fn until_kept(shop: &Process, token: &str) {
    let kept = async {
        while page_for(shop, token).await.field("x-cache") != "HIT-MEMORY" {
            shop.pace().await;
        }
    };
    within_reason(kept).await;
}

async fn rotate(shop: &Process) {
    let rotated = shop
        .send("POST", "/demo/keys/rotate", "", "")
        .await
        .unwrap();
    assert_eq!(rotated.status, 204, "{rotated:?}");
}

#[tokio::test]
async fn a_token_that_one_has_signed_the_others_believe() {
    let world = World::with(3).await;
    let [one, other, third] = &world.shops[..] else {
        unreachable!()
    };
    let first = token(one, "sub=ann").await;
    for shop in [one, other, third] {
        assert_eq!(shown_to(shop, &first).await, 200);
    }
    // At once, and whoever has rotated.
    rotate(other).await;
    let second = token(other, "sub=ann").await;
    for shop in [third, one, other] {
        assert_eq!(
            shown_to(shop, &second).await,
            200,
            "what is new is asked for"
        );
        assert_eq!(shown_to(shop, &first).await, 200, "what was before is good");
    }
    rotate(third).await;
    // Who is asked for a token signs with the newest key, also if another has made it.
    let third_token = token(one, "sub=ann").await;
    for shop in [one, other, third] {
        assert_eq!(shown_to(shop, &third_token).await, 200);
        assert_eq!(shown_to(shop, &second).await, 200);
        assert_eq!(shown_to(shop, &first).await, 401, "two rotations ago");
    }
    let keys = async |shop: &Process| shop.get("/.well-known/jwks.json").await.unwrap().json();
    assert_eq!(keys(one).await, keys(other).await);
    assert_eq!(keys(one).await["keys"].as_array().unwrap().len(), 2);
    // A key belongs to no process: whoever starts later has it.
    other.kill().await;
    other.restart().await;
    other.until_ready().await;
    assert_eq!(shown_to(other, &third_token).await, 200);
}

#[tokio::test]
async fn without_the_database_known_keys_are_good_and_of_others_nobody_can_tell() {
    let mut world = World::to_be_disturbed(2).await;
    let (one, other) = (world.shops[0].clone(), world.shops[1].clone());
    let known = token(&one, "sub=ann").await;
    for shop in [&one, &other] {
        assert_eq!(shown_to(shop, &known).await, 200);
    }
    rotate(&one).await;
    let new = token(&one, "sub=ann").await;
    until_kept(&one, &new).await;
    until_kept(&other, &known).await;
    world.postgres.kill();
    // The page is in the cache, and the key is known.
    assert_eq!(shown_to(&one, &new).await, 200);
    assert_eq!(shown_to(&other, &known).await, 200);
    let minted = one.get("/demo/token").await.unwrap();
    assert_eq!(
        (minted.status.as_u16(), minted.field("retry-after")),
        (503, "1")
    );
    // One that is none of the shops', but might be: it is not said that it is bad.
    let (head, rest) = new.split_once('.').unwrap();
    let strange = head_of_another_key(head);
    assert_eq!(shown_to(&one, &format!("{strange}.{rest}")).await, 503);
    world.postgres.restart().unwrap();
    one.until_ready().await;
    assert_eq!(shown_to(&one, &format!("{strange}.{rest}")).await, 401);
    assert_eq!(shown_to(&other, &new).await, 200);
}

/// The same in base64url, but for the last digits of the key's id.
fn head_of_another_key(head: &str) -> String {
    // It ends in `"kid":"0123456789abcdef"}`; these are three of its digits.
    let at = head.len() / 4 * 4 - 8;
    let other = if head[at..at + 4] == *"MDAw" {
        "MTEx"
    } else {
        "MDAw"
    };
    format!("{}{other}{}", &head[..at], &head[at + 4..])
}
