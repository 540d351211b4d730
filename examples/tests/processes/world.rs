//! What the processes share, and those who are behind the gateway.

use std::net::SocketAddr;

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
    services: SocketAddr,
    more: &'static [&'static str],
}

/// How long a shop serves on when it is told to stop: many times as long as the gateway takes to see it.
const LINGER: &str = "6000";

impl World {
    /// So many storefronts, which can do their work. However slow the machine is, they wait for the database, which stays, and for payments.
    pub(crate) async fn with(shops: usize) -> Self {
        Self::start(shops, &["--database-timeout", "60000", "--timeout", "60"]).await
    }

    /// The same, and what dies or says nothing they wait for no longer than anybody does.
    pub(crate) async fn to_be_disturbed(shops: usize) -> Self {
        Self::start(shops, &[]).await
    }

    async fn start(shops: usize, more: &'static [&str]) -> Self {
        let (redis, postgres) = (Redis::start().unwrap(), Postgres::start().unwrap());
        let (payments, services) = Payments::start().await;
        let args = args(services, &redis.url(), &postgres.url(), more);
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
            services,
            more,
        }
    }

    /// One more, that reaches Redis and Postgres at these addresses.
    pub(crate) async fn shop_over(&self, redis: SocketAddr, postgres: SocketAddr) -> Process {
        let over = |url: String, server: SocketAddr, link: SocketAddr| {
            let (server, link) = (server.to_string(), link.to_string());
            assert!(url.contains(&server), "{url}");
            url.replace(&server, &link)
        };
        let redis = over(self.redis.url(), self.redis.address(), redis);
        let postgres = over(self.postgres.url(), self.postgres.address(), postgres);
        Process::storefront(
            args(self.services, &redis, &postgres, self.more),
            &self.pulse,
        )
        .await
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

    /// Waits until the outbox is empty.
    pub(crate) async fn until_all_is_told(&self) {
        let told = async {
            while self.postgres.ask("SELECT count(*) FROM changes").unwrap() != "0" {
                self.shops[0].pace().await;
            }
        };
        examples::within_reason(told).await;
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

fn args(services: SocketAddr, redis: &str, postgres: &str, more: &[&str]) -> Vec<String> {
    let services = services.to_string();
    let args = [
        ["--services", &services],
        ["--redis", redis],
        ["--postgres", postgres],
        // A test asks more often than anybody,
        ["--rate", "1000000"],
        ["--burst", "1000000"],
        // and does not wait for the dead.
        ["--lease", "500"],
        ["--linger", LINGER],
    ];
    let args = args.as_flattened().iter().chain(more);
    args.map(|arg| (*arg).to_owned()).collect()
}
