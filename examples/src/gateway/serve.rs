//! Start and end of the process, and of each connection.

use std::convert::Infallible;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use examples::told_to_stop;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tower::BoxError;

use crate::args::Args;
use crate::interim::{Connection, Interim};
use crate::proxy::Body;
use crate::routes::{Routes, Upstream};
use crate::stack::Gateway;
use crate::{admin, head, tunnel};

/// Serves until the process is told to stop, and then lets what is under way come to its end.
pub(crate) async fn run(args: Args) -> Result<(), BoxError> {
    let routes = match &args.routes {
        Some(file) => Routes::read(file, &args.upstream),
        None => Routes::all(&args.upstream),
    };
    let routes = routes.map_err(|wrong| wrong.to_string())?;
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|error| format!("cannot listen on {} (--listen): {error}", args.listen))?;
    let gateway = Arc::new(Gateway::new(&args, routes)?);
    say(format_args!("gateway: http://{}", listener.local_addr()?));
    let _watches = args.health.as_ref().map(|path| gateway.watch(path));
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(told_to_stop());
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, client)) => accept(stream, client, &gateway, &graceful),
                // Too many open files, or a client that has gone: others may be served.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            () = &mut stop => break,
        }
    }
    drop(listener);
    say(format_args!("stopping: finishing what is under way"));
    let finish = async {
        graceful.shutdown().await;
        gateway.parts.drain(args.grace()).await;
    };
    let finished = tokio::time::timeout(args.grace(), finish).await;
    finished.map_err(|_| {
        format!(
            "gave up on what was still under way after {:?}",
            args.grace()
        )
    })?;
    say(format_args!("stopped"));
    Ok(())
}

/// Boxed, for the compiler cannot see through all the layers that it may change threads.
type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// One connection, in a task of its own, which the shutdown waits for.
fn accept(
    stream: TcpStream,
    client: SocketAddr,
    gateway: &Arc<Gateway>,
    graceful: &GracefulShutdown,
) {
    let _ = stream.set_nodelay(true);
    let connection = Connection::new(stream);
    let (client, interim) = (head::told(client), connection.interim());
    let (gateway, max_fields) = (Arc::clone(gateway), gateway.max_fields);
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer(Arc::clone(&gateway), client.clone(), interim(), request);
        Box::pin(answer) as Answering
    });
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(8))
        .preserve_header_case(true);
    // Up to a hundred are read without asking for memory.
    if let Some(fields) = max_fields {
        server.http1().max_headers(fields);
    }
    server
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30));
    let serving = server.serve_connection_with_upgrades(TokioIo::new(connection), service);
    let serving = graceful.watch(serving.into_owned());
    // Its errors are the client's: it has gone, or speaks another language.
    tokio::spawn(async move { drop(serving.await) });
}

async fn answer(
    gateway: Arc<Gateway>,
    client: HeaderValue,
    interim: Interim,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let request = request.map(Body::new);
    if admin::is_wanted(&request) {
        // In a box of its own, as what is opened below: no request is to be as large as what is rare.
        return Ok(Box::pin(admin::answer(&gateway, request)).await);
    }
    // A tunnel to wherever a client likes is what a forward proxy gives. This one stands before its upstreams, and supports it for none (RFC 9110, 9.3.6).
    if request.method() == Method::CONNECT {
        return Ok(status(StatusCode::NOT_IMPLEMENTED));
    }
    if !head::has_one_host(request.headers(), request.version()) {
        return Ok(status(StatusCode::BAD_REQUEST));
    }
    if tunnel::is_wanted(&request)
        && let Some(route) = gateway.routes.find(request.uri().path())
    {
        let (pool, timeout) = (&gateway.pool, gateway.timeout);
        let upstream = route.next(Upstream::is_serving);
        return Ok(Box::pin(tunnel::open(pool, upstream, timeout, request)).await);
    }
    let (mut parts, body) = request.into_parts();
    let (until, version) = (interim.until(), parts.version);
    if version == http::Version::HTTP_11 {
        parts.extensions.insert(interim);
    }
    head::pass_on(&mut parts, client);
    let mut response = gateway.answer(Request::from_parts(parts, body)).await;
    buttress_wire::fields::strip_hop_by_hop(response.headers_mut());
    *response.version_mut() = version;
    drop(until);
    Ok(response)
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

#[expect(
    clippy::print_stdout,
    reason = "this is a program, and this is its voice"
)]
fn say(words: std::fmt::Arguments<'_>) {
    println!("{words}");
    let _ = io::stdout().flush();
}

#[expect(
    clippy::print_stderr,
    reason = "this is a program, and this is its voice"
)]
pub(crate) fn complain(error: &BoxError) -> ExitCode {
    eprintln!("gateway: {error}");
    ExitCode::FAILURE
}
