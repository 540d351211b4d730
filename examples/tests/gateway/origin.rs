//! An origin that answers with whatever bytes it is told.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::gateway::within_reason;

pub(crate) struct Origin {
    listener: TcpListener,
}

/// A request that came, head only, on a connection of its own.
pub(crate) struct Request {
    pub(crate) head: String,
    pub(crate) stream: TcpStream,
}

impl Origin {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }

    /// The next one. Connections are not used twice: each answer ends its own.
    pub(crate) async fn request(&mut self) -> Request {
        let (mut stream, _) = within_reason(self.listener.accept()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(within_reason(stream.read_u8()).await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        Request { head, stream }
    }
}

impl Request {
    pub(crate) fn starts(&self, line: &str) -> bool {
        self.head.starts_with(line)
    }

    /// Whether a field begins so, whatever its case.
    pub(crate) fn has(&self, field: &str) -> bool {
        self.head.to_lowercase().contains(&format!("\r\n{field}"))
    }

    /// Reads until this was read.
    pub(crate) async fn until(&mut self, end: &str) {
        let mut all = Vec::new();
        while !all.ends_with(end.as_bytes()) {
            all.push(within_reason(self.stream.read_u8()).await.unwrap());
        }
    }

    pub(crate) async fn write(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The last thing that is said on this connection; a head says so, or else the gateway could ask on it once more just when it ends.
    pub(crate) async fn answer(&mut self, bytes: &str) {
        match bytes.split_once("\r\n") {
            Some((line, rest)) if line.starts_with("HTTP/1.1 ") => {
                let bytes = format!("{line}\r\nConnection: close\r\n{rest}");
                self.write(&bytes).await;
            }
            _ => self.write(bytes).await,
        }
        self.stream.shutdown().await.unwrap();
    }
}
