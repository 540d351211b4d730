//! The services beside it, when nobody has named others. They remember their keys in memory, and live as long as this process.

use std::net::SocketAddr;

use axum::Router;
use axum::routing::post;
use buttress_idempotency::{IdempotencyLayer, MemoryStore};
use examples::connections::Connections;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::database::Error;

/// Starts both: `/payments` and `/events`.
pub(crate) async fn start() -> Result<SocketAddr, Error> {
    let once = || {
        IdempotencyLayer::new(MemoryStore::new())
            .single_tenant()
            .required(true)
    };
    let app = Router::new()
        .route("/payments", post(charge).layer(once()))
        .route("/events", post(hear).layer(once()));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    // Nobody waits for its end.
    drop(Connections::default().serve(listener, app, &CancellationToken::new()));
    Ok(address)
}

async fn charge(cents: String) -> String {
    let payment = format!("payment-{:08x}", fastrand::u32(..));
    crate::serve::say(format_args!("charged {cents} cents: {payment}"));
    payment
}

async fn hear(event: String) {
    crate::serve::say(format_args!("told of {event}"));
}
