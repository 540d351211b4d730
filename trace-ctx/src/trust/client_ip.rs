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
    fn hops(self, headers: &HeaderMap) -> impl Iterator<Item = &str> {
        let name = match self {
            Self::XForwardedFor => &X_FORWARDED_FOR,
            Self::Forwarded => &header::FORWARDED,
        };
        let lines = headers.get_all(name).iter().rev();
        lines.flat_map(move |line| {
            let line = line.to_str().unwrap_or("?");
            // The older one knows no quotes: a stranger's would hide what our proxies added after it.
            let is_plain = matches!(self, Self::XForwardedFor);
            let plain = is_plain.then(|| line.rsplit(','));
            let quoted = (!is_plain).then(|| unquoted(line, ',').collect::<Vec<_>>());
            let quoted = quoted.into_iter().flat_map(|hops| hops.into_iter().rev());
            plain.into_iter().flatten().chain(quoted)
        })
    }

    fn address(self, hop: &str) -> Option<IpAddr> {
        match self {
            Self::XForwardedFor => address(hop.trim()),
            Self::Forwarded => {
                let mut pairs = unquoted(hop, ';').filter_map(|pair| pair.trim().split_once('='));
                let (_, node) = pairs.find(|(key, _)| key.eq_ignore_ascii_case("for"))?;
                let inside = node
                    .strip_prefix('"')
                    .and_then(|node| node.strip_suffix('"'));
                address(inside.unwrap_or(node))
            }
        }
    }
}

/// Splits outside of quoted strings: a proxy quotes what a stranger sent it, such as a host, and that must not become a hop.
/// A string that does not end takes the rest of the line with it, which is then no address.
fn unquoted(list: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    list.split(move |char| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match char {
            '\\' if is_quoted && !was_escaped => is_escaped = true,
            '"' if !was_escaped => is_quoted = !is_quoted,
            _ => {}
        }
        char == separator && !is_quoted
    })
}

/// An address, with or without a port, IPv6 with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = || text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let address = bare().or_else(with_port).or_else(in_brackets)?;
    Some(address.to_canonical())
}
