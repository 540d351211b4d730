//! What there is to be asked for.

use crate::client::Client;
use crate::fault::{FAULTS, Fault};

pub(crate) const PRODUCTS: [&str; 6] = ["lamp", "bulb", "chair", "stool", "shelf", "box"];

/// How many tenants there are, keys of orders, and addresses at each server: so many that most are stale when they are asked for again, and so few that what is kept on purpose does not grow.
pub(crate) const TENANTS: u64 = 16;
pub(crate) const KEYS: u64 = 5000;
const NUMBERS: u64 = 1000;

impl Client {
    pub(crate) fn product(&mut self) -> &'static str {
        PRODUCTS[self.dice.usize(..PRODUCTS.len())]
    }

    pub(crate) fn tenant(&mut self) -> String {
        format!("tenant-{}", self.dice.u64(..TENANTS))
    }

    /// A server that misbehaves, but for the services, which only the shop calls.
    pub(crate) fn fault(&mut self) -> Fault {
        FAULTS[self.dice.usize(..FAULTS.len() - 1)]
    }

    pub(crate) fn good_path(&mut self) -> String {
        let n = self.dice.u64(..NUMBERS);
        format!("/{}/good/{n}", self.fault().name())
    }

    pub(crate) fn bad_path(&mut self) -> String {
        let n = self.dice.u64(..NUMBERS);
        format!("/{}/bad/{n}", self.fault().name())
    }

    /// Anything, also what only a gateway has.
    pub(crate) fn any_path(&mut self) -> String {
        match self.dice.u32(..8) {
            0..3 => self.bad_path(),
            3 => self.good_path(),
            4 => format!("/products/{}", self.product()),
            5 => format!("/search?q={}", self.dice.u64(..NUMBERS)),
            6 => format!("/recommendations/{}", self.product()),
            _ => "/reports/sales".to_owned(),
        }
    }

    /// An order, and a key that always comes with the same one.
    pub(crate) fn order(&mut self) -> (String, String) {
        let n = self.dice.u64(..KEYS);
        let product = PRODUCTS[n as usize % PRODUCTS.len()];
        let order = format!("{{\"product\":\"{product}\",\"quantity\":{}}}", 1 + n % 90);
        (format!("key-{n}"), order)
    }
}
