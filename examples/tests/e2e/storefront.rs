//! A storefront of one's own, and a client for it.

use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::watch;

pub(crate) use examples::within_reason;

/// The program itself, on free ports. It is killed when this is dropped.
pub(crate) struct Storefront {
    pub(crate) child: Child,
    pub(crate) url: String,
    pub(crate) upstream: String,
    /// What it printed when it started.
    pub(crate) greeting: Vec<String>,
    /// What it has printed since.
    lines: watch::Receiver<Vec<String>>,
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

pub(crate) fn program() -> Command {
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
        let mut child = program()
            .args(["--listen", "127.0.0.1:0", "--timeout", "60"])
            .args(args)
            .args(unlimited)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the storefront starts");
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let greeting = read_greeting(&mut output).await;
        let address = |word: &str| {
            let line = greeting.iter().find(|line| line.starts_with(word)).unwrap();
            line.split_whitespace().nth(1).unwrap().to_owned()
        };
        let (url, upstream) = (address("storefront:"), address("upstreams:"));
        let (said, lines) = watch::channel(Vec::new());
        tokio::spawn(keep_reading(output, said));
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self {
            child,
            url,
            upstream,
            greeting,
            lines,
            client,
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
        serde_json::from_str(&self.log(trace_id).await).expect("a line is JSON")
    }

    /// The first line with these words in it, once it is there.
    pub(crate) async fn log(&self, words: &str) -> String {
        let mut lines = self.lines.clone();
        let found = |lines: &Vec<String>| lines.iter().any(|line| line.contains(words));
        let lines = within_reason(lines.wait_for(found))
            .await
            .expect("it goes on");
        lines
            .iter()
            .find(|line| line.contains(words))
            .cloned()
            .expect("it was found")
    }

    /// Tells the process to stop.
    pub(crate) fn terminate(&self) {
        let id = self.child.id().expect("it is running").to_string();
        let status = std::process::Command::new("kill")
            .args(["-TERM", &id])
            .status();
        assert!(status.unwrap().success());
    }
}

/// How long the shop may take to be as a test wants it: no other verdict depends on it.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const LAMP: &str = r#"{"product":"lamp","quantity":1}"#;

async fn read_greeting(output: &mut Lines<BufReader<ChildStdout>>) -> Vec<String> {
    let mut greeting = Vec::new();
    loop {
        let line = within_reason(output.next_line()).await.unwrap();
        let line = line.expect("the storefront greets before it ends");
        let last = line.trim_start().starts_with("trace ");
        greeting.push(line);
        if last {
            return greeting;
        }
    }
}

async fn keep_reading(mut output: Lines<BufReader<ChildStdout>>, said: watch::Sender<Vec<String>>) {
    while let Ok(Some(line)) = output.next_line().await {
        said.send_modify(|lines| lines.push(line));
    }
}
