//! A storefront of one's own, and a client for it.

use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use examples::connections;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::Value;
use testkit::program::Program;
use tokio::process::Command;

pub(crate) use examples::within_reason;

/// The program itself, on free ports. It is killed when this is dropped.
pub(crate) struct Storefront {
    pub(crate) program: Program,
    pub(crate) url: String,
    pub(crate) upstream: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// A response, read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// What there is of it before its body, which is left unread.
    pub(crate) fn head(response: Response<Incoming>) -> Self {
        let head = response.into_parts().0;
        Self {
            status: head.status,
            headers: head.headers,
            body: Bytes::new(),
        }
    }

    pub(crate) fn field(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn is_hit(&self) -> bool {
        self.field("cache-status").contains("; hit")
    }
}

pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_storefront"));
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

impl Storefront {
    pub(crate) async fn start() -> Self {
        Self::start_with(&["--grace", "60"]).await
    }

    pub(crate) async fn start_with(args: &[&str]) -> Self {
        // A test asks more often than anybody.
        let unlimited = ["--rate", "1000000", "--burst", "1000000"];
        let unlimited = &unlimited[..if args.contains(&"--rate") { 0 } else { 4 }];
        let mut command = command();
        command
            .args(["--listen", "127.0.0.1:0", "--timeout", "60"])
            .args(args)
            .args(unlimited);
        let is_last = |line: &str| line.trim_start().starts_with("trace ");
        let program = Program::start(command, is_last).await;
        Self {
            url: program.greeted("storefront:").to_owned(),
            upstream: program.greeted("upstreams:").to_owned(),
            program,
            client: connections::client().build_http(),
        }
    }

    pub(crate) async fn send(&self, request: http::request::Builder, body: &str) -> Answer {
        let response = self.open(request, body).await;
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("the body is whole").to_bytes();
        Answer {
            status: head.status,
            headers: head.headers,
            body,
        }
    }

    /// Sends a request and leaves the body of its response unread.
    pub(crate) async fn open(
        &self,
        request: http::request::Builder,
        body: &str,
    ) -> Response<Incoming> {
        let request = request.body(Full::from(body.to_owned())).unwrap();
        within_reason(self.client.request(request))
            .await
            .expect("the storefront answers")
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path), "").await
    }

    pub(crate) async fn post(&self, path: &str) -> Answer {
        self.send(self.request("POST", path), "").await
    }

    pub(crate) async fn order(&self, key: &str, order: &str) -> Answer {
        self.send(self.order_request(key), order).await
    }

    pub(crate) fn order_request(&self, key: &str) -> http::request::Builder {
        let request = self
            .request("POST", "/orders")
            .header("content-type", "application/json");
        if key.is_empty() {
            request
        } else {
            request.header("idempotency-key", key)
        }
    }

    /// Makes every call of the payment service fail, or none; said at the service itself.
    pub(crate) async fn payments_fail(&self, fail: bool) {
        let failure_rate = if fail { "1.0" } else { "0.0" };
        self.set_payments(&format!(
            r#"{{"failure_rate":{failure_rate},"latency_ms":0}}"#
        ))
        .await;
    }

    /// Makes every call of the payment service wait, or lets them go.
    pub(crate) async fn payments_wait(&self, wait: bool) {
        let conditions = format!(r#"{{"failure_rate":0.0,"latency_ms":0,"held":{wait}}}"#);
        self.set_payments(&conditions).await;
    }

    async fn set_payments(&self, conditions: &str) {
        let uri = format!("{}/conditions/payments", self.upstream);
        let request = Request::put(uri).header("content-type", "application/json");
        assert_eq!(
            self.send(request, conditions).await.status,
            StatusCode::NO_CONTENT
        );
    }

    pub(crate) async fn snapshot(&self) -> Value {
        self.get("/demo/snapshot").await.json()
    }

    /// Watches the shop's stream of snapshots until one of them is as wanted.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let watch = async {
            let mut events = self
                .open(self.request("GET", "/demo/stream"), "")
                .await
                .into_body();
            let mut text = String::new();
            loop {
                let frame = events.frame().await.expect("the stream goes on").unwrap();
                text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
                while let Some((event, rest)) = text.split_once("\n\n") {
                    let data = event.lines().find_map(|line| line.strip_prefix("data: "));
                    let snapshot = data.map(|data| serde_json::from_str::<Value>(data).unwrap());
                    text = rest.to_owned();
                    if let Some(snapshot) = snapshot.filter(&wanted) {
                        return snapshot;
                    }
                }
            }
        };
        match tokio::time::timeout(PATIENCE, watch).await {
            Ok(snapshot) => snapshot,
            Err(_) => panic!("never saw that {what}; now: {}", self.snapshot().await),
        }
    }

    /// The log line of the request with this trace id: it may be written a moment after its response was read.
    pub(crate) async fn log_line(&self, trace_id: &str) -> Value {
        let line = self.program.says(trace_id).await;
        serde_json::from_str(&line).expect("a line is JSON")
    }
}

/// How long the shop may take to be as a test wants it: no other verdict depends on it.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const LAMP: &str = r#"{"product":"lamp","quantity":1}"#;
