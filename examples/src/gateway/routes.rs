//! Which request goes to which upstream.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use http::Uri;
use http::uri::{Authority, PathAndQuery};
use serde::Deserialize;

/// Prefixes of paths and their upstreams. The longest prefix counts, whole segments of it: `/shop` is for `/shop` and `/shop/1`, and not for `/shopping`.
#[derive(Clone, Debug)]
pub(crate) struct Routes(Vec<Route>);

#[derive(Clone, Debug)]
pub(crate) struct Route {
    prefix: String,
    pub(crate) upstream: Arc<Upstream>,
}

/// A server that requests are passed on to.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Upstream {
    pub(crate) authority: Authority,
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
    pub(crate) fn read(path: &Path, rest: Option<&Uri>) -> Result<Self, Wrong> {
        let wrong = |what: &dyn fmt::Display| Wrong(format!("{}: {what}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
        let mut routes = Self::parse(&text).map_err(|error| wrong(&error))?;
        if let Some(upstream) = rest {
            routes.0.push(Route::all(upstream)?);
        }
        Ok(routes)
    }

    /// One upstream for everything.
    pub(crate) fn all(upstream: &Uri) -> Result<Self, Wrong> {
        Ok(Self(vec![Route::all(upstream)?]))
    }

    fn parse(text: &str) -> Result<Self, Wrong> {
        let file: File = toml::from_str(text).map_err(|error| Wrong(error.to_string()))?;
        let mut routes = Vec::new();
        for line in file.route {
            if !line.prefix.starts_with('/') {
                let prefix = line.prefix;
                return Err(Wrong(format!(
                    "the prefix {prefix:?} does not begin with a slash"
                )));
            }
            let upstream = Upstream::parse(&line.upstream)?;
            let prefix = line.prefix.trim_end_matches('/').to_owned();
            // Two routes to one server share its breaker.
            let known = routes
                .iter()
                .find(|route: &&Route| *route.upstream == upstream);
            let upstream = match known {
                Some(known) => Arc::clone(&known.upstream),
                None => Arc::new(upstream),
            };
            routes.push(Route { prefix, upstream });
        }
        Ok(Self(routes))
    }

    pub(crate) fn find(&self, path: &str) -> Option<&Route> {
        let fits = self.0.iter().filter(|route| route.fits(path));
        fits.max_by_key(|route| route.prefix.len())
    }

    /// Each upstream once.
    pub(crate) fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        let routes = self.0.iter().enumerate();
        routes
            .filter(|(at, route)| self.0[..*at].iter().all(|r| r.upstream != route.upstream))
            .map(|(_, route)| &route.upstream)
    }
}

impl Route {
    fn all(upstream: &Uri) -> Result<Self, Wrong> {
        Ok(Self {
            prefix: String::new(),
            upstream: Arc::new(Upstream::new(upstream)?),
        })
    }

    fn fits(&self, path: &str) -> bool {
        let rest = path.strip_prefix(&*self.prefix);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
            || (self.prefix.is_empty() && path == "*")
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
            Some(authority) if plain && url.query().is_none() => Ok(Self {
                authority: authority.clone(),
            }),
            _ => Err(Wrong(format!(
                "the upstream {url} is not of the form http://host:port"
            ))),
        }
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
                .map(|route| route.upstream.authority.as_str())
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
        ] {
            let wrong = Routes::parse(text).unwrap_err().to_string();
            assert!(wrong.contains(word), "{wrong}");
        }
    }
}
