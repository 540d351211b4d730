//! The HTTP cache against what its clients may see at most, in virtual time: whatever they do in whatever order, no one is given what is another's, what is
//! older than it says, what has been taken away, or what nobody vouches for any more.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used)]

use std::borrow::Cow;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::http::{Method, Request, Response, StatusCode};
#[cfg(feature = "test-util")]
use buttress_cache::http::ResponseCodec;
use buttress_cache::http::{CacheTags, CachedResponse, HttpCacheLayer};
#[cfg(feature = "test-util")]
use buttress_cache::l2::{SecondLevel, simulated::Simulated};
use buttress_cache::{Cache, Depth};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use proptest::prelude::*;
use tokio::time::{Instant, advance};
use tower::{Layer, Service, service_fn};

/// What each path says of itself. All live for ten seconds at most.
const CONTROL: [&str; 9] = [
    "max-age=10",
    "max-age=10, private",
    "max-age=10, no-store",
    "no-cache",
    "max-age=10, public",
    "s-maxage=10",
    "max-age=10, stale-while-revalidate=5",
    "max-age=10, stale-if-error=5",
    "max-age=4, must-revalidate",
];

const LIFE: u64 = 10;
/// How long after its life something may be used stale.
const STALE: u64 = 5;

#[derive(Clone, Debug)]
enum Step {
    Get(Ask),
    Wait(u64),
    /// The origin's answer for a path changes, and nobody is told.
    Change(usize),
    /// It changes, and the request that changed it comes by.
    Post(usize, Option<&'static str>),
    Invalidate(usize),
    Purge(usize, Option<&'static str>, bool),
    /// The origin fails, or recovers.
    Fail(bool),
}

#[derive(Clone, Debug)]
struct Ask {
    /// Which of two processes is asked, where there are two.
    process: usize,
    path: usize,
    tenant: Option<&'static str>,
    language: &'static str,
    user: Option<&'static str>,
    control: &'static str,
    has: bool,
    range: bool,
}

fn tenant() -> impl Strategy<Value = Option<&'static str>> {
    prop::sample::select(vec![None, Some("a"), Some("b")])
}

fn ask() -> impl Strategy<Value = Ask> {
    let control = vec![
        "",
        "",
        "",
        "",
        "no-cache",
        "max-age=3",
        "max-stale=2",
        "only-if-cached",
        "no-store",
        "min-fresh=5",
    ];
    (
        0..CONTROL.len(),
        tenant(),
        prop::sample::select(vec!["de", "en"]),
        prop::sample::select(vec![None, None, Some("alice"), Some("bob")]),
        prop::sample::select(control),
        (any::<bool>(), prop::bool::weighted(0.2), 0_usize..2),
    )
        .prop_map(
            |(path, tenant, language, user, control, (has, range, process))| Ask {
                process,
                path,
                tenant,
                language,
                user,
                control,
                has,
                range,
            },
        )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => ask().prop_map(Step::Get),
        4 => (0_u64..8).prop_map(Step::Wait),
        2 => (0..CONTROL.len()).prop_map(Step::Change),
        1 => (0..CONTROL.len(), tenant()).prop_map(|(path, tenant)| Step::Post(path, tenant)),
        1 => (0..CONTROL.len()).prop_map(Step::Invalidate),
        1 => (0..CONTROL.len(), tenant(), any::<bool>()).prop_map(|(p, t, soft)| Step::Purge(p, t, soft)),
        1 => any::<bool>().prop_map(Step::Fail),
    ]
}

/// What the origin has said: one entry per call.
#[derive(Clone, Debug)]
struct Said {
    /// What was sent, or vouched for by a 304.
    body: String,
    at: Instant,
    user: Option<String>,
}

#[derive(Default)]
struct Origin {
    versions: [u64; CONTROL.len()],
    fails: bool,
    said: Vec<Said>,
}

fn field(request: &Request<Empty<Bytes>>, name: &str) -> Option<String> {
    let value = request.headers().get(name)?;
    Some(value.to_str().unwrap().to_owned())
}

impl Origin {
    fn answer(&mut self, request: &Request<Empty<Bytes>>) -> Response<Full<Bytes>> {
        let path: usize = request.uri().path()[1..].parse().unwrap();
        if self.fails {
            let mut response = Response::new(Full::from("failed"));
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            return response;
        }
        if request.method() == Method::POST {
            self.versions[path] += 1;
            return Response::new(Full::default());
        }
        let tenant = field(request, "x-tenant").unwrap_or_default();
        let language = field(request, "accept-language").unwrap();
        let version = self.versions[path];
        let body = format!("{path}/{tenant}/{language}/{version}");
        self.said.push(Said {
            body: body.clone(),
            at: Instant::now(),
            user: field(request, "authorization"),
        });
        let etag = format!("\"{body}\"");
        let mut response = Response::builder()
            .header("cache-control", CONTROL[path])
            .header("vary", "accept-language")
            .header("etag", &etag);
        let known = field(request, "if-none-match");
        let is_known = known.is_some_and(|known| known.split(", ").any(|tag| tag == etag));
        if is_known {
            response = response.status(304);
        }
        let mut response = response
            .body(Full::from(if is_known { String::new() } else { body }))
            .unwrap();
        let tag = CacheTags::from_iter([format!("t{path}")]);
        response.extensions_mut().insert(tag);
        response
    }
}

struct World {
    /// Of each process, of which there is one or two.
    layers: Vec<HttpCacheLayer>,
    /// Of the first.
    cache: Cache<CachedResponse>,
    origin: Arc<Mutex<Origin>>,
    /// By path and tenant: what was said before this place in the origin's book has been taken away.
    gone: HashMap<(usize, Option<&'static str>), usize>,
}

impl World {
    fn new(caches: &[Cache<CachedResponse>]) -> Self {
        let layer = |cache: &Cache<CachedResponse>| {
            HttpCacheLayer::new(cache.clone()).partition(|parts| {
                let tenant = parts.headers.get("x-tenant");
                Cow::Borrowed(tenant.map_or(&[][..], |tenant| tenant.as_bytes()))
            })
        };
        Self {
            layers: caches.iter().map(layer).collect(),
            cache: caches[0].clone(),
            origin: Arc::default(),
            gone: HashMap::new(),
        }
    }

    async fn send(
        &self,
        process: usize,
        request: Request<Empty<Bytes>>,
    ) -> (::http::response::Parts, Bytes) {
        let origin = Arc::clone(&self.origin);
        let layer = &self.layers[process % self.layers.len()];
        let mut service = layer.layer(service_fn(move |request: Request<Empty<Bytes>>| {
            let response = origin.lock().unwrap().answer(&request);
            async move { Ok::<_, Infallible>(response) }
        }));
        let response = service.call(request).await.unwrap();
        let (head, body) = response.into_parts();
        (head, body.collect().await.unwrap().to_bytes())
    }

    fn request(method: &str, path: usize, tenant: Option<&str>) -> ::http::request::Builder {
        let request = Request::builder().method(method).uri(format!("/{path}"));
        let request = request.header("host", "h");
        match tenant {
            Some(tenant) => request.header("x-tenant", tenant),
            None => request,
        }
    }

    fn take(&mut self, path: usize, tenant: Option<&'static str>) {
        let said = self.origin.lock().unwrap().said.len();
        self.gone.insert((path, tenant), said);
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::Get(ask) => self.get(ask).await,
            Step::Wait(seconds) => {
                advance(Duration::from_secs(*seconds)).await;
            }
            Step::Change(path) => self.origin.lock().unwrap().versions[*path] += 1,
            Step::Fail(fails) => self.origin.lock().unwrap().fails = *fails,
            Step::Post(path, tenant) => {
                let request = Self::request("POST", *path, *tenant);
                let (head, _) = self.send(0, request.body(Empty::new()).unwrap()).await;
                if head.status.is_success() {
                    self.take(*path, *tenant);
                }
            }
            Step::Invalidate(path) => {
                self.cache.invalidate([format!("t{path}")]).now();
                for tenant in [None, Some("a"), Some("b")] {
                    self.take(*path, tenant);
                }
            }
            Step::Purge(path, tenant, soft) => {
                let request = Self::request("GET", *path, *tenant).body(()).unwrap();
                let depth = if *soft { Depth::Expire } else { Depth::Remove };
                self.layers[0].purge_target(&request.into_parts().0, depth);
                if !soft {
                    self.take(*path, *tenant);
                }
            }
        }
    }

    async fn get(&mut self, ask: &Ask) {
        let mut request =
            Self::request("GET", ask.path, ask.tenant).header("accept-language", ask.language);
        if let Some(user) = ask.user {
            request = request.header("authorization", user);
        }
        if !ask.control.is_empty() {
            request = request.header("cache-control", ask.control);
        }
        let version = self.origin.lock().unwrap().versions[ask.path];
        let tenant = ask.tenant.unwrap_or_default();
        let current = format!("{}/{tenant}/{}/{version}", ask.path, ask.language);
        if ask.has {
            request = request.header("if-none-match", format!("\"{current}\""));
        }
        if ask.range {
            request = request.header("range", "bytes=0-2");
        }
        let before = self.origin.lock().unwrap().said.len();
        let request = request.body(Empty::new()).unwrap();
        let (head, body) = self.send(ask.process, request).await;
        let asked = self.origin.lock().unwrap().said.len() > before;
        self.check(ask, &head, &body, asked);
    }

    fn check(&self, ask: &Ask, head: &::http::response::Parts, body: &Bytes, asked: bool) {
        let status = head.status.as_u16();
        if matches!(status, 503 | 504) {
            return assert!(status == 503 || ask.control == "only-if-cached");
        }
        let etag = head.headers["etag"].to_str().unwrap();
        let whole = etag.trim_matches('"');
        match status {
            200 => assert_eq!(body, whole),
            206 => assert_eq!(body, &whole[..3]),
            304 => assert!(ask.has && body.is_empty()),
            other => panic!("{other}"),
        }
        // Nothing across paths, tenants and variants.
        let tenant = ask.tenant.unwrap_or_default();
        let own = format!("{}/{tenant}/{}/", ask.path, ask.language);
        assert!(whole.starts_with(&own), "{whole} for {own}");
        if asked {
            return;
        }
        let origin = self.origin.lock().unwrap();
        // What is not to be stored, or has to be validated, does not come from the store.
        assert!(!matches!(ask.path, 1..=3), "{whole} came from the store");
        assert_ne!(ask.control, "no-cache");
        let gone = self.gone.get(&(ask.path, ask.tenant)).copied().unwrap_or(0);
        let vouched = origin
            .said
            .iter()
            .enumerate()
            .filter(|(_, said)| said.body == whole);
        // What needs a word for it had one, or nobody had to give it.
        let is_given = matches!(ask.path, 4 | 5 | 8);
        let mut vouched =
            vouched.filter(|(at, said)| *at >= gone && (is_given || said.user.is_none()));
        let (_, last) = vouched
            .next_back()
            .unwrap_or_else(|| panic!("nobody vouches for {whole} to {ask:?}"));
        let age = Instant::now() - last.at;
        let told: u64 = head.headers["age"].to_str().unwrap().parse().unwrap();
        assert!(told >= age.as_secs(), "it says {told} and is {age:?}");
        let life = if ask.path == 8 { 4 } else { LIFE };
        let stale = match (ask.path, ask.control) {
            (6, _) => STALE,
            (7, _) if origin.fails => STALE,
            (5 | 8, _) => 0,
            (_, "max-stale=2") => 2 + 1,
            _ => 0,
        };
        assert!(
            age.as_secs() < life + stale,
            "{whole} is {age:?} old: {ask:?}"
        );
    }
}

/// Whoever was woken runs.
#[cfg(feature = "test-util")]
async fn settle() {
    for _ in 0..30 {
        tokio::task::yield_now().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn nobody_sees_what_is_not_for_them(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut world = World::new(&[CachedResponse::cache().build()]);
            for step in &steps {
                world.step(step).await;
            }
        });
    }

    /// Two processes over one server, each of which has heard of what the other did when the next step begins.
    #[cfg(feature = "test-util")]
    #[test]
    fn nor_in_two_processes(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let server = Simulated::talkative();
            let cache = || {
                let level = SecondLevel::new(server.link(), ResponseCodec);
                let level = level.max_lag(Duration::from_secs(100));
                CachedResponse::cache().slots(1024).l2(level).build()
            };
            let mut world = World::new(&[cache(), cache()]);
            for step in &steps {
                settle().await;
                world.step(step).await;
            }
        });
    }
}
