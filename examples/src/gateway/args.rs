//! The command line.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgGroup, Parser, ValueEnum, value_parser};
use http::{HeaderName, Method, Uri};

/// As many bytes of it can still be counted: four tebibytes.
const MAX_CACHE_SIZE: u64 = 1 << 22;

/// A path, and not a host: `healthz` would be one.
fn path(text: &str) -> Result<Uri, String> {
    let uri = text.parse::<Uri>().ok();
    let path = uri.filter(|uri| uri.authority().is_none() && text.starts_with('/'));
    path.ok_or_else(|| "a path begins with a slash".into())
}

/// Of a cookie, which is a token (RFC 6265, 4.1.1), as a method is: `sid`, and not `sid=1`.
fn cookie_name(text: &str) -> Result<String, String> {
    match Method::from_bytes(text.as_bytes()) {
        Ok(_) => Ok(text.into()),
        Err(_) => Err("a name of a cookie has letters and digits, and no `=`".into()),
    }
}

/// A reverse proxy with a cache, single flight, a breaker for each upstream, idempotency keys and traces.
#[derive(Clone, Debug, Parser)]
#[command(name = "gateway", version)]
#[command(group = ArgGroup::new("to").args(["upstream", "routes"]).required(true).multiple(true))]
pub struct Args {
    /// Where it listens; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,

    /// Where all requests go that no route is for; to several in turn.
    #[arg(long, value_name = "URLS", value_delimiter = ',')]
    pub(crate) upstream: Vec<Uri>,

    /// A path at which each upstream says with its status whether it takes requests; it is asked four times a second. Without this, its breaker alone decides.
    #[arg(long, value_name = "PATH", value_parser = path)]
    pub(crate) health: Option<Uri>,

    /// A file of routes: see examples/gateway.toml.
    #[arg(long, value_name = "FILE")]
    pub(crate) routes: Option<PathBuf>,

    /// These layers, and no others.
    #[arg(
        long,
        value_name = "LAYERS",
        value_delimiter = ',',
        conflicts_with = "without"
    )]
    only: Option<Vec<Part>>,

    /// All layers but these.
    #[arg(long, value_name = "LAYERS", value_delimiter = ',')]
    without: Vec<Part>,

    /// How many milliseconds an upstream may take until its head is there, from the request or the last piece of its body that the client sent; between two
    /// pieces of its own body; and until it agrees to a tunnel.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 8000, value_parser = value_parser!(u64).range(1..))]
    timeout: u64,

    /// How many milliseconds a client may take for the head of a request, from its connection or from the response before; then it is hung up on.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 8000, value_parser = value_parser!(u64).range(1..))]
    patience: u64,

    /// How many milliseconds one end of a tunnel may be silent when the other has ended.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 10_000)]
    tunnel_linger: u64,

    /// How many mebibytes of responses the cache holds.
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = value_parser!(u64).range(1..=MAX_CACHE_SIZE))]
    pub(crate) cache_size: u64,

    /// A Redis that the caches of several gateways share; if it cannot be reached, each goes on alone.
    #[arg(long, value_name = "URL")]
    pub(crate) redis: Option<String>,

    /// How many milliseconds that Redis may take to answer; then it is a miss.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 100, value_parser = value_parser!(u64).range(1..))]
    redis_timeout: u64,

    /// How many seconds a stale response is used while it is asked for anew, if it does not say itself.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    stale_while_revalidate: u64,

    /// How many seconds a stale response is used when its upstream fails, if it does not say itself.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    stale_if_error: u64,

    /// The field of responses that has their tags, and of purges.
    #[arg(long, value_name = "FIELD", default_value = "surrogate-key")]
    pub(crate) tag_header: HeaderName,

    /// Tell in X-Cache what the cache did, beside Cache-Status.
    #[arg(long)]
    pub(crate) x_cache: bool,

    /// Who sends this as a bearer token may purge. Default: nobody.
    #[arg(
        long,
        value_name = "TOKEN",
        env = "GATEWAY_PURGE_TOKEN",
        hide_env_values = true,
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub(crate) purge_token: Option<String>,

    /// The cookie that says who is calling. By default all of them say so, and two requests with other cookies do not share an Idempotency-Key.
    #[arg(long, value_name = "COOKIE", value_parser = cookie_name)]
    pub(crate) session: Option<String>,

    /// How many seconds what is under way may take at shutdown.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    grace: u64,

    /// How many fields a request may have, if not a hundred; one with more is refused with 431. To read up to a hundred, no memory is asked for.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) max_fields: Option<NonZeroUsize>,

    /// Send the names of a request's fields on in the letters in which they came. Without this they are small, as in HTTP/2; those of responses are left as
    /// they are, but in what the cache has stored. It costs each request some 1400 instructions.
    #[arg(long)]
    pub(crate) keep_case: bool,

    /// How many threads serve. Default: one for each core.
    #[arg(long, value_name = "NUMBER")]
    threads: Option<NonZeroUsize>,

    /// Do not write a line for each request.
    #[arg(long)]
    pub(crate) quiet: bool,
}

/// A layer that can be left out.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Part {
    Cache,
    Circuit,
    Dedup,
    Idempotency,
    Trace,
}

impl Args {
    /// How many threads are to serve, if that was said.
    #[must_use]
    pub fn threads(&self) -> Option<NonZeroUsize> {
        self.threads
    }

    pub(crate) fn has(&self, part: Part) -> bool {
        match &self.only {
            Some(only) => only.contains(&part),
            None => !self.without.contains(&part),
        }
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout)
    }

    pub(crate) fn patience(&self) -> Duration {
        Duration::from_millis(self.patience)
    }

    pub(crate) fn tunnel_linger(&self) -> Duration {
        Duration::from_millis(self.tunnel_linger)
    }

    pub(crate) fn redis_timeout(&self) -> Duration {
        Duration::from_millis(self.redis_timeout)
    }

    pub(crate) fn stale_while_revalidate(&self) -> Duration {
        Duration::from_secs(self.stale_while_revalidate)
    }

    pub(crate) fn stale_if_error(&self) -> Duration {
        Duration::from_secs(self.stale_if_error)
    }

    pub(crate) fn grace(&self) -> Duration {
        Duration::from_secs(self.grace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Part; 5] = [
        Part::Cache,
        Part::Circuit,
        Part::Dedup,
        Part::Idempotency,
        Part::Trace,
    ];

    fn parse(args: &[&str]) -> Result<Args, clap::Error> {
        let upstream = ["gateway", "--upstream", "http://127.0.0.1:8000"];
        Args::try_parse_from(upstream.iter().chain(args))
    }

    #[track_caller]
    fn check(args: &[&str], expected: &[Part]) {
        let args = parse(args).unwrap();
        let found: Vec<_> = ALL.into_iter().filter(|part| args.has(*part)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn layers_are_taken_or_left_out() {
        check(&[], &ALL);
        check(&["--only", "cache"], &[Part::Cache]);
        check(&["--only", "trace,cache"], &[Part::Cache, Part::Trace]);
        check(
            &["--only", "cache", "--only", "dedup"],
            &[Part::Cache, Part::Dedup],
        );
        check(&["--without", "circuit"], &[ALL[0], ALL[2], ALL[3], ALL[4]]);
        check(&["--without", "cache,circuit,dedup,idempotency,trace"], &[]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for wrong in [
            &["--only", "cache", "--without", "trace"][..],
            &["--only", "cash"],
            &["--only", ""],
            &["--tag-header", "a b"],
            &["--health", "healthz"],
            &["--health", "http://h/healthz"],
            &["--cache-size", "0"],
            &["--cache-size", "17592186044416"],
            &["--max-fields", "0"],
            &["--timeout", "0"],
            &["--patience", "0"],
            &["--redis-timeout", "0"],
            &["--session", "sid=1"],
            &["--session", ""],
            &["--purge-token", ""],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
        let where_to = Args::try_parse_from(["gateway"]).unwrap_err().to_string();
        assert!(where_to.contains("--upstream") && where_to.contains("--routes"));
    }
}
