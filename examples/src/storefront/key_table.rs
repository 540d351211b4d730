//! The keys that sign tokens, in the Postgres that several processes share: what one has signed the others believe.
//!
//! They stand there as they are: whoever may read this table can sign. A real shop has its identity provider's public keys, and no others.

use std::fmt;

use sqlx::PgPool;

use crate::storefront::catalogue::{Patience, Unavailable};
use crate::storefront::tokens::GENERATIONS;

#[derive(Clone, Debug)]
pub(crate) struct KeyTable {
    pool: PgPool,
    patience: Patience,
}

/// A key of Ed25519, as it is kept.
pub(crate) struct Written {
    pub(crate) id: String,
    pub(crate) secret: [u8; 32],
}

impl Written {
    pub(crate) fn random() -> Self {
        Self {
            id: format!("{:016x}", rand::random::<u64>()),
            secret: rand::random(),
        }
    }
}

impl fmt::Debug for Written {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Written").field(&self.id).finish()
    }
}

/// Whether it can be the id of one.
pub(crate) fn is_id(id: &str) -> bool {
    id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl KeyTable {
    pub(crate) fn new(pool: PgPool, patience: Patience) -> Self {
        Self { pool, patience }
    }

    /// Those whose tokens are good, the newest first. If there is none yet, this makes one.
    pub(crate) async fn newest(&self) -> Result<Vec<Written>, Unavailable> {
        self.patience
            .in_time(self.select_or_make(), Unavailable::from)
            .await
    }

    /// The newest one is this from now on, and those whose tokens were good until now are forgotten.
    pub(crate) async fn add(&self, key: &Written) -> Result<(), Unavailable> {
        self.patience
            .in_time(self.insert(key), Unavailable::from)
            .await
    }

    async fn select_or_make(&self) -> Result<Vec<Written>, Unavailable> {
        let found = self.select().await?;
        if !found.is_empty() {
            return Ok(found);
        }
        let first = Written::random();
        // Of several who do this at once, one does.
        sqlx::query(
            "INSERT INTO token_keys (number, id, secret)
             SELECT 0, $1, $2 WHERE NOT EXISTS (SELECT FROM token_keys) ON CONFLICT DO NOTHING",
        )
        .bind(&first.id)
        .bind(&first.secret[..])
        .execute(&self.pool)
        .await?;
        self.select().await
    }

    async fn select(&self) -> Result<Vec<Written>, Unavailable> {
        let newest = "SELECT id, secret FROM token_keys ORDER BY number DESC LIMIT $1";
        let rows: Vec<(String, Vec<u8>)> = sqlx::query_as(newest)
            .bind(GENERATIONS as i64)
            .fetch_all(&self.pool)
            .await?;
        let written = |(id, secret): (_, Vec<u8>)| {
            let secret = secret.as_slice().try_into()?;
            Ok::<_, Unavailable>(Written { id, secret })
        };
        rows.into_iter().map(written).collect()
    }

    async fn insert(&self, key: &Written) -> Result<(), Unavailable> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("INSERT INTO token_keys (id, secret) VALUES ($1, $2)")
            .bind(&key.id)
            .bind(&key.secret[..])
            .execute(&mut *transaction)
            .await?;
        sqlx::query(
            "DELETE FROM token_keys WHERE number NOT IN
             (SELECT number FROM token_keys ORDER BY number DESC LIMIT $1)",
        )
        .bind(GENERATIONS as i64)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }
}
