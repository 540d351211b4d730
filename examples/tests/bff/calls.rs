//! The app and its services, and a client.

use std::sync::Arc;

use bytes::Bytes;
use clap::Parser;
use examples::conditions::{Conditions, Service};
use examples::{connections, within_reason};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::Value;

use crate::args::Args;
use crate::serve::Running;
use crate::upstream::Upstream;

pub(crate) struct Test {
    pub(crate) running: Running,
    pub(crate) upstream: Arc<Upstream>,
    client: Client<HttpConnector, Empty<Bytes>>,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

/// Where nothing is to be late: as long as a test may take, and longer.
pub(crate) const NO_DEADLINE: &[&str] = &["--deadline", "300000", "--timeout", "300000"];

impl Test {
    pub(crate) async fn start(times: &[&str]) -> Self {
        let fixed = ["bff", "--quiet", "--listen", "127.0.0.1:0"];
        let args = Args::parse_from(fixed.iter().chain(times));
        let upstream = Arc::new(Upstream::default());
        Self {
            running: Running::start(&args, Arc::clone(&upstream)).await.unwrap(),
            upstream,
            client: connections::client().build_http(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path)).await
    }

    pub(crate) async fn send(&self, request: http::request::Builder) -> Answer {
        let path = request.uri_ref().unwrap().to_string();
        let request = request.uri(format!("http://{}{path}", self.running.address));
        let request = request.body(Empty::new()).unwrap();
        let response = within_reason(self.client.request(request)).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: head.status,
            headers: head.headers,
            body: serde_json::from_slice(&body).unwrap(),
        }
    }

    pub(crate) fn catalogue(&self) -> &Service {
        &self.upstream.catalogue
    }

    pub(crate) fn reviews(&self) -> &Service {
        &self.upstream.reviews
    }
}

pub(crate) const WELL: Conditions = Conditions {
    failure_rate: 0.0,
    latency_ms: 0,
    held: false,
};
pub(crate) const BROKEN: Conditions = Conditions {
    failure_rate: 1.0,
    ..WELL
};
pub(crate) const HELD: Conditions = Conditions { held: true, ..WELL };
