//! Calling another service under a key.

use std::time::Duration;

use bytes::Bytes;
use examples::connections;
use http::{Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;

use crate::database::Error;

/// A service elsewhere, which does what it is asked for under one key once.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    url: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

const PATIENCE: Duration = Duration::from_secs(5);
const LARGEST_ANSWER: usize = 64 << 10;

impl Remote {
    pub(crate) fn new(url: String) -> Self {
        Self {
            url,
            client: connections::client().build_http(),
        }
    }

    /// What it answers to `body`.
    pub(crate) async fn post(&self, key: &str, body: impl Into<Bytes>) -> Result<Bytes, Error> {
        let request = Request::post(&self.url)
            .header("idempotency-key", format!("\"{key}\""))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body.into()))?;
        let answer = async {
            let response = self.client.request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), LARGEST_ANSWER);
            let body = body.collect().await?.to_bytes();
            if status.is_success() {
                Ok(body)
            } else {
                Err(Error::from(format!("{} answered {status}", self.url)))
            }
        };
        tokio::time::timeout(PATIENCE, answer).await?
    }
}
