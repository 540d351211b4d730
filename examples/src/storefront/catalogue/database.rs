//! Stock in the Postgres that several processes share, and the outbox in which changes wait to be told.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use buttress_idempotency::{Idempotency, PostgresStore};
use bytes::Bytes;
use http_body_util::Full;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgConnection, PgPool};
use tokio::sync::Notify;
use tokio::time::error::Elapsed;

use super::{MAX_ORDERS, Order, PRODUCTS, Product, Sale, Unavailable};
use crate::storefront::key_table::KeyTable;
use crate::storefront::tenant::Tenant;

/// Prices and orders, the keys of orders, and those of tokens: one database, so that one transaction holds all of them.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    pool: PgPool,
    keys: PostgresStore,
    changed: Arc<Notify>,
    patience: Patience,
}

/// A change that is committed, and not told yet: the tag of what shows it.
#[derive(Debug)]
pub(crate) struct Untold {
    pub(crate) number: i64,
    pub(crate) tag: String,
}

/// How many changes are read at once.
const BATCH: i64 = 100;
/// How long it may take to answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience(Duration);

impl Patience {
    /// What does not answer in time is as good as gone. A change that is given up is rolled back, or was committed: who asks again under the same key is told.
    pub(crate) async fn in_time<T, E>(
        self,
        asked: impl Future<Output = Result<T, E>>,
        late: impl FnOnce(Elapsed) -> E,
    ) -> Result<T, E> {
        let answer = tokio::time::timeout(self.0, asked).await;
        answer.unwrap_or_else(|elapsed| Err(late(elapsed)))
    }

    /// How long a connection is waited for: while the database is down, everybody waits so long.
    fn to_connect(self) -> Duration {
        self.0 / 3
    }
}

impl Database {
    /// It connects when it is first asked. The handlers' transactions and the layer's statements have a pool each, so that neither waits for the other.
    pub(crate) fn open(url: &str, timeout: Duration) -> Result<Self, sqlx::Error> {
        let patience = Patience(timeout);
        let options: PgConnectOptions = url.parse()?;
        let options = options.options([
            ("lock_timeout", "1s"),
            ("default_transaction_isolation", "read committed"),
        ]);
        let pool = || {
            PgPoolOptions::new()
                .max_connections(8)
                .acquire_timeout(patience.to_connect())
        };
        let keys = pool().test_before_acquire(false);
        Ok(Self {
            pool: pool().connect_lazy_with(options.clone()),
            keys: PostgresStore::new(keys.connect_lazy_with(options)).timeout(timeout),
            changed: Arc::default(),
            patience,
        })
    }

    /// Where the keys of orders are, and how long that may take to answer.
    pub(crate) fn keys(&self) -> (&PostgresStore, Patience) {
        (&self.keys, self.patience)
    }

    /// What it is asked, as long as it may take.
    pub(crate) async fn in_time<T>(
        &self,
        asked: impl Future<Output = Result<T, Unavailable>>,
    ) -> Result<T, Unavailable> {
        self.patience.in_time(asked, Unavailable::from).await
    }

    /// Where the keys of tokens are.
    pub(crate) fn token_keys(&self) -> KeyTable {
        KeyTable::new(self.pool.clone(), self.patience)
    }

    /// Makes the tables, or finds them; those of the keys last, for whoever can claim one has all of them.
    pub(crate) async fn migrate(&self) -> Result<(), Unavailable> {
        // A transaction that sqlx knows of: what fails in one of the text's own stays open, and is the next one's who is given the connection.
        let mut transaction = self.pool.begin().await?;
        sqlx::raw_sql(TABLES).execute(&mut *transaction).await?;
        transaction.commit().await?;
        self.keys.migrate().await?;
        Ok(())
    }

    pub(super) async fn products(&self, tenant: &Tenant) -> Result<Vec<Product>, Unavailable> {
        let prices: Vec<(String, i64)> =
            sqlx::query_as("SELECT product, cents FROM prices WHERE tenant = $1")
                .bind(tenant.as_str())
                .fetch_all(&self.pool)
                .await?;
        let price = |product: &Product| {
            let set = prices.iter().find(|(id, _)| id == product.id);
            set.map_or(product.price_cents, |(_, cents)| cents.cast_unsigned())
        };
        let priced = |product: Product| Product {
            price_cents: price(&product),
            ..product
        };
        Ok(PRODUCTS.map(priced).to_vec())
    }

    pub(super) async fn set_price(
        &self,
        tenant: &Tenant,
        id: &str,
        cents: u64,
        changed: &str,
    ) -> Result<(), Unavailable> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query(
            "INSERT INTO prices (tenant, product, cents) VALUES ($1, $2, $3)
             ON CONFLICT (tenant, product) DO UPDATE SET cents = excluded.cents",
        )
        .bind(tenant.as_str())
        .bind(id)
        .bind(i64::try_from(cents)?)
        .execute(&mut *transaction)
        .await?;
        note_change(&mut transaction, changed).await?;
        transaction.commit().await?;
        self.changed.notify_one();
        Ok(())
    }

    /// Commits the order, the change and the record of the response that `created` makes, or nothing. It is only now that the order has a number.
    pub(super) async fn book(
        &self,
        tenant: &Tenant,
        order: &mut Order,
        changed: &str,
        claim: Option<&Idempotency>,
        created: fn(&Order) -> http::Response<Full<Bytes>>,
    ) -> Result<Response, Unavailable> {
        let mut transaction = self.pool.begin().await?;
        let number: i64 = sqlx::query_scalar(
            "INSERT INTO orders (tenant, product, quantity, total_cents, payment)
             VALUES ($1, $2, $3, $4, $5) RETURNING id",
        )
        .bind(tenant.as_str())
        .bind(&order.product)
        .bind(i64::from(order.quantity))
        .bind(i64::try_from(order.total_cents)?)
        .bind(&order.payment)
        .fetch_one(&mut *transaction)
        .await?;
        order.id = number.cast_unsigned();
        note_change(&mut transaction, changed).await?;
        let response = created(order);
        let response = match claim {
            Some(claim) => {
                let committed = claim.commit_with(transaction, response).await?;
                committed.map(Body::new)
            }
            None => {
                transaction.commit().await?;
                response.map(Body::new)
            }
        };
        self.changed.notify_one();
        Ok(response)
    }

    pub(super) async fn orders(&self, tenant: &Tenant) -> Result<Vec<Order>, Unavailable> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, product, quantity, total_cents, payment FROM orders
             WHERE tenant = $1 ORDER BY id LIMIT $2",
        )
        .bind(tenant.as_str())
        .bind(MAX_ORDERS as i64)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(order).collect()
    }

    pub(super) async fn order(
        &self,
        tenant: &Tenant,
        id: u64,
    ) -> Result<Option<Order>, Unavailable> {
        let row: Option<Row> = sqlx::query_as(
            "SELECT id, product, quantity, total_cents, payment FROM orders
             WHERE tenant = $1 AND id = $2",
        )
        .bind(tenant.as_str())
        .bind(id.cast_signed())
        .fetch_optional(&self.pool)
        .await?;
        row.map(order).transpose()
    }

    pub(super) async fn sales(&self, tenant: &Tenant) -> Result<Vec<Sale>, Unavailable> {
        let rows: Vec<(String, i64, i64)> = sqlx::query_as(
            "SELECT product, sum(quantity)::bigint, sum(total_cents)::bigint FROM orders
             WHERE tenant = $1 GROUP BY product",
        )
        .bind(tenant.as_str())
        .fetch_all(&self.pool)
        .await?;
        let sale = |product: &Product| {
            let sold = rows.iter().find(|(id, ..)| id == product.id);
            let (units, revenue) = sold.map_or((0, 0), |(_, units, cents)| (*units, *cents));
            Sale {
                product: product.id,
                name: product.name,
                units: units.cast_unsigned(),
                revenue_cents: revenue.cast_unsigned(),
            }
        };
        Ok(PRODUCTS.iter().map(sale).collect())
    }

    /// The next changes that nobody is known to have told.
    pub(crate) async fn untold(&self) -> Result<Vec<Untold>, Unavailable> {
        let next = "SELECT number, tag FROM changes ORDER BY number LIMIT $1";
        let rows = sqlx::query_as(next).bind(BATCH).fetch_all(&self.pool);
        let untold = |(number, tag)| Untold { number, tag };
        Ok(rows.await?.into_iter().map(untold).collect())
    }

    pub(crate) async fn mark_told(&self, told: &[Untold]) -> Result<(), Unavailable> {
        let numbers: Vec<_> = told.iter().map(|change| change.number).collect();
        sqlx::query("DELETE FROM changes WHERE number = ANY($1)")
            .bind(numbers)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Waits until this process has committed a change.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// Number, product, quantity, cents and payment.
type Row = (i64, String, i64, i64, String);

fn order((id, product, quantity, total, payment): Row) -> Result<Order, Unavailable> {
    Ok(Order {
        id: id.cast_unsigned(),
        product,
        quantity: quantity.try_into()?,
        total_cents: total.cast_unsigned(),
        payment,
    })
}

/// In the transaction that makes the change: told exactly if it is committed.
async fn note_change(connection: &mut PgConnection, tag: &str) -> Result<(), sqlx::Error> {
    let note = sqlx::query("INSERT INTO changes (tag) VALUES ($1)").bind(tag);
    note.execute(connection).await?;
    Ok(())
}

// By one process at a time, for `IF NOT EXISTS` alone would race. To look for an index by it waits for all who are writing, and they for it.
const TABLES: &str = "
SET LOCAL lock_timeout = 0;
SELECT pg_advisory_xact_lock(1937010534);
CREATE TABLE IF NOT EXISTS prices (
    tenant text, product text, cents bigint NOT NULL, PRIMARY KEY (tenant, product));
CREATE TABLE IF NOT EXISTS orders (
    id bigserial PRIMARY KEY, tenant text NOT NULL, product text NOT NULL,
    quantity bigint NOT NULL, total_cents bigint NOT NULL, payment text NOT NULL);
DO $$ BEGIN
    IF to_regclass('orders_tenant') IS NULL THEN
        CREATE INDEX orders_tenant ON orders (tenant, id);
    END IF;
END $$;
CREATE TABLE IF NOT EXISTS token_keys (
    number bigserial PRIMARY KEY, id text NOT NULL UNIQUE, secret bytea NOT NULL);
CREATE TABLE IF NOT EXISTS changes (number bigserial PRIMARY KEY, tag text NOT NULL)";
