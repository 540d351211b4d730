//! Start and end of the process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use examples::{say, told_to_stop};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::args::Args;
use crate::shop::Shop;
use crate::{router, upstream};

/// Why the storefront could not run.
#[derive(Debug)]
pub(crate) enum Failure {
    GaveUp(Duration),
    Listen(&'static str, SocketAddr, io::Error),
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
            Self::Serve(error) => write!(f, "the server broke: {error}"),
        }
    }
}

/// Serves until the process is told to stop, and then lets what is under way come to its end.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let shop_listener = listen("--listen", args.listen).await?;
    let upstream_listener = listen("--upstream", args.upstream).await?;
    let upstream_address = upstream_listener.local_addr().map_err(Failure::Serve)?;
    let address = shop_listener.local_addr().map_err(Failure::Serve)?;
    let stopping = CancellationToken::new();
    let upstream_stopping = CancellationToken::new();

    let upstream = upstream::Upstream::new();
    let upstream_server = tokio::spawn(serve_until(
        upstream_listener,
        upstream::router(Arc::clone(&upstream)),
        upstream_stopping.clone(),
    ));
    let shop = Arc::new(Shop::new(
        upstream,
        upstream_address,
        &args,
        stopping.clone(),
    ));
    let app = router::router(&shop, args.quiet);
    let told = told_to_stop();
    greet(address, upstream_address);

    let forgetting = tokio::spawn(shop.limits.clone().forget_the_idle());
    let mut server = tokio::spawn(serve_until(shop_listener, app, stopping.clone()));
    tokio::select! {
        () = told => {}
        ended = &mut server => return flatten(ended),
    }
    say(format_args!("stopping: finishing what is under way"));
    stopping.cancel();
    finish(&shop, server, args.grace()).await?;
    forgetting.abort();
    upstream_stopping.cancel();
    let _ = upstream_server.await;
    say(format_args!("stopped"));
    Ok(())
}

/// Lets requests end, then what outlives its request.
async fn finish(
    shop: &Shop,
    server: tokio::task::JoinHandle<io::Result<()>>,
    grace: Duration,
) -> Result<(), Failure> {
    let all = async {
        let served = flatten(server.await);
        shop.orders.layer.tasks().drain().await;
        served
    };
    match tokio::time::timeout(grace, all).await {
        Ok(served) => served,
        Err(_) => Err(Failure::GaveUp(grace)),
    }
}

async fn serve_until(
    listener: TcpListener,
    app: axum::Router,
    stopping: CancellationToken,
) -> io::Result<()> {
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app)
        .with_graceful_shutdown(stopping.cancelled_owned())
        .await
}

async fn listen(flag: &'static str, address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address)
        .await
        .map_err(|error| Failure::Listen(flag, address, error))
}

fn flatten(ended: Result<io::Result<()>, tokio::task::JoinError>) -> Result<(), Failure> {
    ended
        .unwrap_or_else(|panic| Err(io::Error::other(panic)))
        .map_err(Failure::Serve)
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
  circuit      curl -s -XPOST {url}/demo/payments/break; for i in 1 2 3 4 5 6 7; do curl -si -XPOST {url}/orders -H 'content-type: application/json' -d '{{\"product\":\"lamp\",\"quantity\":1}}' | grep -iE '^(HTTP|retry-after)'; done; curl -s -XPOST {url}/demo/payments/heal
  negotiate    for t in text/csv application/xml image/png; do curl -s {url}/reports/sales -H \"accept: $t\" | head -c 300; echo; done
  tokens       t=$(curl -s '{url}/demo/token?tenant=acme&scope=orders'); for t in $t ${{t}}x; do curl -si {url}/orders -H \"authorization: Bearer $t\" | grep -iE '^(HTTP|www-authenticate)'; done
  limits       curl -s -H \"authorization: Bearer $(curl -s '{url}/demo/token?sub=eager')\" -o /dev/null -w '%{{http_code}}\\n' '{url}/products/lamp#[1-500]' | sort | uniq -c
  trace        curl -si {url}/recommendations/lamp -H 'traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' | grep -iE '^(x-request-id|x-trace-id|\\{{)'
"
    ));
}
