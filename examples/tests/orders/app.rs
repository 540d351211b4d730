//! The app as a process, which is killed and started again.

use std::process::Stdio;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use testkit::program::Program;
use tokio::process::Command;
use tokio::sync::{Mutex, watch};

use crate::neighbours::Neighbours;

#[derive(Clone)]
pub(crate) struct App {
    args: Arc<Vec<String>>,
    program: Arc<Mutex<Program>>,
    url: Arc<str>,
    /// How often it was started again.
    lives: watch::Sender<usize>,
}

impl App {
    pub(crate) async fn start(database: &str, neighbours: &Neighbours) -> Self {
        let (payments, subscriber) = neighbours.urls();
        // Those who come back wait for the leases of the dead.
        let args = [
            "--lease",
            "300",
            "--payments",
            &payments,
            "--subscriber",
            &subscriber,
        ];
        let app = Self::start_with(database, &args).await;
        let (killed, mut deaths) = (app.clone(), neighbours.deaths());
        tokio::spawn(async move {
            while let Some(done) = deaths.recv().await {
                killed.kill_and_start().await;
                let _ = done.send(());
            }
        });
        app
    }

    pub(crate) async fn start_alone(database: &str) -> Self {
        Self::start_with(database, &[]).await
    }

    async fn start_with(database: &str, more: &[&str]) -> Self {
        let mut args = vec!["--database".to_owned(), database.to_owned()];
        args.extend(more.iter().map(|arg| (*arg).to_owned()));
        let program = run(&args, "127.0.0.1:0").await;
        Self {
            args: Arc::new(args),
            url: program.greeted("orders:").into(),
            program: Arc::new(Mutex::new(program)),
            lives: watch::Sender::new(0),
        }
    }

    async fn kill_and_start(&self) {
        let mut program = self.program.lock().await;
        program.kill().await;
        let address = self.url.trim_start_matches("http://");
        *program = run(&self.args, address).await;
        self.lives.send_modify(|lives| *lives += 1);
    }

    pub(crate) fn deaths(&self) -> usize {
        *self.lives.borrow()
    }

    /// Places the order until it is placed, and gives the body of the response.
    pub(crate) async fn place(&self, n: usize) -> Bytes {
        let mut lives = self.lives.subscribe();
        loop {
            match self.send_order(n, 100 + n).await {
                Some((StatusCode::CREATED, body)) => return body,
                // The payment service's connection to it broke, and not its own.
                Some((StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE, _)) => {}
                Some((status, body)) => panic!("{status}: {body:?}"),
                // It was killed, or is just being started.
                None => lives.changed().await.unwrap(),
            }
        }
    }

    /// Sends an order under its key, and gives what is answered, if it is.
    pub(crate) async fn send_order(&self, n: usize, cents: usize) -> Option<(StatusCode, Bytes)> {
        let order = json!({ "item": format!("lamp {n}"), "cents": cents });
        let request = Request::post(format!("{}/orders", self.url))
            .header("idempotency-key", format!("\"order {n}\""))
            .header("content-type", "application/json")
            .body(Full::<Bytes>::from(order.to_string()));
        send(request.unwrap()).await
    }

    pub(crate) async fn orders(&self) -> Vec<Value> {
        let request = Request::get(format!("{}/orders", self.url));
        let (status, body) = send(request.body(Full::default()).unwrap()).await.unwrap();
        assert_eq!(status, StatusCode::OK);
        serde_json::from_slice(&body).unwrap()
    }

    /// Asks it to end, and gives its exit code.
    pub(crate) async fn stop(&self) -> Option<i32> {
        let mut program = self.program.lock().await;
        program.terminate();
        program.ended().await
    }
}

async fn run(args: &[String], listen: &str) -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orders"));
    command.args(["--listen", listen]).args(args);
    command.stderr(Stdio::null());
    Program::start(command, |line| line.starts_with("orders: ")).await
}

/// Nothing when the connection broke.
async fn send(request: Request<Full<Bytes>>) -> Option<(StatusCode, Bytes)> {
    let client: Client<HttpConnector, _> = Client::builder(TokioExecutor::new()).build_http();
    let response = client.request(request).await.ok()?;
    let status = response.status();
    let body = response.into_body().collect().await.ok()?;
    Some((status, body.to_bytes()))
}
