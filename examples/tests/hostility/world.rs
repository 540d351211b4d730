//! The programs under attack, each on a runtime of its own, so that its tasks can be counted.

use std::net::SocketAddr;
use std::sync::Arc;

use buttress_idempotency::Store as _;
use clap::Parser;
use examples::under_way::Active;
use examples::{gateway, storefront};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::runtime::{Builder, Runtime};

use crate::census::{Census, Counted};
use crate::client::Places;
use crate::fault::{FAULTS, Fault};
use crate::upstream::Upstream;
use crate::watcher::Watcher;

/// A program, and the threads that it has to itself.
pub(crate) struct Served<P> {
    pub(crate) runtime: Runtime,
    pub(crate) program: Arc<P>,
}

pub(crate) struct World {
    pub(crate) shop: Served<storefront::Running>,
    /// With all layers.
    pub(crate) gateway: Served<gateway::Running>,
    /// Without breakers, and with hardly a cache.
    pub(crate) bare: Served<gateway::Running>,
    pub(crate) upstream: Upstream,
    pub(crate) watcher: Watcher,
    /// What there was when nobody had asked for anything yet.
    first: Option<Census>,
}

/// How many times the shop's own stream is waited for, which says something at least once a second and at most ten times, until what is left counts as left for ever.
pub(crate) const LOOKS: usize = 600;

impl World {
    pub(crate) async fn start() -> Self {
        let upstream = Upstream::start().await;
        let services = upstream.address(Fault::Services).to_string();
        let shop = Served::start(async move {
            let args = [
                ["--listen", "127.0.0.1:0"],
                ["--services", &services],
                ["--timeout", "1"],
                ["--grace", "60"],
                // Whoever is hostile asks more often than anybody.
                ["--rate", "1000000"],
                ["--burst", "1000000"],
            ];
            let args = args.into_iter().flatten();
            let args = ["storefront", "--quiet"].into_iter().chain(args);
            let args = storefront::Args::parse_from(args);
            storefront::Running::start(args).await.unwrap()
        });
        let shop = shop.await;
        let routes = routes(&shop, &upstream);
        let gateway = start_gateway(&routes, &[]).await;
        let bare = start_gateway(&routes, &["--without", "circuit", "--cache-size", "1"]).await;
        // So that permits are counted while breakers are closed, too.
        let breakers = shop.program.shop().breakers();
        for breaker in breakers.iter().chain(gateway.program.breakers()) {
            breaker
                .reconfigure(|now| now.max_in_flight(100_000))
                .unwrap();
        }
        let watcher = Watcher::start(shop.program.address()).await;
        let mut world = Self {
            shop,
            gateway,
            bare,
            upstream,
            watcher,
            first: None,
        };
        world.first = Some(world.census());
        world
    }

    pub(crate) fn places(&self) -> Places {
        Places {
            shop: self.shop.program.address(),
            gateway: self.gateway.program.address(),
            bare: self.bare.program.address(),
        }
    }

    /// What there is now.
    pub(crate) fn census(&self) -> Census {
        let shop = self.shop.program.shop();
        Census {
            programs: [
                self.shop.counted("storefront", shop.under_way()),
                self.gateway
                    .counted("gateway", self.gateway.program.under_way()),
                self.bare
                    .counted("bare gateway", self.bare.program.under_way()),
            ],
            kept: shop.kept() + self.gateway.program.kept() + self.bare.program.kept(),
            held: testkit::alloc::held(),
        }
    }

    /// Waits until nothing is left but what was there before, and complains of what is left after so many looks.
    pub(crate) async fn settle(&mut self, before: &Census, looks: usize) -> Result<Census, String> {
        let mut complaints = String::new();
        for _ in 0..looks {
            self.upstream.hang_up();
            self.forget().await;
            let now = self.census();
            complaints = before.complaints(&now);
            if complaints.is_empty() {
                return Ok(now);
            }
            self.watcher.next().await;
        }
        Err(complaints)
    }

    /// Waits until as little goes on as in the beginning. Memory may have grown: this is what it is measured by from now on.
    pub(crate) async fn quiet(&mut self) -> Census {
        let first = Census {
            held: usize::MAX / 2,
            ..self.first.expect("it was taken at the start")
        };
        let quiet = self.settle(&first, LOOKS).await;
        quiet.unwrap_or_else(|left| panic!("something is left:\n{left}"))
    }

    /// A key that is kept for an order of which nobody knows what became is one whose client was told so.
    pub(crate) async fn leaves_only_what_is_told(&self) {
        let shop = self.shop.program.shop();
        let left = shop.order_keys().unknown(usize::MAX).await.unwrap().len();
        let told = shop.unfinished();
        assert!(
            left as u64 <= told,
            "orders are left of which nobody was told"
        );
    }

    /// Waits until each place answers as it should: breakers that are open have to close first.
    pub(crate) async fn is_well(&mut self) {
        let Places {
            shop,
            gateway,
            bare,
        } = self.places();
        for place in [shop, gateway, bare] {
            let mut looks = 0;
            while !answers(place).await {
                looks += 1;
                assert!(looks < LOOKS, "{place} does not answer a good request");
                self.watcher.next().await;
            }
        }
    }

    /// Makes reads of the shop's catalogue wait, or lets them go.
    pub(crate) async fn hold(&self, hold: bool) {
        let what = if hold { "hold" } else { "release" };
        let uri = format!("http://{}/demo/catalogue/{what}", self.places().shop);
        let status = ask(http::Request::post(uri)).await;
        assert_eq!(status, Some(http::StatusCode::NO_CONTENT));
    }

    /// Gives back what may be kept for later.
    async fn forget(&self) {
        let shop = self
            .shop
            .within(|shop| async move { shop.shop().forget().await });
        let gateway = self
            .gateway
            .within(|gateway| async move { gateway.forget().await });
        let bare = self.bare.within(|bare| async move { bare.forget().await });
        tokio::join!(shop, gateway, bare);
    }

    /// Ends all of them, as they end when they are told to, and gives back their threads.
    pub(crate) async fn stop(self) -> Vec<Runtime> {
        drop(self.watcher);
        self.upstream.hang_up();
        let gateways = [self.gateway, self.bare];
        let mut runtimes = Vec::new();
        for Served { runtime, program } in gateways {
            let program = Arc::into_inner(program).unwrap();
            let stopped = runtime.spawn(async { program.stop().await.map_err(|e| e.to_string()) });
            stopped.await.unwrap().unwrap();
            runtimes.push(runtime);
        }
        let Served { runtime, program } = self.shop;
        let program = Arc::into_inner(program).unwrap();
        let stopped = runtime.spawn(async { program.stop().await.map_err(|e| e.to_string()) });
        stopped.await.unwrap().unwrap();
        runtimes.push(runtime);
        runtimes
    }
}

impl<P: Send + Sync + 'static> Served<P> {
    async fn start(starts: impl Future<Output = P> + Send + 'static) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let program = Arc::new(runtime.spawn(starts).await.unwrap());
        Self { runtime, program }
    }

    /// Runs something where the program runs.
    async fn within<F: Future<Output = ()> + Send + 'static>(&self, run: impl FnOnce(Arc<P>) -> F) {
        let run = run(Arc::clone(&self.program));
        self.runtime.spawn(run).await.unwrap();
    }

    fn counted(&self, name: &'static str, under_way: examples::under_way::UnderWay) -> Counted {
        Counted {
            name,
            tasks: self.runtime.metrics().num_alive_tasks(),
            under_way,
        }
    }
}

/// To each server what it is called after, and everything else to the shop.
fn routes(shop: &Served<storefront::Running>, upstream: &Upstream) -> Arc<tempfile::NamedTempFile> {
    let shop = shop.program.address();
    let mut routes = format!("[[route]]\nprefix = '/'\nupstream = 'http://{shop}'\n");
    for fault in FAULTS {
        let (name, address) = (fault.name(), upstream.address(fault));
        routes += &format!("[[route]]\nprefix = '/{name}'\nupstream = 'http://{address}'\n");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, routes).unwrap();
    Arc::new(file)
}

async fn start_gateway(
    routes: &Arc<tempfile::NamedTempFile>,
    more: &[&str],
) -> Served<gateway::Running> {
    let routes = Arc::clone(routes);
    let more: Vec<_> = more.iter().map(|arg| (*arg).to_owned()).collect();
    Served::start(async move {
        let path = routes.path().to_str().unwrap();
        let args = ["gateway", "--quiet", "--listen", "127.0.0.1:0"];
        let args = args
            .into_iter()
            .chain(["--routes", path, "--grace", "60", "--timeout", "500"]);
        let args = args.chain(more.iter().map(String::as_str));
        let args = gateway::Args::parse_from(args);
        let active = Some(Active::default());
        gateway::Running::start(args, active).await.unwrap()
    })
    .await
}

async fn answers(place: SocketAddr) -> bool {
    let uri = format!("http://{place}/products/lamp");
    ask(http::Request::get(uri)).await == Some(http::StatusCode::OK)
}

/// On a connection of its own, which ends.
async fn ask(request: http::request::Builder) -> Option<http::StatusCode> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
    let answer = async {
        let response = client.request(request).await.ok()?;
        let status = response.status();
        response.into_body().collect().await.ok()?;
        Some(status)
    };
    examples::within_reason(answer).await
}
