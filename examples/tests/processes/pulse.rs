//! What those who ask again and again wait for in between, so that they do not take the machine from those they ask.

use std::sync::Arc;

use bytes::Bytes;
use examples::within_reason;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::sync::watch;

/// Beats whenever a shop's own stream tells something: when something has happened there, and otherwise once a second.
#[derive(Clone, Default)]
pub(crate) struct Pulse(Arc<watch::Sender<u64>>);

impl Pulse {
    /// Listens to this shop, until it ends.
    pub(crate) fn follow(&self, shop: &str) {
        let (url, pulse) = (format!("{shop}/demo/stream"), self.clone());
        tokio::spawn(async move {
            let client = Client::builder(TokioExecutor::new()).build_http();
            let request = Request::get(url).body(Empty::<Bytes>::new()).unwrap();
            // It may have been killed just now.
            let Ok(response) = client.request(request).await else {
                return;
            };
            let mut told = response.into_body();
            while let Some(Ok(_)) = told.frame().await {
                pulse.0.send_modify(|beats| *beats += 1);
            }
        });
    }

    /// Waits for the next beat.
    pub(crate) async fn next(&self) {
        let mut beats = self.0.subscribe();
        // The sender lives as long as we do.
        let _ = within_reason(beats.changed()).await;
    }
}
