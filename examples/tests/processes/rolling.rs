//! A rolling restart under load: no request is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use sqlx::{Connection, PgConnection};
use tokio::task::JoinSet;

use crate::process::Process;
use crate::world::World;

/// Each client's own, so that none waits for the lock of another one's: that has a time, which a busy machine takes.
const PRODUCTS: [&str; 6] = ["lamp", "bulb", "chair", "stool", "shelf", "box"];
const CLIENTS: usize = PRODUCTS.len();

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_under_load_loses_no_request() {
    let world = World::with(3).await;
    let gateway = world.gateway().await;
    let (ending, placed) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut clients = JoinSet::new();
    for n in 0..CLIENTS {
        let (gateway, ending, placed) = (gateway.clone(), Arc::clone(&ending), Arc::clone(&placed));
        clients.spawn(async move {
            for turn in 0.. {
                if ending.load(Ordering::Relaxed) {
                    return;
                }
                ask(&gateway, n, turn).await;
                placed.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for shop in &world.shops {
        assert_eq!(shop.stop().await, Some(0), "it finishes what is under way");
        shop.restart().await;
        shop.until_ready().await;
        world.until_passed_on(&gateway).await;
    }
    ending.store(true, Ordering::Relaxed);
    clients.join_all().await;
    let orders = gateway.get("/orders").await.unwrap().json();
    let placed = placed.load(Ordering::Relaxed);
    assert_eq!(orders.as_array().unwrap().len(), placed, "one for each");
    assert!(placed > 3 * CLIENTS, "{placed} orders are no load");
}

/// To look for tables that are there needs no lock that an order has to wait for, or that waits for one.
#[tokio::test]
async fn a_process_that_starts_waits_for_no_order_under_way() {
    let world = World::with(1).await;
    let mut order = PgConnection::connect(&world.postgres.url()).await.unwrap();
    let under_way = "BEGIN; LOCK TABLE orders, changes IN ROW EXCLUSIVE MODE";
    sqlx::raw_sql(under_way).execute(&mut order).await.unwrap();
    let shop = &world.shops[0];
    shop.stop().await;
    shop.restart().await;
    shop.until_ready().await;
    let price = r#"{"price_cents":1}"#;
    let changed = shop.send("PUT", "/products/box", "", price).await.unwrap();
    assert_eq!(changed.status, 200);
    // It has found its tables when it tells what has changed.
    let told = async {
        let mut left = 1_i64;
        while left > 0 {
            let count = sqlx::query_scalar("SELECT count(*) FROM changes");
            left = count.fetch_one(&mut order).await.unwrap();
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(30), told).await;
    told.expect("a change waits to be told");
    sqlx::raw_sql("COMMIT").execute(&mut order).await.unwrap();
}

/// Three requests, of which none is asked twice: each is answered, and well.
async fn ask(gateway: &Process, client: usize, turn: usize) {
    let key = format!("order {client} {turn}");
    let order = json!({ "product": "lamp", "quantity": 1 }).to_string();
    let product = format!("/products/{}", PRODUCTS[client]);
    let requests = [
        ("POST", "/orders", &*key, &*order, 201),
        ("GET", "/products/lamp", "", "", 200),
        ("PUT", &*product, "", r#"{"price_cents":1}"#, 200),
    ];
    for (method, path, key, body, wanted) in requests {
        let answer = gateway.send(method, path, key, body).await;
        let answer = answer.unwrap_or_else(|| panic!("{method} {path} was lost"));
        assert_eq!(answer.status, wanted, "{method} {path}: {answer:?}");
    }
}
