//! The source of truth: what each tenant sells, and what was ordered. Slow to read, on purpose.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::tenant::Tenant;

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
    tenants: Mutex<HashMap<String, Stock>>,
    /// Reads wait while it is true: so that a burst can be seen to wait for one read.
    held: watch::Sender<bool>,
    reads: AtomicU64,
    reports: AtomicU64,
}

#[derive(Debug)]
struct Stock {
    products: Vec<Product>,
    orders: Vec<Order>,
}

/// A new tenant gets a shop of its own; over this many, they share an empty one.
const MAX_TENANTS: usize = 1000;
/// What is kept of orders, for the report.
const MAX_ORDERS: usize = 100_000;
const READ_TIME: Duration = Duration::from_millis(120);

impl Catalogue {
    pub(crate) fn new() -> Self {
        Self {
            tenants: Mutex::default(),
            held: watch::Sender::new(false),
            reads: AtomicU64::new(0),
            reports: AtomicU64::new(0),
        }
    }

    /// One product, read slowly.
    pub(crate) async fn product(&self, tenant: &Tenant, id: &str) -> Option<Product> {
        self.read().await;
        self.stock(tenant, |stock| {
            stock.products.iter().find(|p| p.id == id).cloned()
        })
    }

    /// The products whose name or category has `words` in it, read slowly.
    pub(crate) async fn search(&self, tenant: &Tenant, words: &str) -> Vec<Product> {
        self.read().await;
        let words = words.to_lowercase();
        let matches = |product: &&Product| {
            product.name.to_lowercase().contains(&words) || product.category.contains(&words)
        };
        self.stock(tenant, |stock| {
            stock.products.iter().filter(matches).cloned().collect()
        })
    }

    /// The price of a product, at once: for the till.
    pub(crate) fn price(&self, tenant: &Tenant, id: &str) -> Option<u64> {
        self.stock(tenant, |stock| {
            stock
                .products
                .iter()
                .find(|p| p.id == id)
                .map(|p| p.price_cents)
        })
    }

    /// Sets a price. Tells whether there is such a product.
    pub(crate) fn set_price(&self, tenant: &Tenant, id: &str, cents: u64) -> bool {
        self.stock(tenant, |stock| {
            let product = stock.products.iter_mut().find(|product| product.id == id);
            product.map(|product| product.price_cents = cents).is_some()
        })
    }

    pub(crate) fn add_order(
        &self,
        tenant: &Tenant,
        new: &NewOrder,
        total: u64,
        payment: String,
    ) -> Order {
        self.stock(tenant, |stock| {
            let order = Order {
                id: stock.orders.len() as u64 + 1,
                product: new.product.clone(),
                quantity: new.quantity,
                total_cents: total,
                payment,
            };
            if stock.orders.len() < MAX_ORDERS {
                stock.orders.push(order.clone());
            }
            order
        })
    }

    pub(crate) fn orders(&self, tenant: &Tenant) -> Vec<Order> {
        self.stock(tenant, |stock| stock.orders.clone())
    }

    /// What was sold, product by product.
    pub(crate) fn sales(&self, tenant: &Tenant) -> Vec<Sale> {
        self.reports.fetch_add(1, Ordering::Relaxed);
        self.stock(tenant, |stock| {
            stock
                .products
                .iter()
                .map(|p| sale(p, &stock.orders))
                .collect()
        })
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

    pub(crate) fn order_count(&self) -> usize {
        self.lock().values().map(|stock| stock.orders.len()).sum()
    }

    async fn read(&self) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(READ_TIME).await;
        // The sender lives as long as we do.
        let _ = self.held.subscribe().wait_for(|held| !held).await;
    }

    fn stock<T>(&self, tenant: &Tenant, f: impl FnOnce(&mut Stock) -> T) -> T {
        let mut tenants = self.lock();
        let name = if tenants.len() < MAX_TENANTS || tenants.contains_key(tenant.as_str()) {
            tenant.as_str()
        } else {
            ""
        };
        f(tenants
            .entry(name.to_owned())
            .or_insert_with(|| Stock::new(name)))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Stock>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stock {
    fn new(tenant: &str) -> Self {
        let product = |&(id, name, category, price_cents)| Product {
            id,
            name,
            category,
            price_cents,
        };
        let products = if tenant.is_empty() {
            Vec::new()
        } else {
            PRODUCTS.iter().map(product).collect()
        };
        Self {
            products,
            orders: Vec::new(),
        }
    }
}

fn sale(product: &Product, orders: &[Order]) -> Sale {
    let of_it = || orders.iter().filter(|order| order.product == product.id);
    Sale {
        product: product.id,
        name: product.name,
        units: of_it().map(|order| u64::from(order.quantity)).sum(),
        revenue_cents: of_it().map(|order| order.total_cents).sum(),
    }
}

const PRODUCTS: [(&str, &str, &str, u64); 6] = [
    ("lamp", "Desk lamp", "light", 3900),
    ("bulb", "Light bulb", "light", 700),
    ("chair", "Oak chair", "seating", 12900),
    ("stool", "Bar stool", "seating", 6900),
    ("shelf", "Wall shelf", "storage", 4900),
    ("box", "Storage box", "storage", 1500),
];
