//! One of those who ask: what he does next is decided by his dice.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use examples::connections;
use fastrand::Rng;
use http_body_util::Full;
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;

use crate::tally::Tally;
use crate::turns::Turns;
use crate::{bombs, herds, honest, leaving, slow, streams, tunnels};

/// Whom to ask.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    pub(crate) shop: SocketAddr,
    /// All layers.
    pub(crate) gateway: SocketAddr,
    /// Without breakers, so that each fault is met every time; and with hardly a cache.
    pub(crate) bare: SocketAddr,
}

/// What orders were answered, by place and key.
pub(crate) type Orders = Arc<Mutex<HashMap<String, Bytes>>>;

pub(crate) struct Client {
    pub(crate) dice: Rng,
    pub(crate) from: Ipv4Addr,
    pub(crate) places: Places,
    pub(crate) http: Http<HttpConnector, Full<Bytes>>,
    pub(crate) orders: Orders,
    pub(crate) turns: Turns,
    pub(crate) tally: Tally,
    /// What it is about, for whoever wonders why it hangs.
    pub(crate) doing: String,
}

/// No act takes so long; whoever does hangs, and says so.
const PATIENCE: Duration = Duration::from_secs(60);

impl Client {
    pub(crate) fn new(
        seed: u64,
        number: u8,
        places: Places,
        orders: &Orders,
        turns: &Turns,
        tally: &Tally,
    ) -> Self {
        let from = Ipv4Addr::new(127, 0, 1, number);
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_local_address(Some(from.into()));
        Self {
            dice: Rng::with_seed(seed.wrapping_mul(1000).wrapping_add(u64::from(number))),
            from,
            places,
            http: connections::client().build(connector),
            orders: Orders::clone(orders),
            turns: turns.clone(),
            tally: tally.clone(),
            doing: String::new(),
        }
    }

    /// Asks, and asks again, until the story is over.
    pub(crate) async fn run(mut self, manner: Manner) {
        while !self.turns.is_over() {
            let act = async {
                match manner {
                    Manner::Quick => self.quick().await,
                    Manner::Slow => slow::act(&mut self).await,
                }
            };
            let kind = match tokio::time::timeout(PATIENCE, act).await {
                Ok(kind) => kind,
                Err(_) => panic!("client {} hangs: {}", self.from, self.doing),
            };
            self.tally.up(kind);
            self.turns.next();
        }
    }

    async fn quick(&mut self) -> &'static str {
        match self.dice.u32(..100) {
            0..40 => honest::act(self).await,
            40..60 => leaving::act(self).await,
            60..78 => bombs::act(self).await,
            78..86 => herds::act(self).await,
            86..94 => streams::act(self).await,
            _ => tunnels::act(self).await,
        }
    }

    /// One of the places.
    pub(crate) fn place(&mut self) -> SocketAddr {
        let places = [self.places.shop, self.places.gateway, self.places.bare];
        places[self.dice.usize(..3)]
    }

    /// One of the gateways, behind which everything is.
    pub(crate) fn gateway(&mut self) -> SocketAddr {
        let places = [self.places.gateway, self.places.bare];
        places[self.dice.usize(..2)]
    }
}

/// Who does not wait for others, and who does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Manner {
    Quick,
    Slow,
}
