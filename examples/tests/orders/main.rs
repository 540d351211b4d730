//! The orders app, killed in the middle of everything: nothing is lost, and nothing doubled.
//!
//! Nothing here is decided by time. The services that the app calls ask for its death at chosen moments, and whoever has lost its connection waits until the app has been
//! started again.
#![allow(clippy::unwrap_used)]

mod app;
mod neighbours;

use std::collections::HashMap;

use serde_json::Value;

use crate::app::App;
use crate::neighbours::Neighbours;

const ORDERS: usize = 60;

/// Places orders while the app is killed, and compares all books.
async fn all(database: String) {
    let neighbours = Neighbours::start().await;
    let app = App::start(&database, &neighbours).await;
    let placing = (0..ORDERS).map(|n| {
        let app = app.clone();
        tokio::spawn(async move { app.place(n).await })
    });
    let mut bodies = HashMap::new();
    for (n, placing) in placing.collect::<Vec<_>>().into_iter().enumerate() {
        bodies.insert(n, placing.await.unwrap());
    }
    neighbours.until_told(ORDERS).await;
    assert!(app.deaths() >= 8, "{} deaths", app.deaths());

    let orders = app.orders().await;
    assert_eq!(orders.len(), ORDERS, "one order for each key");
    for n in 0..ORDERS {
        let placed: Value = serde_json::from_slice(&bodies[&n]).unwrap();
        assert!(
            orders.contains(&placed),
            "what was answered is what is kept"
        );
        assert_eq!(placed["item"], format!("lamp {n}"));
        assert_eq!(app.place(n).await, bodies[&n], "a replay, to the byte");
    }
    let charges = neighbours.charges();
    assert_eq!(charges.len(), ORDERS, "one charge for each order");
    let told = neighbours.told();
    assert_eq!(told.len(), ORDERS, "one event for each order");
    for order in &orders {
        let payment = order["payment"].as_str().unwrap();
        assert_eq!(charges[payment], order["cents"].to_string());
        assert_eq!(told.iter().filter(|event| event == &order).count(), 1);
    }
    assert_eq!(app.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("orders.sqlite");
    all(file.to_str().unwrap().to_owned()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres() {
    let server = testkit::server::Postgres::start().unwrap();
    all(server.url()).await;
}

/// The payment service has charged, and says that it failed: the key stays that order's, and goes on with it.
#[tokio::test]
async fn what_may_have_been_paid_for_keeps_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("orders.sqlite");
    let neighbours = Neighbours::start().await;
    let app = App::start(file.to_str().unwrap(), &neighbours).await;
    neighbours.break_once();
    let status = async |cents| app.send_order(1, cents).await.unwrap().0;
    assert_eq!(status(101).await, 502);
    assert_eq!(status(999).await, 422, "another order");
    assert_eq!(status(101).await, 201);
    assert_eq!(neighbours.charges().len(), 1);
    assert_eq!(app.orders().await.len(), 1);
}

#[tokio::test]
async fn alone_it_brings_its_neighbours() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("orders.sqlite");
    let app = App::start_alone(file.to_str().unwrap()).await;
    let first = app.place(1).await;
    assert_eq!(app.place(1).await, first);
    assert_eq!(app.orders().await.len(), 1);
    assert_eq!(app.stop().await, Some(0));
}
