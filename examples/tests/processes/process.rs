//! Programs that are started, killed and started again at the same address, and a client for them.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use examples::{connections, within_reason};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::Value;
use testkit::program::Program;
use tokio::process::Command;
use tokio::sync::Mutex;

use crate::pulse::Pulse;

/// One at an address of its own. It is killed when the last clone of this is dropped.
#[derive(Clone)]
pub(crate) struct Process {
    path: &'static str,
    args: Arc<Vec<String>>,
    program: Arc<Mutex<Program>>,
    pub(crate) url: Arc<str>,
    client: Client<HttpConnector, Full<Bytes>>,
    pulse: Pulse,
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
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A stream of events.
pub(crate) struct Listener {
    body: Incoming,
    text: String,
}

impl Listener {
    /// The next event.
    pub(crate) async fn next(&mut self) -> String {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let event = event.to_owned();
                self.text = rest.to_owned();
                return event;
            }
            let frame = within_reason(self.body.frame()).await.expect("it goes on");
            let data = frame.unwrap().into_data().unwrap();
            self.text.push_str(std::str::from_utf8(&data).unwrap());
        }
    }
}

/// How long any request may take: longer than all timeouts of gateway and shop together.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

impl Process {
    /// What it tells is `pulse`, as long as it lives.
    pub(crate) async fn storefront(args: Vec<String>, pulse: &Pulse) -> Self {
        let shop = Self::start(env!("CARGO_BIN_EXE_storefront"), args, pulse).await;
        pulse.follow(&shop.url);
        shop
    }

    pub(crate) async fn gateway(args: Vec<String>, pulse: &Pulse) -> Self {
        Self::start(env!("CARGO_BIN_EXE_gateway"), args, pulse).await
    }

    async fn start(path: &'static str, args: Vec<String>, pulse: &Pulse) -> Self {
        let program = run(path, &args, "127.0.0.1:0").await;
        Self {
            path,
            args: Arc::new(args),
            url: url_in(program.greeting())
                .expect("it was waited for")
                .into(),
            program: Arc::new(Mutex::new(program)),
            client: connections::client().build_http(),
            pulse: pulse.clone(),
        }
    }

    pub(crate) async fn kill(&self) {
        self.program.lock().await.kill().await;
    }

    /// Starts a shop again, after its end.
    pub(crate) async fn restart(&self) {
        let address = self.url.trim_start_matches("http://");
        *self.program.lock().await = run(self.path, &self.args, address).await;
        self.pulse.follow(&self.url);
    }

    /// Asks it to end, and gives its exit code.
    pub(crate) async fn stop(&self) -> Option<i32> {
        let mut program = self.program.lock().await;
        program.terminate();
        program.ended().await
    }

    /// Waits until something has happened in any of the shops.
    pub(crate) async fn pace(&self) {
        self.pulse.next().await;
    }

    /// Opens a stream of events, which is told in the order in which it is read.
    pub(crate) async fn listen(&self, path: &str, tenant: &str) -> Listener {
        let request = Request::get(format!("{}{path}", self.url)).header("x-tenant", tenant);
        let request = request.body(Full::default()).unwrap();
        let response = within_reason(self.client.request(request)).await.unwrap();
        assert_eq!(response.status(), 200);
        let mut listener = Listener {
            body: response.into_body(),
            text: String::new(),
        };
        assert!(listener.next().await.contains("hello"));
        listener
    }

    /// Sends a request with these fields, and reads the response.
    pub(crate) async fn send_with(
        &self,
        (method, path): (&str, &str),
        fields: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("content-type", "application/json");
        let request = fields.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        let request = request.body(Full::from(body.to_owned())).unwrap();
        let answer = self.ask(request);
        within_reason(answer).await.expect("it answers")
    }

    async fn ask(&self, request: Request<Full<Bytes>>) -> Option<Answer> {
        let (head, body) = self.client.request(request).await.ok()?.into_parts();
        Some(Answer {
            status: head.status,
            headers: head.headers,
            body: body.collect().await.ok()?.to_bytes(),
        })
    }

    /// Sends a request and reads the response; `None` when the connection breaks.
    ///
    /// # Panics
    ///
    /// When that takes longer than it may.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        key: &str,
        body: &str,
    ) -> Option<Answer> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            // One name for all of them: pages and keys are those of the host that was asked for.
            .header("host", "shop.example")
            .header("content-type", "application/json");
        if !key.is_empty() {
            request = request.header("idempotency-key", format!("\"{key}\""));
        }
        let request = request.body(Full::from(body.to_owned())).unwrap();
        let answer = tokio::time::timeout(DEADLINE, self.ask(request)).await;
        answer.unwrap_or_else(|_| panic!("{method} {path} hangs"))
    }

    pub(crate) async fn get(&self, path: &str) -> Option<Answer> {
        self.send("GET", path, "", "").await
    }

    /// Looks at `path` again and again until what it shows is as wanted.
    pub(crate) async fn until(&self, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
        let look = async {
            loop {
                match self.get(path).await {
                    Some(answer) if wanted(&answer) => return answer,
                    _ => self.pace().await,
                }
            }
        };
        within_reason(look).await
    }

    /// Sends an order until it is placed: what says that nothing was done, or that nobody knows, is asked again.
    pub(crate) async fn until_placed(&self, key: &str, order: &str) -> Answer {
        let insist = async {
            loop {
                let answer = self.send("POST", "/orders", key, order).await;
                match answer {
                    Some(answer) if !matches!(answer.status.as_u16(), 409 | 502..=504) => {
                        return answer;
                    }
                    _ => self.pace().await,
                }
            }
        };
        within_reason(insist).await
    }

    /// Waits until it has found Redis: without it, it gives out nothing that was stored for longer than `max_lag`.
    pub(crate) async fn until_it_stores(&self) {
        let is_hit = |page: &Answer| page.field("x-cache") == "HIT-MEMORY";
        self.until("/products/lamp", is_hit).await;
    }

    pub(crate) async fn until_ready(&self) {
        self.until("/health/ready", |answer| answer.status == 200)
            .await;
    }
}

async fn run(path: &str, args: &[String], listen: &str) -> Program {
    let mut command = Command::new(path);
    command.args(["--listen", listen, "--quiet"]).args(args);
    command.stderr(Stdio::null());
    Program::start(command, |line| url_of(line).is_some()).await
}

fn url_in(greeting: &[String]) -> Option<&str> {
    greeting.iter().find_map(|line| url_of(line))
}

fn url_of(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    words.find(|word| word.starts_with("http://"))
}
