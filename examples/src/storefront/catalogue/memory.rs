//! Stock in this process's memory: gone when it ends, and its own.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{MAX_ORDERS, NewOrder, Order, PRODUCTS, Product, Sale};
use crate::storefront::tenant::Tenant;

#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<HashMap<String, Stock>>);

#[derive(Debug)]
struct Stock {
    products: Vec<Product>,
    /// The last of them.
    orders: VecDeque<Order>,
    placed: u64,
}

/// A new tenant gets a shop of its own; over this many, they share an empty one.
const MAX_TENANTS: usize = 1000;

impl Memory {
    pub(super) fn products(&self, tenant: &Tenant) -> Vec<Product> {
        self.stock(tenant, |stock| stock.products.clone())
    }

    pub(super) fn set_price(&self, tenant: &Tenant, id: &str, cents: u64) -> bool {
        self.stock(tenant, |stock| {
            let product = stock.products.iter_mut().find(|product| product.id == id);
            product.map(|product| product.price_cents = cents).is_some()
        })
    }

    pub(super) fn add_order(
        &self,
        tenant: &Tenant,
        new: &NewOrder,
        total: u64,
        payment: String,
    ) -> Order {
        self.stock(tenant, |stock| {
            stock.placed += 1;
            let order = Order {
                id: stock.placed,
                product: new.product.clone(),
                quantity: new.quantity,
                total_cents: total,
                payment,
            };
            if stock.orders.len() == MAX_ORDERS {
                stock.orders.pop_front();
            }
            stock.orders.push_back(order.clone());
            order
        })
    }

    pub(super) fn orders(&self, tenant: &Tenant) -> Vec<Order> {
        self.stock(tenant, |stock| stock.orders.iter().cloned().collect())
    }

    pub(super) fn order(&self, tenant: &Tenant, id: u64) -> Option<Order> {
        self.stock(tenant, |stock| {
            stock.orders.iter().find(|order| order.id == id).cloned()
        })
    }

    pub(super) fn sales(&self, tenant: &Tenant) -> Vec<Sale> {
        self.stock(tenant, |stock| {
            stock
                .products
                .iter()
                .map(|p| sale(p, &stock.orders))
                .collect()
        })
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stock {
    fn new(tenant: &str) -> Self {
        let products = if tenant.is_empty() {
            Vec::new()
        } else {
            PRODUCTS.to_vec()
        };
        Self {
            products,
            orders: VecDeque::new(),
            placed: 0,
        }
    }
}

fn sale(product: &Product, orders: &VecDeque<Order>) -> Sale {
    let of_it = || orders.iter().filter(|order| order.product == product.id);
    Sale {
        product: product.id,
        name: product.name,
        units: of_it().map(|order| u64::from(order.quantity)).sum(),
        revenue_cents: of_it().map(|order| order.total_cents).sum(),
    }
}
