//! Bearer tokens: which are good, what they allow, and that what they keep apart never meets.

use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::storefront::{Answer, LAMP, Storefront};

const ALL: &str = "orders%20prices%20reports";

impl Storefront {
    pub(crate) async fn token(&self, wanted: &str) -> String {
        let answer = self.get(&format!("/demo/token?{wanted}")).await;
        assert_eq!(answer.status, 200);
        String::from_utf8(answer.body.to_vec()).unwrap()
    }

    pub(crate) async fn get_with(&self, token: &str, path: &str) -> Answer {
        let request = self.request("GET", path);
        self.send(with(token, request), "").await
    }
}

fn with(token: &str, request: http::request::Builder) -> http::request::Builder {
    request.header("authorization", format!("Bearer {token}"))
}

/// Why a request was refused: the error of the challenge.
fn error(answer: &Answer) -> &str {
    let challenge = answer.field("www-authenticate");
    assert!(challenge.starts_with("Bearer realm="), "{challenge:?}");
    assert_eq!(answer.field("content-type"), "application/problem+json");
    let error = challenge.split("error=\"").nth(1).unwrap_or_default();
    error.split('"').next().unwrap()
}

#[tokio::test]
async fn a_token_that_is_expired_or_for_others_is_refused() {
    let shop = Storefront::start().await;
    for bad in ["expires_in=-3600", "aud=bakery", "tenant=No%20Name", "sub="] {
        let token = shop.token(&format!("scope={ALL}&{bad}")).await;
        let refused = shop.get_with(&token, "/products/lamp").await;
        assert_eq!(
            (refused.status.as_u16(), error(&refused)),
            (401, "invalid_token"),
            "{bad}"
        );
    }
    let good = shop.token("").await;
    assert_eq!(shop.get_with(&good, "/products/lamp").await.status, 200);
}

#[tokio::test]
async fn a_forged_token_is_refused_however_it_is_forged() {
    let shop = Storefront::start().await;
    let good = shop.token(&format!("scope={ALL}")).await;
    let jwks = shop.get("/.well-known/jwks.json").await.json();
    let key = &jwks["keys"][0];
    for (how, forged) in forgeries(&good, key) {
        let refused = shop.get_with(&forged, "/orders").await;
        assert_eq!(
            (refused.status.as_u16(), error(&refused)),
            (401, "invalid_token"),
            "{how}"
        );
    }
    assert_eq!(shop.get_with(&good, "/orders").await.status, 200);
}

fn forgeries(good: &str, key: &Value) -> Vec<(&'static str, String)> {
    let parts: Vec<_> = good.split('.').collect();
    let (payload, signature) = (parts[1], parts[2]);
    let kid = key["kid"].as_str().unwrap();
    let claims = json!({
        "iss": "urn:storefront:issuer", "aud": "storefront", "exp": 4_000_000_000_u64,
        "sub": "demo", "tenant": "main", "scope": "orders",
    });
    let unsigned = |algorithm: &str, kid: Option<&str>| {
        let header = match kid {
            Some(kid) => json!({ "alg": algorithm, "typ": "JWT", "kid": kid }),
            None => json!({ "alg": algorithm, "typ": "JWT" }),
        };
        let part = |part: &Value| base64url(part.to_string().as_bytes());
        format!("{}.{}", part(&header), part(&claims))
    };
    // Another key than the shop's.
    let ours = SigningKey::from_bytes(&[7; 32]);
    let signed = |kid: Option<&str>| {
        let unsigned = unsigned("EdDSA", kid);
        let signature = ours.sign(unsigned.as_bytes()).to_bytes();
        format!("{unsigned}.{}", base64url(&signature))
    };
    // A public key taken for a shared secret.
    let public = key["x"].as_str().unwrap().as_bytes();
    let shared = unsigned("HS256", Some(kid));
    let shared = format!("{shared}.{}", base64url(&hmac(public, shared.as_bytes())));
    let others = signed(Some(kid));
    let other_payload = others.split('.').nth(1).unwrap();
    vec![
        ("another's signature", others.clone()),
        ("no key named", signed(None)),
        ("a key that is not ours", signed(Some("mine"))),
        ("another algorithm", shared),
        (
            "another payload",
            format!("{}.{other_payload}.{signature}", parts[0]),
        ),
        // {"alg":"none"} and {"alg":"none","typ":"JWT"}
        ("no algorithm", format!("eyJhbGciOiJub25lIn0.{payload}.")),
        (
            "no algorithm, but a signature",
            format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}.{signature}"),
        ),
        ("no signature", format!("{}.{payload}.", parts[0])),
        ("no token", "nothing".to_owned()),
        ("nothing", String::new()),
    ]
}

/// RFC 4648, section 5, without padding.
fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let group = |group: &[u8]| {
        let bits = (0..3).fold(0, |bits, n| {
            bits << 8 | u32::from(*group.get(n).unwrap_or(&0))
        });
        let digit = move |n: usize| char::from(DIGITS[(bits >> (18 - 6 * n) & 63) as usize]);
        (0..=group.len()).map(digit).collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

/// HMAC (RFC 2104) with SHA-256, of a key that is no longer than a block.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let pad = |with: u8| {
        let mut block = [with; 64];
        block.iter_mut().zip(key).for_each(|(at, byte)| *at ^= byte);
        Sha256::new().chain_update(block)
    };
    let inner = pad(0x36).chain_update(message).finalize();
    pad(0x5c).chain_update(inner).finalize().into()
}

#[test]
fn forgeries_are_well_made() {
    // RFC 4648, section 10; RFC 4231, section 4.3.
    assert_eq!(base64url(b"fooba"), "Zm9vYmE");
    let hmac = hmac(b"Jefe", b"what do ya want for nothing?");
    assert_eq!(hmac[..4], [0x5b, 0xdc, 0xc1, 0x46]);
}

#[tokio::test]
async fn who_is_not_a_bearer_or_says_it_twice_is_refused() {
    let shop = Storefront::start().await;
    let token = shop.token("").await;
    let basic = shop
        .request("GET", "/products/lamp")
        .header("authorization", "Basic ZGVtbw==");
    let twice = with(&token, with(&token, shop.request("GET", "/products/lamp")));
    for request in [basic, twice] {
        assert_eq!(error(&shop.send(request, "").await), "invalid_token");
    }
}

#[tokio::test]
async fn a_scope_that_is_missing_is_named() {
    let shop = Storefront::start().await;
    let token = shop.token("scope=reports%20ordersandmore").await;
    let order = with(&token, shop.order_request("k"));
    let refused = shop.send(order, LAMP).await;
    assert_eq!(
        (refused.status.as_u16(), error(&refused)),
        (403, "insufficient_scope")
    );
    assert!(
        refused
            .field("www-authenticate")
            .ends_with("scope=\"orders\"")
    );
    assert_eq!(refused.json()["scope"], "orders");
    assert_eq!(shop.get_with(&token, "/reports/sales").await.status, 200);
    assert_eq!(shop.snapshot().await["orders"], 0);
    let price = || {
        let request = shop.request("PUT", "/products/lamp");
        request.header("content-type", "application/json")
    };
    let refused = shop
        .send(with(&token, price()), r#"{"price_cents":1}"#)
        .await;
    assert_eq!(
        (refused.status.as_u16(), &refused.json()["scope"]),
        (403, &json!("prices"))
    );
    let token = shop.token("scope=prices").await;
    let set = shop
        .send(with(&token, price()), r#"{"price_cents":1}"#)
        .await;
    assert_eq!(set.status, 200);
}

#[tokio::test]
async fn a_token_is_good_for_its_own_tenant_only() {
    let shop = Storefront::start().await;
    let token = shop.token(&format!("tenant=acme&scope={ALL}")).await;
    for (named, status) in [("acme", 200), ("bob", 403), ("No Name", 400)] {
        let request = shop
            .request("GET", "/products/lamp")
            .header("x-tenant", named);
        assert_eq!(
            shop.send(with(&token, request), "").await.status,
            status,
            "{named}"
        );
    }
}

#[tokio::test]
async fn keys_rotate_and_the_last_ones_tokens_are_good_until_the_next_time() {
    let shop = Storefront::start().await;
    let old = shop.token("").await;
    shop.post("/demo/keys/rotate").await;
    let new = shop.token("").await;
    assert_ne!(
        old.split('.').next(),
        new.split('.').next(),
        "another key's id"
    );
    assert_eq!(shop.get_with(&old, "/products/lamp").await.status, 200);
    shop.post("/demo/keys/rotate").await;
    assert_eq!(
        error(&shop.get_with(&old, "/products/lamp").await),
        "invalid_token"
    );
    assert_eq!(shop.get_with(&new, "/products/lamp").await.status, 200);
}

#[tokio::test]
async fn two_tenants_by_token_share_no_page_and_one_tenants_principals_do() {
    let shop = Storefront::start().await;
    let see = async |who: &str| {
        let token = shop.token(who).await;
        shop.get_with(&token, "/products/lamp").await
    };
    assert!(!see("tenant=acme&sub=ann").await.is_hit());
    assert!(!see("tenant=globex&sub=ann").await.is_hit());
    assert!(
        see("tenant=acme&sub=bob").await.is_hit(),
        "it is the tenant's"
    );
}

#[tokio::test]
async fn two_tenants_by_token_join_no_flight_of_each_others() {
    lead_a_flight_each("tenant=acme", "tenant=globex").await;
}

#[tokio::test]
async fn two_principals_of_one_tenant_join_no_flight_of_each_others() {
    lead_a_flight_each("tenant=acme&sub=ann", "tenant=acme&sub=bob").await;
}

async fn lead_a_flight_each(one: &str, other: &str) {
    let shop = &Storefront::start().await;
    let (one, other) = (shop.token(one).await, shop.token(other).await);
    shop.post("/demo/catalogue/hold").await;
    let release = async {
        shop.until("both wait for the catalogue", |now| {
            now["dedup"]["led"] == 2
        })
        .await;
        shop.post("/demo/catalogue/release").await;
    };
    let path = "/products/lamp";
    let (one, other, ()) = tokio::join!(
        shop.get_with(&one, path),
        shop.get_with(&other, path),
        release
    );
    assert!(one.status == 200 && other.status == 200);
    assert_eq!(shop.snapshot().await["catalogue"]["reads"], 2);
}

#[tokio::test]
async fn a_key_is_one_principals_of_one_tenant() {
    let shop = Storefront::start().await;
    for who in [
        "tenant=acme&sub=ann",
        "tenant=acme&sub=bob",
        "tenant=globex&sub=ann",
    ] {
        let token = shop.token(&format!("{who}&scope=orders")).await;
        for replayed in ["", "true"] {
            let order = shop.send(with(&token, shop.order_request("k")), LAMP).await;
            assert_eq!(order.field("idempotency-replayed"), replayed, "{who}");
        }
    }
    assert_eq!(shop.snapshot().await["orders"], 3);
}

#[tokio::test]
async fn a_strict_shop_shows_and_believes_only_what_is_for_everybody() {
    let shop = Storefront::start_with(&["--strict"]).await;
    assert_eq!(shop.get("/products/lamp").await.status, 200);
    let named = shop
        .request("GET", "/products/lamp")
        .header("x-tenant", "acme");
    let private = [
        shop.send(named, "").await,
        shop.order("k", LAMP).await,
        shop.get("/orders").await,
        shop.get("/orders/1").await,
        shop.get("/reports/sales").await,
        // Where each order is told. It would not end if it were answered.
        Answer::head(shop.open(shop.request("GET", "/events"), "").await),
    ];
    for refused in private {
        assert_eq!((refused.status.as_u16(), error(&refused)), (401, ""));
    }
    let token = shop.token("tenant=acme&scope=orders").await;
    let order = shop.send(with(&token, shop.order_request("k")), LAMP).await;
    assert_eq!(order.status, 201);
    let listen = async |token: &str| {
        let request = with(token, shop.request("GET", "/events"));
        shop.open(request, "").await.status().as_u16()
    };
    assert_eq!(listen(&token).await, 200);
    let token = shop.token("tenant=acme&scope=prices%20reports").await;
    assert_eq!(listen(&token).await, 403, "what others have ordered");
    let one = with(&token, shop.request("GET", "/orders/1"));
    assert_eq!(shop.send(one, "").await.status, 403, "and that, one by one");
}
