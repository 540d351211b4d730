//! Flights across processes: a request of its own under 1, 16 and 64 clients, with a coordinator over a real Redis on this machine and with none; and all of them asking for the same, half of them in a second process, as far as
//! Redis can tell.
//!
//! Criterion's estimate is the time per call over all clients, that is the throughput; beside it stand the latencies that one client sees.
#![allow(clippy::unwrap_used)]

#[path = "support/clients.rs"]
mod clients;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use benches::rows::http::{Fixed, request, response};
use buttress_dedup::{Coordinator, DedupLayer, RedisCoordinator};
use bytes::Bytes;
use criterion::Criterion;
use http::{Request, Response, Uri};
use http_body::Body;
use http_body_util::{BodyExt, Empty};
use testkit::server::Redis;
use tokio::runtime::{Builder, Runtime};
use tower_layer::Layer;
use tower_service::Service;

const LEN: usize = 1 << 10;

fn main() {
    let mut criterion = Criterion::default().configure_from_args().sample_size(10);
    let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
    let alone = DedupLayer::http().layer(Fixed::new(response(LEN)));
    own(&mut criterion, &runtime, "none", &alone);
    match Redis::start() {
        Err(missing) => clients::skipped("dedup coordinators", &missing),
        Ok(server) => {
            let process = || {
                let coordinator = runtime.block_on(async { open(&server) });
                let layer = DedupLayer::http().coordinator("bench", coordinator, 1 << 20);
                layer.layer(Fixed::new(response(LEN)))
            };
            let processes = [process(), process()];
            own(&mut criterion, &runtime, "redis", &processes[0]);
            same(&mut criterion, &runtime, "redis", &processes);
        }
    }
    criterion.final_summary();
}

fn open(server: &Redis) -> Arc<dyn Coordinator> {
    // That the machine is busy is no reason to give up here.
    let builder = RedisCoordinator::builder().patience(Duration::from_secs(10));
    Arc::new(builder.open(&server.url()).unwrap())
}

/// Nobody follows: what a lease costs, and its end.
fn own<S, B>(criterion: &mut Criterion, runtime: &Runtime, name: &str, service: &S)
where
    S: Asked<B>,
    B: Body<Data = Bytes, Error: std::fmt::Debug> + Send,
    S::Future: Send,
{
    static NEXT: AtomicU64 = AtomicU64::new(0);
    for count in clients::COUNTS {
        let id = format!("dedup/own-keys/{name}/{count}");
        clients::bench(
            criterion,
            runtime,
            &id,
            count,
            service,
            |service: S| async move {
                let next = NEXT.fetch_add(1, Ordering::Relaxed);
                ask(service, &format!("http://shop.example/products/{next}")).await;
            },
        );
    }
}

/// Every other call is another process's.
fn same<S, B>(criterion: &mut Criterion, runtime: &Runtime, name: &str, processes: &[S; 2])
where
    S: Asked<B>,
    B: Body<Data = Bytes, Error: std::fmt::Debug> + Send,
    S::Future: Send,
{
    static NEXT: AtomicU64 = AtomicU64::new(0);
    for count in clients::COUNTS {
        let id = format!("dedup/one-key/{name}/{count}");
        clients::bench(
            criterion,
            runtime,
            &id,
            count,
            processes,
            |[one, other]: [S; 2]| async move {
                let next = NEXT.fetch_add(1, Ordering::Relaxed);
                let service = if next.is_multiple_of(2) { one } else { other };
                ask(service, "http://shop.example/products/42").await;
            },
        );
    }
}

async fn ask<S, B>(mut service: S, target: &str)
where
    S: Asked<B>,
    B: Body<Data = Bytes, Error: std::fmt::Debug>,
{
    let mut request = request(&[]);
    *request.uri_mut() = Uri::try_from(target).unwrap();
    let Ok(response) = service.call(request).await;
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes().len(), LEN);
}

/// What the layer makes of a service.
trait Asked<B>:
    Service<Request<Empty<Bytes>>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static
{
}

impl<S, B> Asked<B> for S where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static
{
}
