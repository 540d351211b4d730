//! A value that is written to the second level and read again, over one that is in the same process: what remains is what codecs and compression cost.

use std::time::Duration;

use buttress_cache::Cache;
use buttress_cache::l2::simulated::Simulated;
use buttress_cache::l2::{Codec, Compression, Json, MessagePack, Postcard, Raw, SecondLevel};
use bytes::Bytes;
use criterion::Criterion;
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};

const SIZES: [(&str, usize); 2] = [("1k", 1 << 10), ("64k", 64 << 10)];

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Product {
    id: u64,
    name: String,
    price: u64,
    tags: Vec<String>,
    description: String,
}

impl Product {
    fn of(size: usize) -> Self {
        Self {
            id: 4711,
            name: "Flying buttress, limestone".to_owned(),
            price: 129_900,
            tags: ["stone", "gothic", "outdoor"].map(str::to_owned).into(),
            description: text(size),
        }
    }
}

/// As compressible as prose is, more or less.
fn text(size: usize) -> String {
    const WORDS: [&str; 8] = [
        "wall ", "arch ", "stone ", "thrust ", "carries ", "the ", "load ", "of ",
    ];
    let mut next = 1_u32;
    let mut text = String::with_capacity(size + 8);
    while text.len() < size {
        next = next.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        text.push_str(WORDS[(next >> 16) as usize % WORDS.len()]);
    }
    text
}

/// Each codec, with the same value.
pub(super) fn codecs(criterion: &mut Criterion) {
    for (name, size) in SIZES {
        let bytes = Bytes::from(text(size));
        codec(criterion, &format!("raw-{name}"), &bytes, Raw);
        let product = Product::of(size);
        codec(criterion, &format!("json-{name}"), &product, Json);
        codec(
            criterion,
            &format!("messagepack-{name}"),
            &product,
            MessagePack,
        );
        codec(criterion, &format!("postcard-{name}"), &product, Postcard);
    }
}

fn codec<V>(criterion: &mut Criterion, name: &str, value: &V, codec: impl Codec<V>) {
    criterion.bench_function(&format!("cache/codec-encode/{name}"), |bencher| {
        bencher.iter(|| codec.encode(value).unwrap());
    });
    let bytes = codec.encode(value).unwrap();
    criterion.bench_function(&format!("cache/codec-decode/{name}"), |bencher| {
        bencher.iter(|| codec.decode(bytes.clone()).unwrap());
    });
}

/// Each compression: one `set` and one read past the memory, of text.
pub(super) fn compression(criterion: &mut Criterion) {
    // Its own thread keeps the clock of the second level current, also while criterion counts.
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let kinds = [
        ("off", Compression::Off),
        ("lz4", Compression::Lz4 { over: 512 }),
        (
            "zstd-1",
            Compression::Zstd {
                over: 512,
                level: 1,
            },
        ),
        (
            "zstd-3",
            Compression::Zstd {
                over: 512,
                level: 3,
            },
        ),
    ];
    for (name, size) in SIZES {
        let value = Bytes::from(text(size));
        for (kind, compression) in kinds {
            let cache = runtime.block_on(cache(compression));
            let id = format!("cache/l2-simulated/{kind}-{name}");
            there_and_back(criterion, &runtime, &id, &cache, &value);
        }
    }
}

async fn cache(compression: Compression) -> Cache<Bytes> {
    let level = SecondLevel::new(Simulated::new().link(), Raw).compression(compression);
    // That the machine is busy is no reason to give up here.
    let level = level.timeout(Duration::from_secs(10));
    let cache = Cache::builder().slots(1024).l2(level).build();
    current(&cache).await;
    cache
}

/// Waits until what the second level has is believed.
async fn current(cache: &Cache<Bytes>) {
    while cache.snapshot().lag.is_none() {
        tokio::task::yield_now().await;
    }
}

fn there_and_back(
    criterion: &mut Criterion,
    runtime: &Runtime,
    id: &str,
    cache: &Cache<Bytes>,
    value: &Bytes,
) {
    criterion.bench_function(id, |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                loop {
                    cache.set("key", value.clone()).await;
                    let read =
                        cache.get_or_set("key", |_| async { Err::<Option<Bytes>, _>("not there") });
                    match read.skip_memory().await {
                        Ok(value) => return value,
                        // The machine has stood still for longer than the second level may.
                        Err(_) => current(cache).await,
                    }
                }
            })
        });
    });
}
