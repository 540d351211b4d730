//! The Redis that the processes share: one, or a cluster of three.

use testkit::server::{Redis, RedisCluster};

use crate::fault::Fault;
use crate::link::Link;

pub(crate) enum Servers {
    One { redis: Redis, link: Link },
    Cluster(RedisCluster),
}

impl Servers {
    pub(crate) fn one() -> Self {
        let redis = Redis::start().unwrap();
        let link = Link::to(redis.address());
        Self::One { redis, link }
    }

    pub(crate) fn cluster() -> Self {
        Self::Cluster(RedisCluster::start().unwrap())
    }

    /// What a process is told; a cluster's URLs with commas between them.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::One { link, .. } => link.url(),
            Self::Cluster(cluster) => cluster.urls().join(","),
        }
    }

    pub(crate) fn strike(&mut self, fault: Fault) {
        match (fault, &mut *self) {
            (Fault::KillWorker, _) => {}
            (Fault::SlowLink, Self::One { link, .. }) => link.slow_down(),
            // The nodes of a cluster name themselves, and there is nothing between: they are slow themselves.
            (Fault::SlowLink, Self::Cluster(_)) => self.ask("CLIENT PAUSE 100 ALL"),
            (Fault::KillRedis, servers) => {
                let nodes = servers.nodes();
                nodes[fastrand::usize(..nodes.len())].restart().unwrap();
            }
            (Fault::FlushAll, _) => self.ask("FLUSHALL"),
            // Whoever does not hold it says so.
            (Fault::LoseClock, _) => self.ask("DEL story:clock"),
            (Fault::Pause, _) => self.ask("CLIENT PAUSE 250 ALL"),
            (Fault::Cut, _) => {
                self.ask("CLIENT KILL TYPE normal SKIPME yes");
                self.ask("CLIENT KILL TYPE pubsub SKIPME yes");
            }
        }
    }

    fn nodes(&mut self) -> &mut [Redis] {
        match self {
            Self::One { redis, .. } => std::slice::from_mut(redis),
            Self::Cluster(cluster) => cluster.nodes(),
        }
    }

    fn ask(&mut self, command: &str) {
        for node in self.nodes() {
            node.ask(command).unwrap();
        }
    }
}
