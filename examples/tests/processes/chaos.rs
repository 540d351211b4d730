//! Orders, price changes and reads through three shops, while shops, Redis and Postgres are killed at random.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::ledger::{LONG, Ledger};
use crate::process::{Answer, Process};
use crate::world::World;

/// `PROCESSES_ROUNDS` makes it longer: `./ci/soak` does.
const ROUNDS: usize = 7;
const CLIENTS: usize = 6;
const ORDERS: usize = 4;
const CHANGES: u64 = 4;
const PRODUCTS: [&str; 3] = ["lamp", "chair", "shelf"];

/// A page with one product. Its address is not the product's: only the tag tells that it has changed.
fn page_of(product: &str) -> String {
    format!("/search?q={product}")
}

fn price_on(page: &Answer) -> Option<u64> {
    page.json()[0]["price_cents"].as_u64()
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fault {
    Shop(usize),
    Redis,
    Postgres,
}

impl Fault {
    /// Each kind in its turn, then two at once, and shops at random. One shop is left in any case.
    fn of(round: usize) -> Vec<Self> {
        let shop = fastrand::usize(..3);
        let other = (shop + fastrand::usize(1..3)) % 3;
        match round % 7 {
            0 => vec![Self::Shop(shop)],
            1 => vec![Self::Redis],
            2 => vec![Self::Postgres],
            3 => vec![Self::Redis, Self::Postgres],
            4 => vec![Self::Shop(shop), Self::Postgres],
            5 => vec![Self::Redis, Self::Shop(shop)],
            _ => vec![Self::Shop(shop), Self::Shop(other)],
        }
    }
}

/// What those who ask know of each other.
#[derive(Clone)]
struct Story {
    gateway: Process,
    shops: Vec<Process>,
    ledger: Arc<Ledger>,
    /// The body of each order's response, by its key.
    placed: Arc<Mutex<HashMap<String, Value>>>,
    /// How many requests have come to an end.
    asked: watch::Sender<usize>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_killed_orders_are_placed_once_and_prices_are_seen_in_time() {
    let rounds = std::env::var("PROCESSES_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let mut world = World::to_be_disturbed(3).await;
    let gateway = world.gateway().await;
    let story = Story {
        gateway: gateway.clone(),
        shops: world.shops.clone(),
        ledger: Arc::default(),
        placed: Arc::default(),
        asked: watch::Sender::new(0),
    };
    for round in 0..rounds {
        let faults = Fault::of(round);
        let some = world.payments.after(fastrand::usize(1..CLIENTS * ORDERS));
        let (reads, work) = (story.read_on(), story.work(round));
        some.await;
        story.inject(faults, &mut world).await;
        // Whoever fails ends the test here.
        work.join_all().await;
        story.settle(&world).await;
        world.until_passed_on(&gateway).await;
        reads.shutdown_and_check().await;
    }
    story.read_until_due().await;
    story.check(&world).await;
}

impl Story {
    /// Orders and changes of prices, each of them asked for until it is done.
    fn work(&self, round: usize) -> JoinSet<()> {
        let mut work = JoinSet::new();
        for client in 0..CLIENTS {
            let story = self.clone();
            work.spawn(async move {
                for n in 0..ORDERS {
                    let key = format!("order {round} {client} {n}");
                    story.order(key, client + n).await;
                }
            });
        }
        for product in PRODUCTS {
            let story = self.clone();
            work.spawn(async move { story.change_prices(product, round).await });
        }
        work
    }

    async fn order(&self, key: String, n: usize) {
        let product = PRODUCTS[n % PRODUCTS.len()];
        let order = json!({ "product": product, "quantity": 1 + n }).to_string();
        let first = self.insist("POST", "/orders", &key, &order, 201).await;
        // Some clients have not heard, and ask again.
        if n.is_multiple_of(3) {
            let again = self.insist("POST", "/orders", &key, &order, 201).await;
            assert_eq!(again.body, first.body, "a replay, to the byte");
        }
        let known = self.placed.lock().unwrap().insert(key, first.json());
        assert!(known.is_none());
    }

    async fn change_prices(&self, product: &'static str, round: usize) {
        for n in 1..=CHANGES {
            let cents = 100_000 + round as u64 * CHANGES + n;
            let (path, body) = (
                format!("/products/{product}"),
                json!({ "price_cents": cents }).to_string(),
            );
            self.insist("PUT", &path, "", &body, 200).await;
            self.ledger.committed(product, cents);
        }
    }

    /// Asks until it is answered so. What says that nothing was done, or that nobody knows, is asked again.
    async fn insist(&self, method: &str, path: &str, key: &str, body: &str, wanted: u16) -> Answer {
        let insist = async {
            loop {
                let answer = self.gateway.send(method, path, key, body).await;
                self.asked.send_modify(|asked| *asked += 1);
                match answer {
                    Some(answer) if answer.status == wanted => return answer,
                    Some(answer) if !matches!(answer.status.as_u16(), 409 | 502..=504) => {
                        panic!("{method} {path}: {answer:?}")
                    }
                    _ => self.gateway.pace().await,
                }
            }
        };
        examples::within_reason(insist).await
    }

    /// Reads prices through the gateway and at each shop, until it is told to end.
    fn read_on(&self) -> Readers {
        let (ending, _) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let whom = self.shops.iter().chain([&self.gateway]);
        for (n, whom) in whom.cloned().enumerate() {
            let (story, ending) = (self.clone(), ending.subscribe());
            tasks.spawn(async move {
                let mut shown = 0;
                while !*ending.borrow() {
                    for product in PRODUCTS {
                        shown += usize::from(story.read(&whom, product).await);
                    }
                    whom.pace().await;
                }
                assert!(shown > 0, "nothing was ever shown by {n}");
            });
        }
        Readers { ending, tasks }
    }

    /// Whether it was shown; if so, it is not too old.
    async fn read(&self, whom: &Process, product: &str) -> bool {
        let (lowest, asked) = (self.ledger.lowest(product), Instant::now());
        let page = whom.get(&page_of(product)).await;
        self.asked.send_modify(|asked| *asked += 1);
        match page.filter(|page| page.status == 200) {
            Some(page) => {
                let shown = price_on(&page).unwrap();
                self.ledger.shown(product, shown, lowest, asked);
                assert!(
                    shown >= lowest,
                    "{product} for {shown}, which is below {lowest}: {page:?}"
                );
                true
            }
            None => false,
        }
    }

    /// Kills, an order having just been paid for, which is about to be committed or just committed; heals one after the other, when some more requests have
    /// come to an end.
    async fn inject(&self, mut faults: Vec<Fault>, world: &mut World) {
        self.after(fastrand::usize(..4)).await;
        // What Postgres knows nobody is told from now on.
        let is_blind = faults.contains(&Fault::Postgres);
        self.disturb(&faults, is_blind);
        for fault in &faults {
            match fault {
                Fault::Shop(n) => self.shops[*n].kill().await,
                Fault::Redis => world.redis.kill(),
                Fault::Postgres => world.postgres.kill(),
            }
        }
        self.disturb(&faults, is_blind);
        fastrand::shuffle(&mut faults);
        while let Some(fault) = faults.pop() {
            self.after(fastrand::usize(30..80)).await;
            match fault {
                Fault::Shop(n) => self.shops[n].restart().await,
                Fault::Redis => world.redis.restart().unwrap(),
                Fault::Postgres => world.postgres.restart().unwrap(),
            }
            self.disturb(&[fault], faults.contains(&Fault::Postgres));
        }
    }

    /// That a shop dies or lives again is no reason why a price may be seen for longer.
    fn disturb(&self, faults: &[Fault], is_blind: bool) {
        if faults.iter().any(|fault| !matches!(fault, Fault::Shop(_))) {
            self.ledger.disturb(is_blind);
        }
    }

    async fn after(&self, requests: usize) {
        let until = *self.asked.borrow() + requests;
        let mut asked = self.asked.subscribe();
        let reached = asked.wait_for(|asked| *asked >= until);
        drop(examples::within_reason(reached).await.unwrap());
    }

    /// Reads on until the last prices are due, which is where a bound has to hold.
    async fn read_until_due(&self) {
        let (reads, before) = (self.read_on(), self.ledger.due());
        let due = async {
            while self.ledger.due() == before {
                self.gateway.pace().await;
            }
        };
        examples::within_reason(due).await;
        reads.shutdown_and_check().await;
    }

    /// All shops are well, and show what is current no later than is promised.
    async fn settle(&self, world: &World) {
        for shop in &self.shops {
            shop.until_ready().await;
        }
        let pages = self.shops.iter().flat_map(|shop| {
            PRODUCTS.map(|product| async move {
                let cents = self.ledger.current(product);
                let is_current = |page: &Answer| page.status == 200 && price_on(page) == cents;
                shop.until(&page_of(product), is_current).await;
            })
        });
        let current = tokio::time::timeout(LONG, join_all(pages)).await;
        current.expect("every shop shows every price in time");
        self.heal(world).await;
    }

    /// Redis is found again too: pages come out of what is stored, which a shop without it would not dare, and nothing is left to be told.
    async fn heal(&self, world: &World) {
        for shop in &self.shops {
            shop.until_it_stores().await;
        }
        world.until_all_is_told().await;
    }

    /// One order for each key, as it was answered, and one charge for each order.
    async fn check(&self, world: &World) {
        let placed = self.placed.lock().unwrap().clone();
        let charges = world.payments.charges();
        for shop in &self.shops {
            let orders = shop.get("/orders").await.unwrap().json();
            let orders = orders.as_array().unwrap();
            assert_eq!(orders.len(), placed.len(), "one order for each key");
            for (key, order) in &placed {
                assert!(orders.contains(order), "{key} is lost: {order}");
                let charged = charges.get(order["payment"].as_str().unwrap());
                let booked = order["total_cents"].as_u64();
                assert_eq!(
                    charged.copied(),
                    booked,
                    "{key} is booked for what was charged"
                );
            }
        }
        assert_eq!(charges.len(), placed.len(), "one charge for each order");
        let (orders, due, latest) = (placed.len(), self.ledger.due(), self.ledger.latest());
        examples::say(format_args!(
            "{orders} orders, one charge each; {due} reads had to see a price, which was seen {latest:?} late at the latest"
        ));
    }
}

struct Readers {
    ending: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Readers {
    /// Ends the readers, and fails if one has seen what it may not.
    async fn shutdown_and_check(self) {
        self.ending.send_replace(true);
        self.tasks.join_all().await;
    }
}
