//! What a stored response is found by: its target (RFC 9111, section 2).

use std::cell::RefCell;

use buttress_wire::key::KeyBuilder;
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

#[cfg(test)]
mod tests {
    use http::Request;

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
}
