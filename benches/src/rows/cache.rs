//! A hit of the HTTP cache over a service that clones a ready response, both read to the end.

use buttress_cache::http::{CachedResponse, HttpCacheLayer};
use tower_layer::Layer;

use super::http::{Fixed, request, response};
use crate::kit::{Budget, Call, Row, Work, Zero, body_to_end, call};

/// The same budget for a small body and for a big one: a hit does not touch its bytes.
pub const ROWS: &[Row] = &[
    Row::Call(Call {
        id: "cache/hit/ours-1k",
        budget: Some(Budget::new(400.0, 0)),
        zero: Zero::Over(|| bare(1 << 10)),
        work: || hit(1 << 10),
    }),
    Row::Call(Call {
        id: "cache/hit/ours-64k",
        budget: Some(Budget::new(400.0, 0)),
        zero: Zero::Over(|| bare(64 << 10)),
        work: || hit(64 << 10),
    }),
];

fn bare(len: usize) -> Work {
    let (mut service, request) = (Fixed::new(response(len)), request(&[]));
    Work::new(move || {
        let Ok(response) = call(&mut service, request.clone());
        body_to_end(response)
    })
}

fn hit(len: usize) -> Work {
    let layer = HttpCacheLayer::new(CachedResponse::cache().build());
    let (mut service, request) = (layer.layer(Fixed::new(response(len))), request(&[]));
    let Ok(filled) = call(&mut service, request.clone());
    assert_eq!(body_to_end(filled), len);
    let Ok(again) = call(&mut service, request.clone());
    assert!(
        again.headers().contains_key("age"),
        "it came from the store"
    );
    Work::new(move || {
        let Ok(response) = call(&mut service, request.clone());
        body_to_end(response)
    })
}
