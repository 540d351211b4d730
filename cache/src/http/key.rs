//! What a stored response is found by: its target, and the request fields it varies by (RFC 9111, sections 2 and 4.1).

use std::cell::RefCell;
use std::sync::Arc;

use buttress_wire::fields::list;
use buttress_wire::key::KeyBuilder;
use http::header::{HeaderMap, HeaderName, VARY};
use http::request;

/// The primary key: partition, scheme, authority, path and query.
pub(super) fn write_primary(key: &mut Vec<u8>, partition: &[u8], parts: &request::Parts) {
    KeyBuilder::new(key).part(partition).target(parts);
}

/// The primary keys of a target under either scheme: an unsafe request may come by another protocol version than what was stored.
pub(super) fn either_scheme(partition: &[u8], parts: &request::Parts) -> [Vec<u8>; 2] {
    ["http", "https"].map(|scheme| {
        let mut key = Vec::new();
        KeyBuilder::new(&mut key)
            .part(partition)
            .target_as(scheme, parts);
        key
    })
}

/// The secondary key of a request: the primary one, and what the request says in the selecting fields.
pub(super) fn write_variant(
    key: &mut Vec<u8>,
    primary: &[u8],
    selecting: &[HeaderName],
    request: &HeaderMap,
) {
    key.extend_from_slice(primary);
    let mut builder = KeyBuilder::new(key);
    builder.part("vary");
    for name in selecting {
        builder.part(name.as_str()).field(request, name);
    }
}

/// Runs `f` with an empty buffer that this thread keeps: a hit writes its keys without allocating.
pub(super) fn with_buffer<T>(f: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    thread_local! {
        static BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    }
    // Taken out, so that `f` may come back here.
    let mut buffer = BUFFERS.with_borrow_mut(Vec::pop).unwrap_or_default();
    buffer.clear();
    let result = f(&mut buffer);
    if buffer.capacity() <= KEPT {
        BUFFERS.with_borrow_mut(|buffers| buffers.push(buffer));
    }
    result
}

/// A larger buffer than this is for a rare request, and given back.
const KEPT: usize = 16 * 1024;

/// The selecting fields of a response, each once, in order. `None` when there are none; a name that no field can have selects
/// nothing.
pub(super) fn selecting(headers: &HeaderMap) -> Option<Arc<[HeaderName]>> {
    let mut names: Vec<_> = list(headers, VARY)
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .collect();
    names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    (!names.is_empty()).then(|| names.into())
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};

    use super::*;

    fn primary(partition: &str, uri: &str, host: &str) -> Vec<u8> {
        let request = Request::get(uri).header("host", host).body(()).unwrap();
        let mut key = Vec::new();
        write_primary(&mut key, partition.as_bytes(), &request.into_parts().0);
        key
    }

    #[test]
    fn everything_that_an_origin_may_tell_apart_is_apart() {
        let base = primary("", "/a", "h");
        for other in [
            primary("t", "/a", "h"),
            primary("", "/a?", "h"),
            primary("", "/a/", "h"),
            primary("", "/A", "h"),
            primary("", "/a", "i"),
            primary("", "https://h/a", "h"),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn selecting_fields_are_a_set() {
        let of = |lines: &[&'static str]| {
            let lines = lines
                .iter()
                .map(|line| (VARY, HeaderValue::from_static(line)));
            selecting(&lines.collect())
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[", ,"]), None);
        assert_eq!(of(&["Accept, origin", "accept"]), of(&["origin", "ACCEPT"]));
    }
}
