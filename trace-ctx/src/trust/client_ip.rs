//! The address of a client behind proxies of ours.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, header};

use super::peer::{Networks, peer};
use crate::Head;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Finds the address of a client behind proxies of ours.
///
/// Read from right to left: what a proxy of ours added is believed, and what stands left of the first address that is not
/// ours was written by a stranger. Only one of the two fields is looked at: the one that our proxies set.
#[derive(Clone, Debug)]
pub struct ClientIp {
    proxies: Networks,
    field: Field,
}

#[derive(Clone, Copy, Debug)]
enum Field {
    XForwardedFor,
    Forwarded,
}

impl ClientIp {
    /// Behind proxies in these networks that add to `x-forwarded-for`.
    #[must_use]
    pub const fn x_forwarded_for(proxies: Networks) -> Self {
        Self {
            proxies,
            field: Field::XForwardedFor,
        }
    }

    /// Behind proxies in these networks that add to `forwarded` (RFC 7239).
    #[must_use]
    pub const fn forwarded(proxies: Networks) -> Self {
        Self {
            proxies,
            field: Field::Forwarded,
        }
    }

    /// The client's address; the peer's where the peer is no proxy of ours, and the last that is known where a
    /// proxy did not tell a valid one. `None` if not even [the peer's](crate::PeerAddr) is known.
    #[must_use]
    pub fn of(&self, head: &Head<'_>) -> Option<IpAddr> {
        let mut known = peer(head)?;
        let mut hops = self.field.hops(head.headers);
        while self.proxies.contain(known) {
            match hops.next().and_then(|hop| self.field.address(hop)) {
                Some(address) => known = address,
                None => break,
            }
        }
        Some(known)
    }
}

impl Field {
    /// What each proxy added, the last one first.
    fn hops(self, headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
        let name = match self {
            Self::XForwardedFor => &X_FORWARDED_FOR,
            Self::Forwarded => &header::FORWARDED,
        };
        // The older one knows no quotes.
        let quotes = matches!(self, Self::Forwarded);
        let lines = headers.get_all(name).iter().rev();
        lines.flat_map(move |line| FromTheEnd::of(line.as_bytes(), b',', quotes))
    }

    fn address(self, hop: &[u8]) -> Option<IpAddr> {
        // What is no text is no address, and hides nothing but itself.
        let text = |bytes| std::str::from_utf8(bytes).map(str::trim).ok();
        match self {
            Self::XForwardedFor => address(text(hop)?),
            Self::Forwarded => {
                let pairs = FromTheEnd::of(hop, b';', true).filter_map(text);
                let mut pairs = pairs.filter_map(|pair| pair.split_once('='));
                let (_, node) = pairs.find(|(key, _)| key.eq_ignore_ascii_case("for"))?;
                let inside = node
                    .strip_prefix('"')
                    .and_then(|node| node.strip_suffix('"'));
                address(inside.unwrap_or(node))
            }
        }
    }
}

/// The parts of a list from its end, where what our proxies added stands, split outside of quoted strings: a proxy quotes what a
/// stranger sent it, such as a host, and that must not become a hop.
///
/// What a stranger began to the left of it, such as a string that does not end, is not come to before.
struct FromTheEnd<'a> {
    rest: Option<&'a [u8]>,
    separator: u8,
    quotes: bool,
}

impl<'a> FromTheEnd<'a> {
    fn of(list: &'a [u8], separator: u8, quotes: bool) -> Self {
        Self {
            rest: Some(list),
            separator,
            quotes,
        }
    }

    /// Where the last separator stands that is in no string.
    fn split_at(&self, list: &[u8]) -> Option<usize> {
        let mut is_quoted = false;
        (0..list.len()).rev().find(|&at| {
            if self.quotes && list[at] == b'"' && !is_escaped(&list[..at]) {
                is_quoted = !is_quoted;
            }
            list[at] == self.separator && !is_quoted
        })
    }
}

impl<'a> Iterator for FromTheEnd<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let list = self.rest.take()?;
        let Some(at) = self.split_at(list) else {
            return Some(list);
        };
        self.rest = Some(&list[..at]);
        Some(&list[at + 1..])
    }
}

/// Whether the byte behind these is escaped: by an odd number of backslashes.
fn is_escaped(before: &[u8]) -> bool {
    let backslashes = before.iter().rev().take_while(|byte| **byte == b'\\');
    backslashes.count() % 2 == 1
}

/// An address, with or without a port, IPv6 with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = || text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let address = bare().or_else(with_port).or_else(in_brackets)?;
    Some(address.to_canonical())
}
