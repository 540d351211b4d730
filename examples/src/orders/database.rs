//! Where orders, events and the records of responses are: one database, so that one transaction holds all three.

mod postgres;
mod sqlite;

use std::future::Future;

use buttress_idempotency::{Idempotency, IdempotentBody, Store};
use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use serde::{Deserialize, Serialize};

pub(crate) use self::postgres::Postgres;
pub(crate) use self::sqlite::Sqlite;

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// An order, as it is kept and told of.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Order {
    /// Derived from the client's key, so that it is the same at each attempt.
    pub(crate) id: String,
    pub(crate) item: String,
    pub(crate) cents: i64,
    pub(crate) payment: String,
}

/// What is still to be told, in this order.
#[derive(Debug)]
pub(crate) struct Untold {
    pub(crate) number: i64,
    pub(crate) event: String,
}

pub(crate) trait Database: Clone + Send + Sync + 'static {
    type Store: Store + Clone;

    fn store(&self) -> Self::Store;

    /// Makes the tables, or finds them.
    fn migrate(&self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Commits the order, the event that tells of it and the record of `response`, or nothing.
    fn place(
        &self,
        claim: &Idempotency,
        order: &Order,
        response: Response<Full<Bytes>>,
    ) -> impl Future<Output = Result<Response<IdempotentBody<Full<Bytes>>>, Error>> + Send;

    fn orders(&self) -> impl Future<Output = Result<Vec<Order>, Error>> + Send;

    /// The next events that nobody has confirmed.
    fn untold(&self) -> impl Future<Output = Result<Vec<Untold>, Error>> + Send;

    fn mark_told(&self, number: i64) -> impl Future<Output = Result<(), Error>> + Send;
}

/// How many events are read at once.
const BATCH: i64 = 100;

/// The statements are the same for both; the tables are not.
macro_rules! database {
    ($database:ty, $store:ty, $begin:expr) => {
        impl Database for $database {
            type Store = $store;

            fn store(&self) -> $store {
                self.store.clone()
            }

            async fn migrate(&self) -> Result<(), Error> {
                self.store.migrate().await?;
                // A transaction that sqlx knows of: what fails in one of the text's own stays open, and is the next one's who is given the connection.
                let mut tx = self.pool.begin_with($begin).await?;
                sqlx::raw_sql(TABLES).execute(&mut *tx).await?;
                tx.commit().await?;
                Ok(())
            }

            async fn place(
                &self,
                claim: &Idempotency,
                order: &Order,
                response: Response<Full<Bytes>>,
            ) -> Result<Response<IdempotentBody<Full<Bytes>>>, Error> {
                let mut tx = self.pool.begin_with($begin).await?;
                sqlx::query(
                    "INSERT INTO orders (id, item, cents, payment) VALUES ($1, $2, $3, $4)",
                )
                .bind(&order.id)
                .bind(&order.item)
                .bind(order.cents)
                .bind(&order.payment)
                .execute(&mut *tx)
                .await?;
                sqlx::query("INSERT INTO outbox (event, told) VALUES ($1, false)")
                    .bind(serde_json::to_string(order)?)
                    .execute(&mut *tx)
                    .await?;
                Ok(claim.commit_with(tx, response).await?)
            }

            async fn orders(&self) -> Result<Vec<Order>, Error> {
                let orders: Vec<(String, String, i64, String)> =
                    sqlx::query_as("SELECT id, item, cents, payment FROM orders ORDER BY id")
                        .fetch_all(&self.pool)
                        .await?;
                let order = |(id, item, cents, payment)| Order {
                    id,
                    item,
                    cents,
                    payment,
                };
                Ok(orders.into_iter().map(order).collect())
            }

            async fn untold(&self) -> Result<Vec<Untold>, Error> {
                let events: Vec<(i64, String)> = sqlx::query_as(
                    "SELECT number, event FROM outbox WHERE NOT told ORDER BY number LIMIT $1",
                )
                .bind(BATCH)
                .fetch_all(&self.pool)
                .await?;
                let untold = |(number, event)| Untold { number, event };
                Ok(events.into_iter().map(untold).collect())
            }

            async fn mark_told(&self, number: i64) -> Result<(), Error> {
                sqlx::query("UPDATE outbox SET told = true WHERE number = $1")
                    .bind(number)
                    .execute(&self.pool)
                    .await?;
                Ok(())
            }
        }
    };
}

use database;
