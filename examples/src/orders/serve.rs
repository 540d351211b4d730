//! Start and end of the process.

use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use buttress_idempotency::{IdempotencyLayer, OnConflict, Purge};
use examples::connections::Connections;
use examples::{told_to_stop, with_causes};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::args::Args;
use crate::database::{Database, Error, Postgres, Sqlite};
use crate::post::Remote;
use crate::{orders, relay, services};

/// How long what outlives its call may take when the shop stops.
const GRACE: Duration = Duration::from_secs(10);

/// What requests and the relay share.
#[derive(Clone)]
pub(crate) struct Shop<D> {
    pub(crate) database: D,
    pub(crate) payments: Remote,
    pub(crate) subscriber: Remote,
    /// An order was placed: there is something to tell.
    pub(crate) placed: Arc<Notify>,
}

/// Serves until it is told to stop, and then lets what is under way come to its end.
pub(crate) async fn run(args: Args) -> Result<(), Error> {
    match args.database.split_once("://") {
        Some(("postgres" | "postgresql", _)) => {
            let database = Postgres::connect(&args.database)?;
            serve(args, database).await
        }
        Some((scheme, _)) => {
            let wrong = format!("--database {scheme}://… is neither a file nor postgres://…");
            Err(wrong.into())
        }
        None => {
            let database = Sqlite::open(&args.database);
            serve(args, database).await
        }
    }
}

async fn serve<D: Database>(args: Args, database: D) -> Result<(), Error> {
    let migrated = database.migrate().await;
    migrated.map_err(|error| format!("the database (--database): {}", with_causes(&*error)))?;
    let shop = shop(&args, database).await?;
    let layer = IdempotencyLayer::new(shop.database.store())
        // Whoever is behind a key would be told by what authenticates.
        .single_tenant()
        .required(true)
        .lease(Duration::from_millis(args.lease))
        .keep(orders::keep)
        // Who comes back after a crash waits until the lease of the dead is over, and need not ask again and again.
        .on_conflict(OnConflict::Wait {
            at_most: Duration::from_secs(60),
            waiters: 1000,
        });
    let app = Router::new()
        .route(
            "/orders",
            post(orders::place).layer(layer.clone()).get(orders::list),
        )
        .route("/orders/{id}", get(orders::one))
        .with_state(shop.clone());

    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", args.listen))?;
    let told = told_to_stop();
    say(format_args!("orders: http://{}", listener.local_addr()?));
    let purging = tokio::spawn(Purge::new(shop.database.store()).run());
    let relay = tokio::spawn(relay::run(shop));
    let stopping = CancellationToken::new();
    let server = Connections::default().serve(listener, app, &stopping);
    told.await;
    stopping.cancel();
    server.await?;
    // What is left then is left to its lease.
    let _ = tokio::time::timeout(GRACE, layer.tasks().drain()).await;
    // What it was telling is told again at the next start, under the same key.
    relay.abort();
    purging.abort();
    Ok(())
}

async fn shop<D>(args: &Args, database: D) -> Result<Shop<D>, Error> {
    let (mut payments, mut subscriber) = (args.payments.clone(), args.subscriber.clone());
    if payments.is_none() || subscriber.is_none() {
        let beside = services::start().await?;
        payments.get_or_insert(format!("http://{beside}/payments"));
        subscriber.get_or_insert(format!("http://{beside}/events"));
    }
    Ok(Shop {
        database,
        payments: Remote::new(payments.unwrap_or_default()),
        subscriber: Remote::new(subscriber.unwrap_or_default()),
        placed: Arc::default(),
    })
}

/// A line on standard output. Whoever reads it may have gone.
pub(crate) fn say(words: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stdout(), "{words}");
}

pub(crate) fn complain(error: &(dyn std::error::Error + 'static)) {
    let _ = writeln!(std::io::stderr(), "orders: {}", with_causes(error));
}
