//! Connections that turn into something else (`Upgrade`): past the layers that keep or share answers, and from then on bytes in both directions.

use std::io;
use std::pin::pin;
use std::time::Duration;

use buttress_wire::fields::{list, list_contains};
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode, request};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::sync::Notify;

use crate::gateway::head::{self, Fields};
use crate::gateway::proxy::{Asked, Body};
use crate::gateway::stack::Gateway;

/// How much is copied at once.
const PIECE: usize = 8 << 10;

/// That a connection is to turn into something else: among the extensions of a request whose own fields say nothing of it any more.
#[derive(Clone)]
pub(crate) struct Wanted(pub(crate) HeaderValue);

impl Wanted {
    /// `None` where the client speaks of its own connection alone: HTTP/2 is spoken here, or not at all, and so is TLS. An upstream that agreed would be asked for anything, past
    /// all that stands before it.
    pub(crate) fn of<B>(request: &Request<B>) -> Option<Self> {
        let headers = request.headers();
        let wanted = headers.get(UPGRADE)?;
        let is_ours = |protocol: &[u8]| {
            let name = protocol
                .split(|byte| *byte == b'/')
                .next()
                .unwrap_or_default();
            let ours: [&[u8]; 3] = [b"h2c", b"http", b"tls"];
            ours.iter().any(|ours| name.eq_ignore_ascii_case(ours))
        };
        // Who may purge is for the cache to say.
        let is_wanted = request.version() == http::Version::HTTP_11
            && request.method().as_str() != "PURGE"
            && list_contains(headers, CONNECTION, "upgrade")
            && !list(headers, UPGRADE).any(is_ours);
        is_wanted.then(|| Self(wanted.clone()))
    }
}

/// Asks the upstream of the request's route, which has to say in time whether it agrees; if it does, copies until both sides have ended, one has and the other is silent for too long,
/// or the gateway ends. Nothing is looked for in the cache, and nothing stored; what an unsafe request may have changed is taken out of it.
pub(crate) async fn open(
    gateway: &Gateway,
    wanted: Wanted,
    fields: Fields,
    mut request: Request<Asked>,
) -> Response<Body> {
    let client = hyper::upgrade::on(&mut request);
    head::settle(&mut request, fields);
    let (parts, body) = request.into_parts();
    let target = (!parts.method.is_safe()).then(|| parts.clone());
    let mut changing = Changing { gateway, target };
    let mut request = head::pass_on(Request::from_parts(parts, body));
    request.extensions_mut().insert(wanted);
    let Ok(mut response) = gateway.pass(request).await;
    *response.version_mut() = http::Version::HTTP_11;
    if response.status().is_client_error() || response.status().is_server_error() {
        changing.target = None;
    }
    drop(changing);
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let upstream = hyper::upgrade::on(&mut response);
        let (over, linger) = (gateway.over.clone(), gateway.linger);
        tokio::spawn(async move {
            tokio::select! {
                () = over.cancelled() => {}
                () = tunnel(client, upstream, linger) => {}
            }
        });
    }
    response
}

/// A request that may change what is at its target. Dropping it takes that out of the cache: also where its answer was never seen (RFC 9111, 4.4).
struct Changing<'a> {
    gateway: &'a Gateway,
    /// `None` once it is known that nothing was changed.
    target: Option<request::Parts>,
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        if let Some(target) = &self.target {
            self.gateway.parts.forget(target);
        }
    }
}

async fn tunnel(client: OnUpgrade, upstream: OnUpgrade, linger: Duration) {
    if let (Ok(client), Ok(upstream)) = tokio::join!(client, upstream) {
        copy(TokioIo::new(client), TokioIo::new(upstream), linger).await;
    }
}

/// Copies until both sides have ended, or one is broken. When one has ended the other hears of it, and may go on; but not be silent for `linger`.
async fn copy(
    client: impl AsyncRead + AsyncWrite,
    upstream: impl AsyncRead + AsyncWrite,
    linger: Duration,
) {
    let (client, upstream) = (split(client), split(upstream));
    let moved = Notify::new();
    let mut there = pin!(pass(client.0, upstream.1, &moved));
    let mut back = pin!(pass(upstream.0, client.1, &moved));
    tokio::select! {
        ended = &mut there => if ended.is_ok() { last(back, &moved, linger).await },
        ended = &mut back => if ended.is_ok() { last(there, &moved, linger).await },
    }
}

/// The other way, when one has ended.
async fn last(way: impl Future, moved: &Notify, linger: Duration) {
    let mut way = pin!(way);
    loop {
        tokio::select! {
            _ = &mut way => return,
            () = moved.notified() => {}
            () = tokio::time::sleep(linger) => return,
        }
    }
}

/// One way, until its end, which is handed on.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    moved: &Notify,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let read = from.read(&mut piece).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        let mut rest = &piece[..read];
        while !rest.is_empty() {
            let written = to.write(rest).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            rest = &rest[written..];
            moved.notify_one();
        }
        to.flush().await?;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};
    use tokio::task::JoinHandle;
    use tokio::time::Instant;

    use super::*;

    const LINGER: Duration = Duration::from_secs(10);

    /// A client and an upstream with a tunnel between them, through which four bytes fit at once.
    fn tunnel() -> (DuplexStream, DuplexStream, JoinHandle<()>) {
        let ((client, ours), (theirs, upstream)) = (duplex(4), duplex(4));
        let copies = tokio::spawn(copy(ours, theirs, LINGER));
        (client, upstream, copies)
    }

    async fn rests(seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_is_as_silent_for_as_long_as_both_like() {
        let (mut client, mut upstream, copies) = tunnel();
        for _ in 0..3 {
            rests(3600).await;
            let mut heard = [0; 10];
            let say = client.write_all(b"0123456789");
            let (said, read) = tokio::join!(say, upstream.read_exact(&mut heard));
            said.and(read).unwrap();
            assert_eq!(&heard, b"0123456789");
        }
        drop((client, upstream));
        copies.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn when_one_side_has_ended_the_other_hears_of_it_and_is_not_waited_for_for_ever() {
        for client_ends in [true, false] {
            let (client, upstream, copies) = tunnel();
            let (mut ends, mut silent) = match client_ends {
                true => (client, upstream),
                false => (upstream, client),
            };
            let begun = Instant::now();
            ends.shutdown().await.unwrap();
            assert_eq!(silent.read(&mut [0]).await.unwrap(), 0, "it hears of it");
            assert_eq!(ends.read(&mut [0]).await.unwrap(), 0, "it is over");
            assert_eq!(begun.elapsed(), LINGER);
            copies.await.unwrap();
        }
    }

    /// As long as something comes, however little.
    #[tokio::test(start_paused = true)]
    async fn when_one_side_has_ended_the_other_may_say_all_that_it_has_to() {
        let (mut client, mut upstream, copies) = tunnel();
        client.shutdown().await.unwrap();
        let says = async {
            for _ in 0..20 {
                upstream.write_all(b"more").await.unwrap();
                rests(9).await;
            }
            upstream.shutdown().await.unwrap();
        };
        let mut heard = String::new();
        let (_, read) = tokio::join!(says, client.read_to_string(&mut heard));
        read.unwrap();
        assert_eq!(heard, "more".repeat(20));
        copies.await.unwrap();
    }

    /// What is not read any more is silence, too.
    #[tokio::test(start_paused = true)]
    async fn who_has_ended_and_reads_nothing_is_not_written_to_for_ever() {
        let (mut client, mut upstream, copies) = tunnel();
        client.shutdown().await.unwrap();
        let says = async { while upstream.write_all(b"more").await.is_ok() {} };
        let (_, copied) = tokio::join!(says, copies);
        copied.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_broken_is_over() {
        let (client, mut upstream, copies) = tunnel();
        drop(client);
        let begun = Instant::now();
        while upstream.write_all(b"more").await.is_ok() {}
        copies.await.unwrap();
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
