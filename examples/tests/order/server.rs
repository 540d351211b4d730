//! A server's layers, outermost first: who passes, what form it gets, what happens once.

mod access;
mod browsers;
mod effects;
mod forms;

use axum::Router;
use buttress_cache::http::{CachedResponse, HttpCacheLayer};
use http::header::CACHE_CONTROL;
use http::{HeaderName, Request};

use crate::kit::{Answer, ask};

pub(crate) const FRESH: [(HeaderName, &str); 1] = [(CACHE_CONTROL, "public, max-age=60")];

pub(crate) fn cache() -> HttpCacheLayer {
    HttpCacheLayer::new(CachedResponse::cache().build())
}

pub(crate) async fn see(app: &Router) -> Answer {
    ask(app, Request::get("/")).await
}
