//! The source of truth: what each tenant sells, and what was ordered. Slow to read, on purpose.

mod database;
mod memory;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use buttress_idempotency::Idempotency;
use buttress_wire::{Refusal, grpc::Code};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::Full;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub(crate) use self::database::{Database, Patience, Untold};
use self::memory::Memory;
use crate::storefront::tenant::Tenant;

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Product {
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) category: &'static str,
    pub(crate) price_cents: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Order {
    pub(crate) id: u64,
    pub(crate) product: String,
    pub(crate) quantity: u32,
    pub(crate) total_cents: u64,
    pub(crate) payment: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct NewOrder {
    pub(crate) product: String,
    pub(crate) quantity: u32,
}

/// One line of the sales report.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sale {
    pub(crate) product: &'static str,
    pub(crate) name: &'static str,
    pub(crate) units: u64,
    pub(crate) revenue_cents: u64,
}

#[derive(Debug)]
pub(crate) struct Catalogue {
    stock: Stock,
    /// Reads wait while it is true: so that a burst can be seen to wait for one read.
    held: watch::Sender<bool>,
    reads: AtomicU64,
    reports: AtomicU64,
    booked: AtomicU64,
}

/// Where it is.
#[derive(Debug)]
enum Stock {
    Memory(Memory),
    /// Of all processes.
    Database(Database),
}

/// What is kept of orders in memory, and told of them from anywhere.
const MAX_ORDERS: usize = 100_000;
const READ_TIME: Duration = Duration::from_millis(120);

/// The source cannot be asked, or has not answered: then what was to change may have changed.
#[derive(Debug)]
pub(crate) struct Unavailable(Box<dyn std::error::Error + Send + Sync>);

impl Catalogue {
    /// In the database that several processes share, or else in memory.
    pub(crate) fn new(shared: Option<Database>) -> Self {
        Self {
            stock: shared.map_or_else(|| Stock::Memory(Memory::default()), Stock::Database),
            held: watch::Sender::new(false),
            reads: AtomicU64::new(0),
            reports: AtomicU64::new(0),
            booked: AtomicU64::new(0),
        }
    }

    /// One product, read slowly.
    pub(crate) async fn product(
        &self,
        tenant: &Tenant,
        id: &str,
    ) -> Result<Option<Product>, Unavailable> {
        self.read().await;
        let products = self.products(tenant).await?;
        Ok(products.into_iter().find(|product| product.id == id))
    }

    /// The products whose name or category has `words` in it, read slowly.
    pub(crate) async fn search(
        &self,
        tenant: &Tenant,
        words: &str,
    ) -> Result<Vec<Product>, Unavailable> {
        self.read().await;
        let words = words.to_lowercase();
        let mut products = self.products(tenant).await?;
        products.retain(|product| {
            product.name.to_lowercase().contains(&words) || product.category.contains(&words)
        });
        Ok(products)
    }

    /// The price of a product, at once: for the till.
    pub(crate) async fn price(
        &self,
        tenant: &Tenant,
        id: &str,
    ) -> Result<Option<u64>, Unavailable> {
        let products = self.products(tenant).await?;
        let product = products.into_iter().find(|product| product.id == id);
        Ok(product.map(|product| product.price_cents))
    }

    /// Sets a price. Tells whether there is such a product.
    ///
    /// In a database, `changed`, the tag of the pages that show it, is committed with the price, to be invalidated by whoever finds it there.
    pub(crate) async fn set_price(
        &self,
        tenant: &Tenant,
        id: &str,
        cents: u64,
        changed: &str,
    ) -> Result<bool, Unavailable> {
        if !PRODUCTS.iter().any(|product| product.id == id) {
            return Ok(false);
        }
        match &self.stock {
            Stock::Memory(memory) => Ok(memory.set_price(tenant, id, cents)),
            Stock::Database(database) => {
                database
                    .in_time(database.set_price(tenant, id, cents, changed))
                    .await?;
                Ok(true)
            }
        }
    }

    /// Books an order, and makes the response that tells of it with `created`.
    ///
    /// In a database, both are committed together under `claim`, and `changed` beside them: the tag of what shows the order.
    pub(crate) async fn book(
        &self,
        tenant: &Tenant,
        new: &NewOrder,
        (total, payment): (u64, String),
        changed: &str,
        claim: Option<&Idempotency>,
        created: fn(&Order) -> http::Response<Full<Bytes>>,
    ) -> Result<(Order, Response), Unavailable> {
        let booked = match &self.stock {
            Stock::Memory(memory) => {
                let order = memory.add_order(tenant, new, total, payment);
                let response = created(&order).map(Body::new);
                (order, response)
            }
            Stock::Database(database) => {
                let mut order = Order {
                    id: 0,
                    product: new.product.clone(),
                    quantity: new.quantity,
                    total_cents: total,
                    payment,
                };
                let booked = database.book(tenant, &mut order, changed, claim, created);
                let response = database.in_time(booked).await?;
                (order, response)
            }
        };
        self.booked.fetch_add(1, Ordering::Relaxed);
        Ok(booked)
    }

    pub(crate) async fn orders(&self, tenant: &Tenant) -> Result<Vec<Order>, Unavailable> {
        match &self.stock {
            Stock::Memory(memory) => Ok(memory.orders(tenant)),
            Stock::Database(database) => database.in_time(database.orders(tenant)).await,
        }
    }

    pub(crate) async fn order(
        &self,
        tenant: &Tenant,
        id: u64,
    ) -> Result<Option<Order>, Unavailable> {
        match &self.stock {
            Stock::Memory(memory) => Ok(memory.order(tenant, id)),
            Stock::Database(database) => database.in_time(database.order(tenant, id)).await,
        }
    }

    /// What was sold, product by product.
    pub(crate) async fn sales(&self, tenant: &Tenant) -> Result<Vec<Sale>, Unavailable> {
        self.reports.fetch_add(1, Ordering::Relaxed);
        match &self.stock {
            Stock::Memory(memory) => Ok(memory.sales(tenant)),
            Stock::Database(database) => database.in_time(database.sales(tenant)).await,
        }
    }

    /// Makes readers wait, or lets them go.
    pub(crate) fn hold(&self, hold: bool) {
        self.held.send_replace(hold);
    }

    pub(crate) fn is_held(&self) -> bool {
        *self.held.borrow()
    }

    /// How often it was read.
    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// How often a report was made.
    pub(crate) fn reports(&self) -> u64 {
        self.reports.load(Ordering::Relaxed)
    }

    /// How many orders this process has booked.
    pub(crate) fn booked(&self) -> u64 {
        self.booked.load(Ordering::Relaxed)
    }

    async fn read(&self) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(READ_TIME).await;
        // The sender lives as long as we do.
        let _ = self.held.subscribe().wait_for(|held| !held).await;
    }

    async fn products(&self, tenant: &Tenant) -> Result<Vec<Product>, Unavailable> {
        match &self.stock {
            Stock::Memory(memory) => Ok(memory.products(tenant)),
            Stock::Database(database) => database.in_time(database.products(tenant)).await,
        }
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Unavailable {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl IntoResponse for Unavailable {
    fn into_response(self) -> Response {
        Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "urn:storefront:problem:catalogue",
            "The catalogue cannot be read or changed at the moment",
            Code::Unavailable,
        )
        .retry_after(Duration::from_secs(1))
        .detail(self.to_string())
        .response(&HeaderMap::new())
        .into_response()
    }
}

const fn product(
    id: &'static str,
    name: &'static str,
    category: &'static str,
    price_cents: u64,
) -> Product {
    Product {
        id,
        name,
        category,
        price_cents,
    }
}

/// What there is, at the price it has until somebody sets another.
const PRODUCTS: [Product; 6] = [
    product("lamp", "Desk lamp", "light", 3900),
    product("bulb", "Light bulb", "light", 700),
    product("chair", "Oak chair", "seating", 12900),
    product("stool", "Bar stool", "seating", 6900),
    product("shelf", "Wall shelf", "storage", 4900),
    product("box", "Storage box", "storage", 1500),
];
