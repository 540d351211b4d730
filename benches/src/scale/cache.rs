//! Values and their tags; responses and their bodies.

use buttress_cache::http::{CachedResponse, HttpCacheLayer};
use buttress_cache::{Cache, Eviction, Memory};
use http::Uri;
use tower_layer::Layer;

use super::{Curve, Order};
use crate::kit::{Work, body_to_end, call};
use crate::rows::http::{Fixed, request, response};

pub(super) const CURVES: &[Curve] = &[
    Curve {
        id: "cache/get/keys",
        unit: "keys",
        sizes: &[10, 100, 1000, 10_000, 100_000, 1_000_000],
        order: Order::Constant,
        is_filled: true,
        work: |keys| get_one_of(Memory::default(), keys),
    },
    Curve {
        id: "cache/get/keys-moka",
        unit: "keys",
        sizes: &[10, 100, 1000, 10_000, 100_000, 1_000_000],
        order: Order::Constant,
        is_filled: true,
        work: |keys| get_one_of(Memory::Moka(Eviction::TinyLfu), keys),
    },
    Curve {
        id: "cache/get/tags",
        unit: "tags of the value",
        sizes: &[1, 4, 16, 64],
        order: Order::Linear,
        is_filled: false,
        work: get_tagged,
    },
    Curve {
        id: "cache/set/tags",
        unit: "tags of the value",
        sizes: &[1, 4, 16, 64],
        order: Order::Linear,
        is_filled: false,
        work: set_tagged,
    },
    Curve {
        id: "cache/invalidate/tags",
        unit: "tags at once",
        sizes: &[1, 4, 16, 64],
        order: Order::Linear,
        is_filled: false,
        work: invalidate,
    },
    Curve {
        id: "cache/hit/responses",
        unit: "responses",
        sizes: &[10, 100, 1000, 10_000, 100_000],
        order: Order::Constant,
        is_filled: true,
        work: hit_one_of,
    },
    Curve {
        id: "cache/hit/body",
        unit: "bytes of body",
        sizes: &[1 << 10, 1 << 14, 1 << 18, 1 << 22],
        order: Order::Constant,
        is_filled: false,
        work: hit_big,
    },
];

/// More than all that is put in.
const ROOM: u64 = 4 << 30;
const KEY: &str = "product:42";

fn get_one_of(memory: Memory, keys: usize) -> Work {
    let cache = Cache::builder().memory(memory).max_weight(ROOM).build();
    let names: Vec<String> = (0..keys).map(|n| format!("product:{n:07}")).collect();
    for name in &names {
        cache.set(name, 7_u64).tags(["shop:1"]).store();
    }
    let mut next = 0;
    Work::new(move || {
        next = (next + 1) % keys;
        cache.get(&names[next]).now().expect("it is there")
    })
}

fn tags(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("category:{n:02}")).collect()
}

/// There is a reason to look at each tag: something was invalidated since.
fn get_tagged(count: usize) -> Work {
    let cache: Cache<u64> = Cache::builder().build();
    cache.set(KEY, 7).tags(tags(count)).store();
    cache.invalidate(["shop:2"]).now();
    Work::new(move || cache.get(KEY).now().expect("it is there"))
}

fn set_tagged(count: usize) -> Work {
    let (cache, tags): (Cache<u64>, _) = (Cache::builder().build(), tags(count));
    Work::new(move || cache.set(KEY, 7).tags(tags.iter().cloned()).store())
}

fn invalidate(count: usize) -> Work {
    let (cache, tags): (Cache<u64>, _) = (Cache::builder().build(), tags(count));
    Work::new(move || cache.invalidate(tags.iter().cloned()).now())
}

/// Hits of so many responses, one after the other.
fn hit_one_of(responses: usize) -> Work {
    let stored = CachedResponse::cache().max_weight(ROOM).build();
    let layer = HttpCacheLayer::new(stored);
    let mut service = layer.layer(Fixed::new(response(100)));
    let uri = |n: usize| format!("http://shop.example/products/{n:07}");
    let uris: Vec<Uri> = (0..responses)
        .map(|n| uri(n).parse().expect("a URI"))
        .collect();
    let (template, mut next) = (request(&[]), 0);
    let mut once = move || {
        let mut request = template.clone();
        *request.uri_mut() = uris[next].clone();
        next = (next + 1) % responses;
        let Ok(response) = call(&mut service, request);
        let is_hit = response.headers().contains_key("age");
        body_to_end(response);
        is_hit
    };
    assert!((0..responses).all(|_| !once()), "all of them are new");
    Work::new(move || assert!(once()))
}

fn hit_big(bytes: usize) -> Work {
    let stored = CachedResponse::cache().max_weight(ROOM).build();
    let layer = HttpCacheLayer::new(stored);
    let (mut service, request) = (layer.layer(Fixed::new(response(bytes))), request(&[]));
    let Ok(filled) = call(&mut service, request.clone());
    body_to_end(filled);
    Work::new(move || {
        let Ok(response) = call(&mut service, request.clone());
        assert!(response.headers().contains_key("age"));
        body_to_end(response)
    })
}
