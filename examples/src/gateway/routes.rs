//! Which request goes to which upstream.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::Uri;
use http::uri::{Authority, PathAndQuery};
use serde::Deserialize;

/// Prefixes of paths and their upstreams. The longest prefix counts, whole segments of it: `/shop` is for `/shop` and `/shop/1`, and not for `/shopping`.
#[derive(Debug)]
pub(crate) struct Routes(Vec<Route>);

#[derive(Debug)]
pub(crate) struct Route {
    prefix: String,
    upstreams: Vec<Arc<Upstream>>,
    /// Counts, so that each has its turn.
    turns: AtomicUsize,
}

/// A server that requests are passed on to.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) authority: Authority,
    /// It was asked how it is.
    watched: AtomicBool,
    serving: AtomicBool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    route: Vec<Line>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    prefix: String,
    /// One, or several with commas between.
    upstream: String,
}

/// What is wrong with a route.
#[derive(Debug)]
pub(crate) struct Wrong(String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Routes {
    pub(crate) fn read(path: &Path, rest: &[Uri]) -> Result<Self, Wrong> {
        let wrong = |what: &dyn fmt::Display| Wrong(format!("{}: {what}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
        let mut routes = Self::parse(&text).map_err(|error| wrong(&error))?;
        if !rest.is_empty() {
            routes.add(Route::all(rest)?)?;
        }
        match routes.0.is_empty() {
            true => Err(wrong(&"it has no route, and no --upstream is for the rest")),
            false => Ok(routes),
        }
    }

    /// These upstreams for everything.
    pub(crate) fn all(upstreams: &[Uri]) -> Result<Self, Wrong> {
        Ok(Self(vec![Route::all(upstreams)?]))
    }

    fn parse(text: &str) -> Result<Self, Wrong> {
        let file: File = toml::from_str(text).map_err(|error| Wrong(error.to_string()))?;
        let mut routes = Self(Vec::new());
        for line in file.route {
            if !line.prefix.starts_with('/') {
                let prefix = line.prefix;
                return Err(Wrong(format!(
                    "the prefix {prefix:?} does not begin with a slash"
                )));
            }
            let prefix = line.prefix.trim_end_matches('/').to_owned();
            let mut upstreams = Vec::new();
            for url in line.upstream.split(',') {
                let upstream = Upstream::parse(url.trim())?;
                // Two routes to one server share its breaker.
                let known = routes.upstreams().find(|known| ***known == upstream);
                let known = known.cloned();
                upstreams.push(known.unwrap_or_else(|| Arc::new(upstream)));
            }
            routes.add(Route::new(prefix, upstreams))?;
        }
        Ok(routes)
    }

    /// Of two with one prefix the second would never have a turn.
    fn add(&mut self, route: Route) -> Result<(), Wrong> {
        if self.0.iter().any(|known| known.prefix == route.prefix) {
            let prefix = route.prefix;
            return Err(Wrong(format!("there are two routes for \"{prefix}/\"")));
        }
        self.0.push(route);
        Ok(())
    }

    pub(crate) fn find(&self, path: &str) -> Option<&Route> {
        let fits = self.0.iter().filter(|route| route.fits(path));
        fits.max_by_key(|route| route.prefix.len())
    }

    /// Each upstream once.
    pub(crate) fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        let all = || self.0.iter().flat_map(|route| &route.upstreams);
        let is_first =
            move |(at, one): &(usize, &Arc<Upstream>)| all().take(*at).all(|before| before != *one);
        all().enumerate().filter(is_first).map(|(_, one)| one)
    }
}

impl Route {
    fn new(prefix: String, upstreams: Vec<Arc<Upstream>>) -> Self {
        Self {
            prefix,
            upstreams,
            turns: AtomicUsize::new(0),
        }
    }

    fn all(upstreams: &[Uri]) -> Result<Self, Wrong> {
        let upstreams = upstreams.iter().map(|url| Upstream::new(url).map(Arc::new));
        Ok(Self::new(
            String::new(),
            upstreams.collect::<Result<_, _>>()?,
        ))
    }

    /// The upstream whose turn it is, of those that are usable; if none is, of all.
    pub(crate) fn next(&self, is_usable: impl Fn(&Upstream) -> bool) -> &Arc<Upstream> {
        if let [only] = &*self.upstreams {
            return only;
        }
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        let usable = || self.upstreams.iter().filter(|upstream| is_usable(upstream));
        let found = match usable().count() {
            0 => None,
            // It may have become unusable since it was counted.
            count => usable().nth(turn % count),
        };
        found.unwrap_or(&self.upstreams[turn % self.upstreams.len()])
    }

    fn fits(&self, path: &str) -> bool {
        let rest = path.strip_prefix(&*self.prefix);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
            || (self.prefix.is_empty() && path == "*")
    }
}

/// Of the same server.
impl PartialEq for Upstream {
    fn eq(&self, other: &Self) -> bool {
        self.authority == other.authority
    }
}

impl Upstream {
    fn parse(url: &str) -> Result<Self, Wrong> {
        let url: Uri = url
            .parse()
            .map_err(|error| Wrong(format!("the upstream {url:?}: {error}")))?;
        Self::new(&url)
    }

    fn new(url: &Uri) -> Result<Self, Wrong> {
        let plain = url.scheme_str() == Some("http") && matches!(url.path(), "" | "/");
        match url.authority() {
            // A user would be sent to nobody, and told in the snapshot.
            Some(authority)
                if plain && url.query().is_none() && !authority.as_str().contains('@') =>
            {
                Ok(Self {
                    authority: authority.clone(),
                    watched: AtomicBool::new(false),
                    serving: AtomicBool::new(true),
                })
            }
            _ => Err(Wrong(format!(
                "the upstream {url} is not of the form http://host:port, without a user, a path, or TLS"
            ))),
        }
    }

    /// As it is written: where a name leads is not asked.
    pub(crate) fn is_at(&self, address: SocketAddr) -> bool {
        let (host, port) = (self.authority.host(), self.authority.port_u16());
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_host = match host.parse::<IpAddr>() {
            Ok(ip) => ip == address.ip() || (is_local(ip) && address.ip().is_unspecified()),
            Err(_) => host == "localhost" && is_local(address.ip()),
        };
        is_host && port.unwrap_or(80) == address.port()
    }

    /// What it has said last, if it was asked.
    pub(crate) fn is_serving(&self) -> bool {
        self.serving.load(Ordering::Relaxed)
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Relaxed)
    }

    pub(crate) fn set_serving(&self, serving: bool) {
        self.serving.store(serving, Ordering::Relaxed);
        self.watched.store(true, Ordering::Relaxed);
    }

    /// The target there.
    pub(crate) fn uri(&self, target: &Uri) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(http::uri::Scheme::HTTP);
        parts.authority = Some(self.authority.clone());
        let path = target.path_and_query().cloned();
        parts.path_and_query = Some(path.unwrap_or(PathAndQuery::from_static("/")));
        Uri::from_parts(parts).expect("scheme, authority and path are a URI")
    }
}

/// Whether who connects to this machine by itself gets there.
fn is_local(ip: IpAddr) -> bool {
    ip.is_loopback() || ip.is_unspecified()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "
        [[route]]
        prefix = '/'
        upstream = 'http://old:80'
        [[route]]
        prefix = '/shop/'
        upstream = 'http://new:8000'
        [[route]]
        prefix = '/shop/cart'
        upstream = 'http://old:80'
    ";

    #[test]
    fn the_longest_prefix_counts_in_whole_segments() {
        let routes = Routes::parse(FILE).unwrap();
        let to = |path| {
            routes
                .find(path)
                .map(|route| route.next(|_| true).authority.as_str())
        };
        for (path, upstream) in [
            ("/", "old:80"),
            ("/shop", "new:8000"),
            ("/shop/1", "new:8000"),
            ("/shopping", "old:80"),
            ("/shop/cart/2", "old:80"),
        ] {
            assert_eq!(to(path), Some(upstream), "{path}");
        }
        assert_eq!(routes.upstreams().count(), 2);
    }

    #[test]
    fn several_take_turns_and_who_is_not_usable_is_left_out() {
        let file = "[[route]]\nprefix = '/'\nupstream = 'http://a, http://b,http://c'";
        let routes = Routes::parse(file).unwrap();
        let route = routes.find("/").unwrap();
        let turns = |usable: &[&str]| {
            let next = || route.next(|of| usable.contains(&of.authority.as_str()));
            let mut turns: Vec<_> = (0..6).map(|_| next().authority.to_string()).collect();
            turns.sort();
            turns
        };
        assert_eq!(turns(&["a", "b", "c"]), ["a", "a", "b", "b", "c", "c"]);
        assert_eq!(turns(&["a", "c"]), ["a", "a", "a", "c", "c", "c"]);
        assert_eq!(turns(&["b"]), ["b"; 6]);
        assert_eq!(turns(&[]), ["a", "a", "b", "b", "c", "c"]);
    }

    #[test]
    fn an_upstream_may_be_the_gateway_itself() {
        let is_at = |url: &str, at: &str| {
            let upstream = Upstream::parse(url).unwrap();
            upstream.is_at(at.parse().unwrap())
        };
        for (url, at) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://127.0.0.1:8080", "0.0.0.0:8080"),
            ("http://localhost:8080", "127.0.0.1:8080"),
            ("http://localhost", "[::]:80"),
            ("http://[::1]:8080", "[::1]:8080"),
        ] {
            assert!(is_at(url, at), "{url} {at}");
        }
        for (url, at) in [
            ("http://127.0.0.1:8081", "127.0.0.1:8080"),
            ("http://10.0.0.1:8080", "127.0.0.1:8080"),
            ("http://10.0.0.1:8080", "0.0.0.0:8080"),
            ("http://shop:8080", "127.0.0.1:8080"),
        ] {
            assert!(!is_at(url, at), "{url} {at}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, word) in [
            ("x = 1", "unknown field"),
            ("[[route]]\nprefix = 'a'\nupstream = 'http://a'", "slash"),
            (
                "[[route]]\nprefix = '/'\nupstream = 'https://a'",
                "http://host:port",
            ),
            (
                "[[route]]\nprefix = '/'\nupstream = 'http://a/b'",
                "http://host:port",
            ),
            (
                "[[route]]\nprefix = '/'\nupstream = 'http://u:p@a'",
                "without a user",
            ),
            (
                "[[route]]\nprefix = '/a'\nupstream = 'http://a'\n[[route]]\nprefix = '/a/'\nupstream = 'http://b'",
                "two routes for \"/a/\"",
            ),
        ] {
            let wrong = Routes::parse(text).unwrap_err().to_string();
            assert!(wrong.contains(word), "{wrong}");
        }
    }
}
