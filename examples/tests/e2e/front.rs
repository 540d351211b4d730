//! A gateway in front of the shop: a cache that knows nothing of tenants.

use clap::Parser;
use examples::gateway;
use http::Request;
use tokio::join;

use crate::storefront::{Answer, LAMP, Storefront};

/// A gateway, as the examples' README has it in front of a shop.
struct Front<'a> {
    shop: &'a Storefront,
    gateway: gateway::Running,
}

impl<'a> Front<'a> {
    async fn of(shop: &'a Storefront) -> Self {
        let args = ["gateway", "--quiet", "--listen", "127.0.0.1:0"];
        let more = ["--without", "idempotency", "--timeout", "60000"];
        let args = args
            .into_iter()
            .chain(["--upstream", &shop.url])
            .chain(more);
        let args = gateway::Args::parse_from(args);
        let gateway = gateway::Running::start(args, None).await.unwrap();
        Self { shop, gateway }
    }

    fn uri(&self, path: &str) -> String {
        format!("http://{}{path}", self.gateway.address())
    }

    async fn get(&self, path: &str, who: (&str, &str)) -> Answer {
        let request = Request::get(self.uri(path)).header(who.0, who.1);
        self.shop.send(request, "").await
    }
}

/// What the gateway has stored it says first, and what it asked the shop for, the shop.
fn is_the_gateways_hit(answer: &Answer) -> bool {
    let said = answer.headers.get_all("cache-status").iter();
    let said = said.map(|field| field.to_str().unwrap());
    said.flat_map(|field| field.split(','))
        .any(|member| member.trim_start().starts_with("gateway; hit"))
}

const PAGES: [&str; 4] = [
    "/products/lamp",
    "/search?q=lamp",
    "/reports/sales",
    "/orders",
];

#[tokio::test]
async fn a_cache_in_front_of_the_shop_gives_no_tenants_page_to_another() {
    let shop = Storefront::start().await;
    let front = Front::of(&shop).await;
    for (tenant, cents) in [("alice", "1"), ("bob", "2")] {
        let price = shop
            .request("PUT", "/products/lamp")
            .header("content-type", "application/json")
            .header("x-tenant", tenant);
        let body = format!(r#"{{"price_cents":{cents}}}"#);
        assert_eq!(shop.send(price, &body).await.status, 200);
        let order = shop.order_request("k").header("x-tenant", tenant);
        let order = order.uri(front.uri("/orders"));
        let order = shop.send(order, &LAMP.replace('1', cents)).await;
        assert_eq!(order.status, 201, "the same key is another's");
    }
    for path in PAGES {
        let of = async |tenant| front.get(path, ("x-tenant", tenant)).await;
        let own = async |tenant| {
            let request = shop.request("GET", path).header("x-tenant", tenant);
            shop.send(request, "").await.body
        };
        // At once: neither may be given the other's flight either.
        let (alices, bobs) = join!(of("alice"), of("bob"));
        assert_eq!(alices.body, own("alice").await, "{path}");
        assert_eq!(bobs.body, own("bob").await, "{path}");
        assert_ne!(alices.body, bobs.body, "{path} is each one's own");
        // And again, from what is stored by now.
        let again = of("bob").await;
        assert_eq!(again.body, bobs.body, "{path}");
        assert_eq!(is_the_gateways_hit(&again), path != "/orders", "{path}");
    }
}

#[tokio::test]
async fn a_cache_in_front_of_the_shop_gives_what_a_token_shows_to_no_other() {
    let shop = Storefront::start().await;
    let front = Front::of(&shop).await;
    let token = async |who: &str| format!("Bearer {}", shop.token(who).await);
    let ann = token("tenant=acme&sub=ann&scope=reports").await;
    let bob = token("tenant=acme&sub=bob&scope=reports").await;
    let eve = token("tenant=globex&sub=eve").await;
    let see = async |path, token: &str| front.get(path, ("authorization", token)).await;
    let first = see("/products/lamp", &ann).await;
    assert_eq!((first.field("x-tenant"), first.is_hit()), ("acme", false));
    let again = see("/products/lamp", &ann).await;
    assert!(is_the_gateways_hit(&again), "{again:?}");
    let colleague = see("/products/lamp", &bob).await;
    assert!(
        !is_the_gateways_hit(&colleague),
        "it cannot know whose he is"
    );
    assert!(
        colleague.is_hit(),
        "the shop does, and has one for a tenant"
    );
    let other = see("/products/lamp", &eve).await;
    assert_eq!((other.field("x-tenant"), other.is_hit()), ("globex", false));
    assert_eq!(see("/reports/sales", &ann).await.status, 200);
    let refused = see("/reports/sales", &eve).await;
    assert_eq!(refused.status, 403, "also what is stored for others");
}

#[tokio::test]
async fn who_waits_for_what_another_has_asked_the_shop_is_counted() {
    let shop = &Storefront::start().await;
    let front = &Front::of(shop).await;
    shop.post("/demo/catalogue/hold").await;
    let page = async || front.get("/search?q=lamp", ("x-tenant", "alice")).await;
    let release = async {
        let waiters = || front.gateway.under_way().waiters;
        shop.until("one waits for the other", |_| waiters() == 1)
            .await;
        shop.post("/demo/catalogue/release").await;
    };
    let (one, other, ()) = join!(page(), page(), release);
    assert_eq!(one.body, other.body);
    assert_eq!(front.gateway.under_way().waiters, 0);
}
