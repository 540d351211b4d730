//! What several processes share: stock, the keys of orders and those of tokens in Postgres, pages, the trips of breakers and what happens over Redis.

use std::future::Future;
use std::time::Duration;

use buttress_cache::http::{CachedResponse, ResponseCodec};
use buttress_cache::l2::{RedisL2, SecondLevel};
use buttress_circuit::Breaker;
use buttress_circuit::feed::{Policy, RedisFeed, Sharing, Trips};

use crate::storefront::catalogue::Database;

pub(crate) struct Shared {
    pub(crate) database: Database,
    /// Over which the processes tell each other what happens.
    pub(crate) redis: redis::Client,
    trips: RedisFeed,
    sharing: Sharing,
}

/// How late a process may know of a page that another one has changed.
const MAX_LAG: Duration = Duration::from_secs(1);
// What the README promises of a price: it is seen by all after so long.
const _: () = assert!(crate::storefront::relay::REST.as_millis() + MAX_LAG.as_millis() <= 1500);

/// A URL that says nothing to us, and the flag it came with.
#[derive(Debug)]
pub struct BadUrl(pub(crate) &'static str, pub(crate) String);

impl Shared {
    /// All of it, and the second level of the pages. It connects later, and again when a connection is lost: neither server has to be there now.
    pub(crate) fn open(
        redis: &str,
        postgres: &str,
        database_timeout: Duration,
    ) -> Result<(Self, SecondLevel<CachedResponse>), BadUrl> {
        let bad = |error: redis::RedisError| BadUrl("--redis", error.to_string());
        let database = Database::open(postgres, database_timeout);
        let pages = RedisL2::open(redis, "storefront:pages:v1").map_err(bad)?;
        let client = redis::Client::open(redis).map_err(bad)?;
        let shared = Self {
            database: database.map_err(|error| BadUrl("--postgres", error.to_string()))?,
            trips: RedisFeed::new(client.clone(), "storefront:trips"),
            redis: client,
            sharing: Sharing::new(Policy::Adopt),
        };
        let pages = SecondLevel::new(pages, ResponseCodec).max_lag(MAX_LAG);
        Ok((shared, pages))
    }

    /// What hears of the trips of this process.
    pub(crate) fn trips(&self) -> Trips {
        self.sharing.trips()
    }

    /// Tells the others of trips, and `breakers` of theirs, for as long as it is polled.
    pub(crate) fn share_trips(self, breakers: Vec<Breaker>) -> impl Future<Output = ()> {
        let find = move |name: &str| {
            let found = breakers.iter().find(|breaker| &**breaker.name() == name);
            found.cloned()
        };
        async move { match self.sharing.run(self.trips, find).await {} }
    }
}
