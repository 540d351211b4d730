//! Trust by who is at the other end: its address, or a secret it knows.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use http::{HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::secret::Secret;
use crate::{Head, Trust, TrustPolicy};

/// The address at the other end of the connection, for the extensions of requests: whoever accepts connections knows it.
///
/// With the feature `axum`, its `ConnectInfo<SocketAddr>` is found as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddr(pub SocketAddr);

/// Some networks: `10.0.0.0/8, ::1`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

/// Not a list of addresses and networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidNetwork(String);

/// Trusts callers by where they connect from.
#[derive(Clone, Debug)]
pub struct PeerIn<P = Trust> {
    networks: Networks,
    others: P,
}

/// Trusts callers that send a secret.
#[derive(Clone, Debug)]
pub struct SharedSecret<P = Trust> {
    name: HeaderName,
    secret: Secret,
    others: P,
}

impl PeerIn {
    /// The traces of callers in these networks go on; any other caller's, also one of whom no address is known, is
    /// [linked](Trust::Link).
    #[must_use]
    pub fn new(networks: Networks) -> Self {
        Self {
            networks,
            others: Trust::Link,
        }
    }
}

impl<P> PeerIn<P> {
    /// What is done with other callers.
    #[must_use]
    pub fn or<Q: TrustPolicy>(self, others: Q) -> PeerIn<Q> {
        PeerIn {
            networks: self.networks,
            others,
        }
    }
}

impl SharedSecret {
    /// The traces of callers that send exactly this value in this field go on; any other caller's is [linked](Trust::Link).
    ///
    /// The values are compared in a time that tells nothing of the secret but its length. An empty secret matches nothing. The field
    /// stays in the request.
    #[must_use]
    pub fn new(name: HeaderName, secret: &HeaderValue) -> Self {
        Self {
            name,
            secret: Secret::new(secret),
            others: Trust::Link,
        }
    }
}

impl<P> SharedSecret<P> {
    /// What is done with other callers.
    #[must_use]
    pub fn or<Q: TrustPolicy>(self, others: Q) -> SharedSecret<Q> {
        SharedSecret {
            name: self.name,
            secret: self.secret,
            others,
        }
    }
}

impl<P: TrustPolicy> TrustPolicy for PeerIn<P> {
    fn trust(&self, head: &Head<'_>) -> Trust {
        match peer(head) {
            Some(peer) if self.networks.contain(peer) => Trust::Continue,
            _ => self.others.trust(head),
        }
    }
}

impl<P: TrustPolicy> TrustPolicy for SharedSecret<P> {
    fn trust(&self, head: &Head<'_>) -> Trust {
        if self.secret.is_in(head.headers, &self.name) {
            Trust::Continue
        } else {
            self.others.trust(head)
        }
    }
}

/// The peer's address, as IPv4 where it is one in IPv6's clothes.
pub(crate) fn peer(head: &Head<'_>) -> Option<IpAddr> {
    let ours = head.extensions.get().map(|PeerAddr(peer)| *peer);
    #[cfg(feature = "axum")]
    let ours = ours.or_else(|| {
        type Info = axum::extract::ConnectInfo<SocketAddr>;
        head.extensions.get().map(|info: &Info| info.0)
    });
    ours.map(|peer| peer.ip().to_canonical())
}

impl Networks {
    pub(crate) fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl FromStr for Networks {
    type Err = InvalidNetwork;

    /// Networks and single addresses, separated by commas.
    fn from_str(list: &str) -> Result<Self, InvalidNetwork> {
        let parts = list
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        let network = |part: &str| {
            let single = || {
                part.parse::<IpAddr>()
                    .map(|address| IpNet::from(address.to_canonical()))
            };
            let parsed = part.parse().map(as_peers_are).or_else(|_| single());
            parsed.map_err(|_| InvalidNetwork(part.to_owned()))
        };
        parts.map(network).collect::<Result<_, _>>().map(Self)
    }
}

/// A network of IPv4 in IPv6's clothes, as IPv4: so are the addresses that are looked for in it.
fn as_peers_are(network: IpNet) -> IpNet {
    const CLOTHES: u8 = 96;
    let (address, length) = (network.network(), network.prefix_len());
    match (address.to_canonical(), length.checked_sub(CLOTHES)) {
        (bare @ IpAddr::V4(_), Some(length)) => IpNet::new(bare, length).unwrap_or(network),
        _ => network,
    }
}

impl fmt::Display for InvalidNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is neither an address nor a network", self.0)
    }
}

impl Error for InvalidNetwork {}
