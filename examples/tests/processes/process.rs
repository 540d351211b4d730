//! Programs that are started, killed and started again at the same address, and a client for them.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use examples::within_reason;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

/// One at an address of its own. It is killed when the last clone of this is dropped.
#[derive(Clone)]
pub(crate) struct Process {
    program: &'static str,
    args: Arc<Vec<String>>,
    child: Arc<Mutex<Child>>,
    pub(crate) url: Arc<str>,
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
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// How long any request may take: longer than all timeouts of gateway and shop together.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

impl Process {
    pub(crate) async fn storefront(args: Vec<String>) -> Self {
        Self::start(env!("CARGO_BIN_EXE_storefront"), args).await
    }

    pub(crate) async fn gateway(args: Vec<String>) -> Self {
        Self::start(env!("CARGO_BIN_EXE_gateway"), args).await
    }

    async fn start(program: &'static str, args: Vec<String>) -> Self {
        let (child, url) = run(program, &args, "127.0.0.1:0").await;
        Self {
            program,
            args: Arc::new(args),
            child: Arc::new(Mutex::new(child)),
            url: url.into(),
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    pub(crate) async fn kill(&self) {
        self.child.lock().await.kill().await.unwrap();
    }

    /// Starts it again, after its end.
    pub(crate) async fn restart(&self) {
        let address = self.url.trim_start_matches("http://");
        (*self.child.lock().await, _) = run(self.program, &self.args, address).await;
    }

    /// Asks it to end, and gives its exit code.
    pub(crate) async fn stop(&self) -> Option<i32> {
        let mut child = self.child.lock().await;
        let id = child.id().unwrap().to_string();
        let asked = Command::new("kill").args(["-TERM", &id]).status().await;
        assert!(asked.unwrap().success());
        within_reason(child.wait()).await.unwrap().code()
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
        let answer = async {
            let (head, body) = self.client.request(request).await.ok()?.into_parts();
            Some(Answer {
                status: head.status,
                headers: head.headers,
                body: body.collect().await.ok()?.to_bytes(),
            })
        };
        let answer = tokio::time::timeout(DEADLINE, answer).await;
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
                    _ => pace().await,
                }
            }
        };
        within_reason(look).await
    }

    pub(crate) async fn until_ready(&self) {
        self.until("/health/ready", |answer| answer.status == 200)
            .await;
    }
}

/// Between two looks or tries: so that those who ask again and again do not take the machine from those they ask. Nothing is decided by it.
pub(crate) async fn pace() {
    tokio::time::sleep(Duration::from_millis(25)).await;
}

async fn run(program: &str, args: &[String], listen: &str) -> (Child, String) {
    let mut child = Command::new(program)
        .args(["--listen", listen, "--quiet"])
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = loop {
        let line = within_reason(lines.next_line()).await.unwrap();
        let line = line.expect("it greets before it ends");
        let url = line
            .split_whitespace()
            .find(|word| word.starts_with("http://"));
        if let Some(url) = url {
            break url.to_owned();
        }
    };
    // Somebody has to read on, or it would block.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (child, url)
}
