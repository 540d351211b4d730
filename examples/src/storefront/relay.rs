//! Telling all processes of what was changed, after it was committed.
//!
//! Whoever changes something also tells of it at once, in its own process. The relay is for whoever is killed in between: what it left in the outbox is
//! told by any process that lives, no later than [`REST`] after Postgres and Redis can be reached.

use std::time::Duration;

use buttress_cache::Cache;
use buttress_cache::http::CachedResponse;

use crate::complain;
use crate::storefront::catalogue::{Database, Unavailable};

/// How long the tables may take, also where another process makes them. Who does not hear of that is to say so, and to ask again.
const MIGRATION: Duration = Duration::from_secs(30);

/// How long it rests when there was nothing to tell; a change in this process wakes it at once.
pub(crate) const REST: Duration = Duration::from_millis(500);

/// Makes the tables, and then tells of each change in the database, for as long as it is polled.
///
/// Several processes may tell of one change, which costs misses and nothing else. A change is taken out of the outbox once Redis has it.
///
/// # Cancellation
///
/// What is dropped between telling and taking out is told once more, here or elsewhere.
pub(crate) async fn run(pages: Cache<CachedResponse>, database: Database) {
    let mut has_tables = false;
    let mut failing = false;
    loop {
        let told = tell(&pages, &database, &mut has_tables).await;
        if let Err(error) = &told
            && !failing
        {
            complain(
                "storefront",
                &format_args!("changes wait to be told: {error}"),
            );
        }
        failing = told.is_err();
        let _ = tokio::time::timeout(REST, database.changed()).await;
    }
}

async fn tell(
    pages: &Cache<CachedResponse>,
    database: &Database,
    has_tables: &mut bool,
) -> Result<(), Unavailable> {
    if !*has_tables {
        tokio::time::timeout(MIGRATION, database.migrate()).await??;
        *has_tables = true;
    }
    loop {
        let changes = database.in_time(database.untold()).await?;
        if changes.is_empty() {
            return Ok(());
        }
        pages
            .invalidate(changes.iter().map(|change| &change.tag))
            .await?;
        database.in_time(database.mark_told(&changes)).await?;
    }
}
