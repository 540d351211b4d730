//! Start and end of the process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use buttress_idempotency::Purge;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::connections::Connections;
use crate::storefront::args::Args;
use crate::storefront::shared::{BadUrl, Shared};
use crate::storefront::shop::Shop;
use crate::storefront::upstream::Upstream;
use crate::storefront::{neighbours, page, relay, router, upstream};
use crate::{say, told_to_stop};

/// Why the storefront could not run.
#[derive(Debug)]
pub enum Failure {
    /// What was still under way took longer than this.
    GaveUp(Duration),
    /// A flag has a URL that says nothing to us.
    Flag(BadUrl),
    /// The address that this flag names cannot be had.
    Listen(&'static str, SocketAddr, io::Error),
    /// The server broke.
    Serve(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(flag, address, error) if error.kind() == io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "{address} is in use by another program; choose another address with {flag}, for example {flag} 127.0.0.1:0"
                )
            }
            Self::Listen(flag, address, error) => {
                write!(f, "cannot listen on {address} ({flag}): {error}")
            }
            Self::GaveUp(grace) => {
                write!(f, "gave up on what was still under way after {grace:?}")
            }
            Self::Flag(BadUrl(flag, error)) => write!(f, "{flag} says nothing to us: {error}"),
            Self::Serve(error) => write!(f, "the server broke: {error}"),
        }
    }
}

/// Serves until the process is told to stop, and then lets what is under way come to its end.
///
/// # Errors
///
/// When it cannot serve, or gave up at its end on what took too long.
pub async fn run(args: Args) -> Result<(), Failure> {
    let told = told_to_stop();
    let linger = args.linger();
    let mut running = Running::start(args).await?;
    greet(running.address, running.services.address);
    tokio::select! {
        () = told => {}
        ended = &mut running.server => return flatten(ended),
    }
    say(format_args!("stopping: finishing what is under way"));
    running.shop.leaving.cancel();
    tokio::time::sleep(linger).await;
    running.stop().await?;
    say(format_args!("stopped"));
    Ok(())
}

/// A shop that serves, in tasks of its own.
///
/// # Cancellation
///
/// Dropping it leaves the server to itself, for as long as its runtime lives; [`stop`](Self::stop) ends it.
pub struct Running {
    address: SocketAddr,
    shop: Arc<Shop>,
    services: Services,
    server: JoinHandle<()>,
    background: JoinSet<()>,
    grace: Duration,
}

impl Running {
    /// Starts one, and what it calls, where that is not said to be somewhere already.
    ///
    /// # Errors
    ///
    /// When an address is taken, or a URL says nothing to us.
    pub async fn start(args: Args) -> Result<Self, Failure> {
        let shared = args
            .shared()
            .map(|(redis, postgres)| Shared::open(redis, postgres, args.database_timeout()));
        let (shared, pages) = shared.transpose().map_err(Failure::Flag)?.unzip();
        let listener = listen("--listen", args.listen).await?;
        let address = listener.local_addr().map_err(Failure::Serve)?;
        let services = Services::start(&args).await?;
        let upstream = services.own.as_ref().map(|own| Arc::clone(&own.upstream));
        let shop = Shop::new(upstream, services.address, &args, shared.as_ref(), pages);
        let shop = Arc::new(shop);
        let app = router::router(&shop, args.quiet);
        let background = background(&shop, shared);
        let server = Connections::new(args.patience()).serve(listener, app, &shop.stopping);
        Ok(Self {
            address,
            shop,
            services,
            server,
            background,
            grace: args.grace(),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it is made of, to be looked at.
    #[must_use]
    pub fn shop(&self) -> &Shop {
        &self.shop
    }

    /// Lets what is under way come to its end, and ends the streams.
    ///
    /// # Errors
    ///
    /// When that takes longer than it may.
    pub async fn stop(self) -> Result<(), Failure> {
        self.shop.leaving.cancel();
        self.shop.stopping.cancel();
        finish(&self.shop, self.server, self.grace).await?;
        drop(self.background);
        self.services.stop().await;
        Ok(())
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// The services that the shop calls, where they are.
struct Services {
    address: SocketAddr,
    own: Option<OwnServices>,
}

/// Those that were started with it.
struct OwnServices {
    upstream: Arc<Upstream>,
    stopping: CancellationToken,
    server: JoinHandle<()>,
}

impl Services {
    async fn start(args: &Args) -> Result<Self, Failure> {
        if let Some(address) = args.services {
            return Ok(Self { address, own: None });
        }
        let listener = listen("--upstream", args.upstream).await?;
        let address = listener.local_addr().map_err(Failure::Serve)?;
        let (upstream, stopping) = (Upstream::new(), CancellationToken::new());
        let app = upstream::router(Arc::clone(&upstream));
        let server = Connections::default().serve(listener, app, &stopping);
        let own = OwnServices {
            upstream,
            stopping,
            server,
        };
        Ok(Self {
            address,
            own: Some(own),
        })
    }

    async fn stop(self) {
        if let Some(own) = self.own {
            own.stopping.cancel();
            let _ = own.server.await;
        }
    }
}

/// What goes on beside the requests, until it is dropped.
fn background(shop: &Arc<Shop>, shared: Option<Shared>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(shop.limits.clone().forget_the_idle());
    tasks.spawn(page::remember(Arc::clone(shop)));
    if let Some(shared) = shared {
        let purge = Purge::new(shop.orders.store.clone());
        tasks.spawn(async { match purge.run().await {} });
        let (pages, database) = (shop.pages.stored.clone(), shared.database.clone());
        tasks.spawn(relay::run(pages, database));
        let keeps_up = Arc::clone(shop);
        tasks.spawn(async move { keeps_up.keys.keep_up().await });
        tasks.spawn(neighbours::share(Arc::clone(shop), shared.redis.clone()));
        let breakers = [&shop.payments, &shop.recommendations].map(|to| to.breaker.clone());
        tasks.spawn(shared.share_trips(breakers.to_vec()));
    }
    tasks
}

/// Lets requests end, then what outlives its request.
async fn finish(shop: &Shop, server: JoinHandle<()>, grace: Duration) -> Result<(), Failure> {
    let all = async {
        let served = flatten(server.await);
        shop.orders.layer.tasks().drain().await;
        // What is on its way to the other processes.
        shop.pages.stored.drain().await;
        served
    };
    match tokio::time::timeout(grace, all).await {
        Ok(served) => served,
        Err(_) => Err(Failure::GaveUp(grace)),
    }
}

async fn listen(flag: &'static str, address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address)
        .await
        .map_err(|error| Failure::Listen(flag, address, error))
}

fn flatten(ended: Result<(), tokio::task::JoinError>) -> Result<(), Failure> {
    ended.map_err(|panic| Failure::Serve(panic.into()))
}

/// The address, and a line to paste for each pattern.
fn greet(shop: SocketAddr, upstream: SocketAddr) {
    let url = format!("http://{shop}");
    say(format_args!(
        "
storefront: {url}   (open it in a browser; Ctrl-C stops it)
upstreams:  http://{upstream}   payments and recommendations

Paste a line, and look at what it shows:

  cache        for i in 1 2; do curl -si {url}/products/lamp | grep -iE '^(cache-status|age|x-cache):'; done
  dedup        curl -s -XPOST {url}/demo/burst
  idempotency  for i in 1 2; do curl -si -XPOST {url}/orders -H 'idempotency-key: order-'$$ -H 'content-type: application/json' -d '{{\"product\":\"lamp\",\"quantity\":1}}' | grep -iE '^(HTTP|idempotency-replayed|\\{{)'; done
  circuit      curl -s -XPOST {url}/demo/payments/break; for i in 1 2 3 4 5 6 7; do curl -si -XPOST {url}/orders -H 'content-type: application/json' -d '{{\"product\":\"lamp\",\"quantity\":1}}' | grep -iE '^(HTTP|retry-after)'; done; curl -s -XPOST {url}/demo/payments/heal   # the breaker asks again after five seconds
  negotiate    for t in text/csv application/xml image/png; do curl -s {url}/reports/sales -H \"accept: $t\" | head -c 300; echo; done
  tokens       t=$(curl -s '{url}/demo/token?tenant=acme&scope=orders'); for t in $t ${{t}}x; do curl -si {url}/orders -H \"authorization: Bearer $t\" | grep -iE '^(HTTP|www-authenticate)'; done
  limits       curl -s -H \"authorization: Bearer $(curl -s '{url}/demo/token?sub=eager')\" -o /dev/null -w '%{{http_code}}\\n' '{url}/products/lamp#[1-500]' | sort | uniq -c
  trace        curl -si {url}/recommendations/lamp -H 'traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' | grep -iE '^(x-request-id|x-trace-id|\\{{)'
"
    ));
}
