//! What the processes share, and those who are behind the gateway.

use testkit::server::{Postgres, Redis};

use crate::payments::Payments;
use crate::process::{Answer, Process};
use crate::pulse::Pulse;

pub(crate) struct World {
    pub(crate) redis: Redis,
    pub(crate) postgres: Postgres,
    pub(crate) payments: Payments,
    pub(crate) shops: Vec<Process>,
    pub(crate) pulse: Pulse,
}

/// How long a shop serves on when it is told to stop: many times as long as the gateway takes to see it.
const LINGER: &str = "2500";

impl World {
    /// So many storefronts, which can do their work.
    pub(crate) async fn with(shops: usize) -> Self {
        let (redis, postgres) = (Redis::start().unwrap(), Postgres::start().unwrap());
        let (payments, services) = Payments::start().await;
        let (services, redis_url, postgres_url) =
            (services.to_string(), redis.url(), postgres.url());
        let args = [
            ["--services", &services],
            ["--redis", &redis_url],
            ["--postgres", &postgres_url],
            // A test asks more often than anybody,
            ["--rate", "1000000"],
            ["--burst", "1000000"],
            // and does not wait for the dead.
            ["--lease", "500"],
            ["--linger", LINGER],
        ];
        let args: Vec<_> = args.into_iter().flatten().map(str::to_owned).collect();
        let pulse = Pulse::default();
        let start = (0..shops).map(|_| Process::storefront(args.clone(), &pulse));
        let shops = futures_util::future::join_all(start).await;
        for shop in &shops {
            shop.until_ready().await;
        }
        Self {
            redis,
            postgres,
            payments,
            shops,
            pulse,
        }
    }

    /// A gateway in front of all of them. It keeps nothing: what is kept is the shops'.
    pub(crate) async fn gateway(&self) -> Process {
        let urls: Vec<&str> = self.shops.iter().map(|shop| &*shop.url).collect();
        let urls = urls.join(",");
        let args = [
            ["--upstream", &urls],
            ["--health", "/health/serving"],
            ["--only", "circuit"],
        ];
        let args = args.into_iter().flatten().map(str::to_owned).collect();
        let gateway = Process::gateway(args, &self.pulse).await;
        self.until_passed_on(&gateway).await;
        gateway
    }

    /// Waits until the gateway's breakers let all shops have requests.
    pub(crate) async fn until_passed_on(&self, gateway: &Process) {
        let closed = |answer: &Answer| {
            let breakers = answer.json()["breakers"].clone();
            let breakers = breakers.as_object().unwrap();
            breakers.len() == self.shops.len() && breakers.values().all(|state| state == "Closed")
        };
        gateway.until("/-/snapshot", closed).await;
    }
}
