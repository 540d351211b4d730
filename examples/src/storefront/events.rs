//! Server-Sent Events: what happens in a tenant's shop, as it happens.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt};
use http::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::storefront::shop::Shop;
use crate::storefront::tenant::Tenant;

/// Something that happened in a shop.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub(crate) enum Happening {
    Order { id: u64, product: String },
    Price { product: String, price_cents: u64 },
}

impl Happening {
    fn name(&self) -> &'static str {
        match self {
            Self::Order { .. } => "order",
            Self::Price { .. } => "price",
        }
    }
}

/// Who listens, over all tenants. A listener that is 256 events behind misses the oldest.
#[derive(Debug)]
pub(crate) struct Feed {
    happenings: broadcast::Sender<(Tenant, Happening)>,
    /// What has happened in this process, for whoever tells the others.
    ours: broadcast::Sender<(Tenant, Happening)>,
}

const BEHIND: usize = 256;

impl Feed {
    pub(crate) fn new() -> Self {
        Self {
            happenings: broadcast::Sender::new(BEHIND),
            ours: broadcast::Sender::new(BEHIND),
        }
    }

    /// It has happened here.
    pub(crate) fn publish(&self, tenant: &Tenant, happening: Happening) {
        // Nobody may be listening.
        let _ = self.ours.send((tenant.clone(), happening.clone()));
        self.tell(tenant.clone(), happening);
    }

    /// Tells those who listen to this process.
    pub(crate) fn tell(&self, tenant: Tenant, happening: Happening) {
        let _ = self.happenings.send((tenant, happening));
    }

    /// What happens here from now on.
    pub(crate) fn ours(&self) -> broadcast::Receiver<(Tenant, Happening)> {
        self.ours.subscribe()
    }

    pub(crate) fn listeners(&self) -> usize {
        self.happenings.receiver_count()
    }
}

pub(crate) async fn events(State(shop): State<Arc<Shop>>, tenant: Tenant) -> Response {
    let listener = shop.feed.happenings.subscribe();
    shop.stats.touch();
    let happenings = stream::unfold((listener, tenant), |(mut listener, tenant)| async {
        loop {
            match listener.recv().await {
                Ok((of, happening)) if of == tenant => {
                    return Some((event(&happening), (listener, tenant)));
                }
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    });
    let hello = stream::once(async { Event::default().event("hello").data("listening") });
    let stopping = shop.stopping.clone().cancelled_owned();
    let events = hello.chain(happenings).take_until(stopping);
    stream_response(Left {
        events: Box::pin(events),
        shop,
    })
}

/// A stream of events with a heartbeat, that no proxy holds back.
pub(crate) fn stream_response(events: impl Stream<Item = Event> + Send + 'static) -> Response {
    let heartbeat = KeepAlive::new()
        .interval(Duration::from_secs(15))
        .text("heartbeat");
    let mut response = Sse::new(events.map(Ok::<_, Infallible>))
        .keep_alive(heartbeat)
        .into_response();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    response
}

fn event(happening: &Happening) -> Event {
    let event = Event::default().event(happening.name());
    // A happening is a plain struct: it always has a JSON form.
    event.json_data(happening).unwrap_or_default()
}

/// Shows on the page when a listener has left.
struct Left<S> {
    events: Pin<Box<S>>,
    shop: Arc<Shop>,
}

impl<S: Stream> Stream for Left<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        self.events.as_mut().poll_next(cx)
    }
}

impl<S> Drop for Left<S> {
    fn drop(&mut self) {
        self.shop.stats.touch();
    }
}
