//! Some hosts, by name and port: who may be told something.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use http::uri::{Authority, Scheme};
use http::{HeaderMap, Request, Uri, header};

/// Some hosts: `api.example.com, *.svc.local, [::1]:8080`.
///
/// A name stands for itself; `*.` before it for every name below it, and not for the name; a port, where there is one, has to be
/// the call's own: where that names none, 443 of `https` and 80 of `http` (RFC 9110, 4.2.3). Case does not matter, nor does the dot at the end of a full name. Nothing is looked up: an address is another host than its name.
///
/// ```
/// # use buttress_trace_ctx::Hosts;
/// let hosts: Hosts = "*.svc.local, billing.example:8443, shop.example:443".parse().unwrap();
/// assert!(hosts.contain(&"http://orders.svc.local/7".parse().unwrap()));
/// assert!(!hosts.contain(&"http://svc.local.evil.example/".parse().unwrap()));
/// assert!(!hosts.contain(&"https://billing.example/".parse().unwrap()));
/// assert!(hosts.contain(&"https://shop.example/".parse().unwrap()));
/// assert!("*".parse::<Hosts>().is_err());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(Vec<Host>);

/// Not a list of hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidHost(String);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Host {
    name: Name,
    port: Option<u16>,
}

/// In lower case and without a dot at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Is(Box<str>),
    /// With the dot before it.
    EndsWith(Box<str>),
}

impl Hosts {
    /// Whether a call to this target goes to one of these hosts. A target without a host goes to none.
    #[must_use]
    pub fn contain(&self, target: &Uri) -> bool {
        let authority = target.authority();
        authority.is_some_and(|authority| self.contain_authority(authority, target.scheme()))
    }

    /// Whether this call goes to one of these hosts, by its target or, where that names none, by its one `host` field.
    pub(crate) fn receive<B>(&self, request: &Request<B>) -> bool {
        match request.uri().authority() {
            Some(_) => self.contain(request.uri()),
            None => host(request.headers()).is_some_and(|host| self.contain_authority(&host, None)),
        }
    }

    fn contain_authority(&self, authority: &Authority, scheme: Option<&Scheme>) -> bool {
        let name = without_dot(authority.host());
        let port = authority.port_u16().or_else(|| own_port(scheme?));
        self.0.iter().any(|host| host.is(name, port))
    }
}

impl Host {
    fn is(&self, name: &str, port: Option<u16>) -> bool {
        let is_name = match &self.name {
            Name::Is(own) => own.eq_ignore_ascii_case(name),
            Name::EndsWith(suffix) => is_below(name, suffix),
        };
        is_name && self.port.is_none_or(|own| Some(own) == port)
    }

    fn parse(text: &str) -> Option<Self> {
        let (below, text) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let authority: Authority = text.parse().ok()?;
        let name = without_dot(authority.host()).to_ascii_lowercase();
        // Nothing but a host and a port: `a:b` is read as `a` otherwise, and `u@a` too.
        let is_whole = match authority.port_u16() {
            None => text == authority.host(),
            Some(port) => text == format!("{}:{port}", authority.host()),
        };
        let is_sound = is_whole && !name.is_empty() && !name.contains(['*', '%']);
        is_sound.then(|| Self {
            name: if below {
                Name::EndsWith(format!(".{name}").into())
            } else {
                Name::Is(name.into())
            },
            port: authority.port_u16(),
        })
    }
}

/// RFC 9110, 4.2.1 and 4.2.2.
fn own_port(scheme: &Scheme) -> Option<u16> {
    if *scheme == Scheme::HTTPS {
        Some(443)
    } else {
        (*scheme == Scheme::HTTP).then_some(80)
    }
}

fn without_dot(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

fn is_below(name: &str, suffix: &str) -> bool {
    let end = name.len().checked_sub(suffix.len());
    end.filter(|end| *end > 0)
        .and_then(|end| name.get(end..))
        .is_some_and(|end| end.eq_ignore_ascii_case(suffix))
}

fn host(headers: &HeaderMap) -> Option<Authority> {
    let mut values = headers.get_all(header::HOST).iter();
    match (values.next(), values.next()) {
        (Some(host), None) => host.to_str().ok()?.parse().ok(),
        _ => None,
    }
}

impl FromStr for Hosts {
    type Err = InvalidHost;

    /// Hosts, separated by commas.
    fn from_str(list: &str) -> Result<Self, InvalidHost> {
        let parts = list
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        let host = |part: &str| Host::parse(part).ok_or_else(|| InvalidHost(part.to_owned()));
        parts.map(host).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for InvalidHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a host", self.0)
    }
}

impl Error for InvalidHost {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_one_of_them_by_name_and_port() {
        let hosts: Hosts = "api.example.com, *.svc.local, [::1]:8080, 10.0.0.1, Full.Example."
            .parse()
            .unwrap();
        for (target, is_one) in [
            ("http://api.example.com/", true),
            ("https://API.example.COM.:8443/x?y", true),
            ("http://user:pass@api.example.com/", true),
            ("http://api.example.com@evil.example/", false),
            ("http://x.api.example.com/", false),
            ("http://api.example.com.evil.example/", false),
            ("http://a.svc.local/", true),
            ("http://a.b.svc.local/", true),
            ("http://svc.local/", false),
            ("http://.svc.local/", false),
            ("http://evilsvc.local/", false),
            ("http://[::1]:8080/", true),
            ("http://[::1]/", false),
            ("http://10.0.0.1:9/", true),
            ("http://full.example/", true),
            ("/api.example.com", false),
        ] {
            let Ok(target) = target.parse() else {
                assert!(!is_one, "{target}");
                continue;
            };
            assert_eq!(hosts.contain(&target), is_one, "{target}");
        }
    }

    #[test]
    fn a_target_without_a_port_has_that_of_its_scheme() {
        let hosts: Hosts = "a.example:443, b.example:80".parse().unwrap();
        for (target, is_one) in [
            ("https://a.example/", true),
            ("https://a.example:/", true),
            ("HTTPS://a.example/", true),
            ("https://a.example:443/", true),
            ("http://a.example:443/", true),
            ("http://a.example/", false),
            ("https://a.example:80/", false),
            ("wss://a.example/", false),
            ("a.example", false),
            ("http://b.example/", true),
            ("https://b.example/", false),
        ] {
            assert_eq!(hosts.contain(&target.parse().unwrap()), is_one, "{target}");
            let request = Request::builder().uri(target).body(()).unwrap();
            assert_eq!(hosts.receive(&request), is_one, "{target}");
        }
        let by_field = Request::builder().header("host", "a.example");
        assert!(
            !hosts.receive(&by_field.body(()).unwrap()),
            "its scheme is not known"
        );
    }

    #[test]
    fn a_target_without_a_host_goes_to_its_one_host_field() {
        let hosts: Hosts = "a.example".parse().unwrap();
        let to = |target: &str, fields: &[&str]| {
            let mut request = Request::builder().uri(target);
            for field in fields {
                request = request.header("host", *field);
            }
            hosts.receive(&request.body(()).unwrap())
        };
        assert!(to("/", &["a.example:80"]));
        assert!(!to("/", &["a.example", "a.example"]));
        assert!(!to("/", &["b.example"]));
        assert!(!to("/", &[]));
        assert!(
            !to("http://b.example/", &["a.example"]),
            "the target is where it goes"
        );
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for list in [
            "*", "a:b", "a:", "a:65536", "*.", "a.*.b", "http://a", "a/b", "u@a", ".", "a b",
            "*.*.a", ":80",
        ] {
            assert!(list.parse::<Hosts>().is_err(), "{list}");
        }
        assert_eq!(" , ".parse(), Ok(Hosts::default()));
    }
}
