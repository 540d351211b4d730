//! A hit, read to its end: by first level, and by threads that ask for the same.

use benches::kit::{body_to_end, call};
use benches::rows::http::{Fixed, request, response};
use buttress_cache::http::{CachedResponse, HttpCacheLayer};
use buttress_cache::{Eviction, Memory};
use criterion::Criterion;
use tower_layer::Layer;

use super::threads::both_ways;

const MEMORIES: [(&str, Memory); 3] = [
    ("quick", Memory::QuickCache),
    ("moka", Memory::Moka(Eviction::TinyLfu)),
    ("moka-lru", Memory::Moka(Eviction::Lru)),
];

pub(super) fn hits(criterion: &mut Criterion) {
    for (size, len) in [("1k", 1 << 10), ("64k", 64 << 10)] {
        let service = Fixed::new(response(len));
        let id = format!("http-cache/first-level-{size}/bare");
        both_ways(criterion, &id, || {
            let (mut service, request) = (service.clone(), request(&[]));
            move || {
                let Ok(response) = call(&mut service, request.clone());
                body_to_end(response);
            }
        });
    }
    for (name, memory) in MEMORIES {
        for (size, len) in [("1k", 1 << 10), ("64k", 64 << 10)] {
            let cache = CachedResponse::cache().memory(memory).build();
            let layer = HttpCacheLayer::new(cache);
            let service = layer.layer(Fixed::new(response(len)));
            let Ok(filled) = call(&mut service.clone(), request(&[]));
            assert_eq!(body_to_end(filled), len);
            let id = format!("http-cache/first-level-{size}/{name}");
            both_ways(criterion, &id, || {
                let (mut service, request) = (service.clone(), request(&[]));
                move || {
                    let Ok(response) = call(&mut service, request.clone());
                    body_to_end(response);
                }
            });
        }
    }
}
