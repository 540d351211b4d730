//! Stores that wait for their servers as long as a machine may stand still: what they answer is looked at here, and not how soon.

use std::time::Duration;

#[cfg(feature = "postgres")]
use buttress_idempotency::PostgresStore;
#[cfg(feature = "redis")]
use buttress_idempotency::RedisStore;

const PATIENCE: Duration = Duration::from_secs(60);

/// As [`RedisStore::open`], with more time.
#[cfg(feature = "redis")]
pub(crate) fn redis(url: &str) -> RedisStore {
    use redis::aio::{ConnectionManager, ConnectionManagerConfig};

    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    let client = redis::Client::open(url).unwrap();
    RedisStore::new(ConnectionManager::new_lazy_with_config(client, config).unwrap())
}

/// As [`PostgresStore::connect`], with more time.
#[cfg(feature = "postgres")]
pub(crate) fn postgres(url: &str) -> PostgresStore {
    postgres_of(url, 16)
}

/// The same, with so many connections.
#[cfg(feature = "postgres")]
pub(crate) fn postgres_of(url: &str, connections: u32) -> PostgresStore {
    use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

    let options: PgConnectOptions = url.parse().unwrap();
    let options = options.options([
        ("lock_timeout", "30s"),
        ("default_transaction_isolation", "read committed"),
    ]);
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(PATIENCE)
        .test_before_acquire(false);
    PostgresStore::new(pool.connect_lazy_with(options)).timeout(PATIENCE)
}
