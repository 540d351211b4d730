//! Somebody who watches the shop's own stream all the time. What it says is when to look again.

use std::net::SocketAddr;

use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub(crate) struct Watcher {
    said: watch::Receiver<u64>,
    _tasks: JoinSet<()>,
}

impl Watcher {
    /// Is there, for the shop too, when this returns.
    pub(crate) async fn start(shop: SocketAddr) -> Self {
        let stream = TcpStream::connect(shop).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async { drop(connection.await) });
        let request = Request::get("/demo/stream").header("host", shop.to_string());
        let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
        let mut events = sender.send_request(request).await.unwrap().into_body();
        let (says, said) = watch::channel(0);
        tasks.spawn(async move {
            let _open = sender;
            while let Some(Ok(_)) = events.frame().await {
                says.send_modify(|count| *count += 1);
            }
        });
        let mut watcher = Self {
            said,
            _tasks: tasks,
        };
        watcher.next().await;
        watcher
    }

    /// Waits until the stream says something.
    pub(crate) async fn next(&mut self) {
        let said = examples::within_reason(self.said.changed()).await;
        said.expect("the shop's stream goes on");
    }
}
