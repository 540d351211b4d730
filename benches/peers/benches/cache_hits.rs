//! How much of what is asked for is there, at the same room: a table, and no times. `cargo bench --bench cache_hits`.
//!
//! Values of 4000 bytes, and what each counts: keys and values, ours also what an entry takes beside them. Those who count entries and not bytes have
//! room for as many as fit. On a miss the value is put in.

use std::sync::Arc;

use buttress_cache::{Cache, Eviction, Memory};

const VALUE: usize = 4000;
/// What may be asked for.
const KEYS: usize = 100_000;
const ASKED: usize = 1_000_000;

type Bytes = Arc<Vec<u8>>;

/// Looks up a key, and puts it in if it is not there. Tells whether it was.
type Ask = Box<dyn FnMut(&str) -> bool>;

fn value() -> Bytes {
    Arc::new(vec![7; VALUE])
}

fn weight(key: &str) -> usize {
    key.len() + VALUE
}

fn ours(memory: Memory, room: usize) -> Ask {
    let cache = Cache::<Bytes>::builder()
        .memory(memory)
        .max_weight(room as u64)
        .weigher(|_, value| value.len())
        .build();
    Box::new(move |key| {
        let there = cache.get(key).now().is_some();
        if !there {
            cache.set(key, value()).store();
        }
        there
    })
}

fn moka(room: usize) -> Ask {
    let cache = moka::sync::Cache::<String, Bytes>::builder()
        .max_capacity(room as u64)
        .weigher(|key, _| weight(key) as u32)
        .build();
    Box::new(move |key| {
        let there = cache.get(key).is_some();
        if !there {
            cache.insert(key.to_owned(), value());
        }
        there
    })
}

#[derive(Clone)]
struct ByWeight;

impl quick_cache::Weighter<String, Bytes> for ByWeight {
    fn weight(&self, key: &String, _: &Bytes) -> u64 {
        weight(key) as u64
    }
}

fn quick(room: usize) -> Ask {
    let cache = quick_cache::sync::Cache::with_weighter(room / VALUE, room as u64, ByWeight);
    Box::new(move |key| {
        let there = cache.get(key).is_some();
        if !there {
            cache.insert(key.to_owned(), value());
        }
        there
    })
}

fn foyer(room: usize) -> Ask {
    let cache: foyer::Cache<String, Bytes> = foyer::CacheBuilder::new(room)
        .with_weighter(|key: &String, _: &Bytes| weight(key))
        .build();
    Box::new(move |key| {
        let there = cache.get(key).is_some();
        if !there {
            drop(cache.insert(key.to_owned(), value()));
        }
        there
    })
}

fn cached(room: usize) -> Ask {
    let cache = cached::ShardedLruCache::<String, Bytes>::new(room / weight("product:12345"));
    Box::new(move |key| {
        let there = cache.get(key).is_some();
        if !there {
            drop(cache.set(key.to_owned(), value()));
        }
        there
    })
}

/// Keys as the popular ones of a shop: the n-th is asked for in proportion to 1/n^`skew`.
fn zipf(skew: f64) -> impl Iterator<Item = usize> {
    let mut sum = 0.0;
    let sums: Vec<f64> = (1..=KEYS)
        .map(|n| {
            sum += (n as f64).powf(-skew);
            sum
        })
        .collect();
    let mut random = Random(42);
    std::iter::repeat_with(move || {
        let at = random.next() * sum;
        sums.partition_point(|sum| *sum < at).min(KEYS - 1)
    })
    .take(ASKED)
}

/// The same, and every now and then somebody walks through everything that is asked for seldom.
fn scan(skew: f64) -> impl Iterator<Item = usize> {
    zipf(skew).enumerate().map(|(n, key)| match n % 20_000 {
        0..10_000 => key,
        walks => KEYS + walks + n / 20_000 * 10_000,
    })
}

/// SplitMix64, between 0 and 1.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn ratio(mut ask: Ask, trace: impl Iterator<Item = usize>) -> f64 {
    let mut hits = 0_u32;
    for key in trace {
        hits += u32::from(ask(&format!("product:{key}")));
    }
    f64::from(hits) / ASKED as f64
}

/// What it is called, and how it is made with room for so much.
type Peer = (&'static str, fn(usize) -> Ask);

fn main() {
    let peers: [Peer; 7] = [
        ("ours", |room| ours(Memory::QuickCache, room)),
        ("ours, moka", |room| {
            ours(Memory::Moka(Eviction::TinyLfu), room)
        }),
        ("ours, moka, LRU", |room| {
            ours(Memory::Moka(Eviction::Lru), room)
        }),
        ("moka", moka),
        ("quick_cache", quick),
        ("foyer", foyer),
        ("cached (LRU)", cached),
    ];
    println!(
        "| | Zipf 0.9, 1 % | Zipf 0.9, 10 % | Zipf 0.9 and a scan, 1 % | Zipf 0.9 and a scan, 10 % |"
    );
    println!("|---|---|---|---|---|");
    for (name, peer) in peers {
        let room = |share: usize| KEYS * weight("product:12345") * share / 100;
        let ratios = [
            ratio(peer(room(1)), zipf(0.9)),
            ratio(peer(room(10)), zipf(0.9)),
            ratio(peer(room(1)), scan(0.9)),
            ratio(peer(room(10)), scan(0.9)),
        ];
        let [a, b, c, d] = ratios.map(|ratio| format!("{:.1} %", 100.0 * ratio));
        println!("| {name} | {a} | {b} | {c} | {d} |");
    }
}
