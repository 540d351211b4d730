//! Those who ask as they should, and look closely at what they are given.

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tower::BoxError;

use crate::client::Client;
use crate::fault::good_body;
use crate::tally::Tally;

pub(crate) async fn act(client: &mut Client) -> &'static str {
    let kind = client.dice.u32(..10);
    client.doing = format!("good request {kind}");
    match kind {
        0..3 => page(client).await,
        3..6 => echo(client).await,
        6..8 => order(client).await,
        8 => price(client).await,
        _ => report(client).await,
    }
}

/// What was answered, if all of it came.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// Whose it says that it is, if it does.
    pub(crate) of: Option<HeaderValue>,
    pub(crate) body: Bytes,
}

impl Answer {
    /// A page shows what it shows to one tenant, and says to whom.
    fn is_for(&self, tenant: &str) {
        let of = self.of.as_ref().map(HeaderValue::as_bytes);
        assert_eq!(of, Some(tenant.as_bytes()), "another tenant's page");
    }
}

impl Client {
    async fn ask(&self, request: Request<Full<Bytes>>) -> Result<Answer, BoxError> {
        let response = self.http.request(request).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Answer {
            status: head.status,
            of: head.headers.get("x-tenant").cloned(),
            body,
        })
    }

    /// The same, to whom nothing may happen: others are hostile, and breakers may be open for all.
    ///
    /// An answer that breaks off is asked for once more, as clients do where that is safe, and it is everywhere here (RFC 9112, 9.3.1): a connection that was kept may be hung up on in the very
    /// moment in which it is asked on, and a machine that stands still for a second lets an upstream miss its time in the middle of a body. That it is seldom is asked [at the end](seldom).
    async fn must(&self, request: http::request::Builder, body: impl Into<Bytes>) -> Answer {
        let request = request.body(Full::new(body.into())).unwrap();
        let words = format!("{request:?}");
        let mut answer = self.ask(request.clone()).await;
        if answer.is_err() {
            self.tally.up(AGAIN);
            answer = self.ask(request).await;
        }
        let answer = answer.unwrap_or_else(|error| panic!("{words} is not answered: {error:?}"));
        let may_be = matches!(answer.status.as_u16(), 200..=299 | 409 | 502..=504);
        assert!(may_be, "{words}: {} {:?}", answer.status, answer.body);
        if answer.status.is_success() {
            self.tally.up(SERVED);
        }
        answer
    }
}

const AGAIN: &str = "answers to good requests that broke off";
const SERVED: &str = "answers to good requests that are good";
const ORDERS: &str = "answers to good orders that are good";

/// Whoever means well is served all the while: a third of what they ask goes through services of which one call in three fails, with breakers before them. It is some 80 % of all, and 40 % of the orders.
pub(crate) fn served(acts: &Tally) {
    let (served, good) = (acts.count(SERVED), acts.good());
    assert!(
        served * 2 >= good,
        "{served} of {good} good requests are served"
    );
    let (placed, orders) = (acts.count(ORDERS), acts.count("good orders"));
    assert!(
        placed * 10 >= orders,
        "{placed} of {orders} good orders are placed"
    );
}

/// Answers to good requests that broke off were fewer than one in two hundred.
pub(crate) fn seldom(acts: &Tally) {
    let (again, good) = (acts.count(AGAIN), acts.good());
    assert!(again * 200 <= good, "{again} answers broke off, of {good}");
}

/// A page shows the product that was asked for, of the tenant who asked.
async fn page(client: &mut Client) -> &'static str {
    let (place, product, tenant) = (client.place(), client.product(), client.tenant());
    let request = Request::get(format!("http://{place}/products/{product}"));
    let request = request.header("x-tenant", &tenant);
    let answer = client.must(request, "").await;
    if answer.status == 200 {
        answer.is_for(&tenant);
        let page: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(page["id"], product, "another's page");
    }
    "good reads of a page"
}

/// A server that may do anything, and does well this time: its answer is to what was asked.
async fn echo(client: &mut Client) -> &'static str {
    let (place, path) = (client.gateway(), client.good_path());
    let answer = client
        .must(Request::get(format!("http://{place}{path}")), "")
        .await;
    if answer.status == 200 {
        assert_eq!(answer.body, good_body(&path), "another's answer");
    }
    "good reads through the gateway"
}

/// The same key has the same answer, byte for byte.
async fn order(client: &mut Client) -> &'static str {
    let (place, (key, order)) = (client.place(), client.order());
    let request = Request::post(format!("http://{place}/orders"))
        .header("content-type", "application/json")
        .header("idempotency-key", format!("\"{key}\""));
    let answer = client.must(request, order).await;
    if answer.status == 201 {
        client.tally.up(ORDERS);
        let mut orders = client.orders.lock().unwrap();
        let first = orders
            .entry(format!("{place} {key}"))
            .or_insert_with(|| answer.body.clone());
        assert_eq!(*first, answer.body, "a key with two answers");
    }
    "good orders"
}

async fn price(client: &mut Client) -> &'static str {
    let (place, product, tenant) = (client.place(), client.product(), client.tenant());
    let request = Request::put(format!("http://{place}/products/{product}"))
        .header("content-type", "application/json")
        .header("x-tenant", tenant);
    let cents = client.dice.u32(..100_000);
    client
        .must(request, format!("{{\"price_cents\":{cents}}}"))
        .await;
    "good changes of a price"
}

async fn report(client: &mut Client) -> &'static str {
    let (place, tenant) = (client.place(), client.tenant());
    let forms = [
        "application/json",
        "text/csv",
        "application/xml;q=0.5",
        "*/*",
    ];
    let form = forms[client.dice.usize(..forms.len())];
    let request = Request::get(format!("http://{place}/reports/sales"));
    let request = request.header("accept", form).header("x-tenant", &tenant);
    let answer = client.must(request, "").await;
    if answer.status == 200 {
        answer.is_for(&tenant);
    }
    "good reads of a report"
}
