//! A gateway of one's own, and clients for it.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};

use crate::origin::Origin;

/// The program itself, on a free port. It is killed when this is dropped.
pub(crate) struct Gateway {
    pub(crate) child: Child,
    address: String,
    lines: Lines<BufReader<ChildStdout>>,
}

/// A connection to it.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
}

impl Gateway {
    pub(crate) async fn start(origin: &Origin) -> Self {
        Self::start_with(origin, &["--timeout", "60000"]).await
    }

    pub(crate) async fn start_with(origin: &Origin, args: &[&str]) -> Self {
        let url = origin.url();
        Self::run(&[&["--upstream", &url], args].concat()).await
    }

    pub(crate) async fn run(args: &[&str]) -> Self {
        let grace: &[&str] = match args.contains(&"--grace") {
            true => &[],
            false => &["--grace", "60"],
        };
        let mut child = Command::new(env!("CARGO_BIN_EXE_gateway"))
            .args(["--listen", "127.0.0.1:0", "--quiet"])
            .args(grace)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the gateway starts");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let greeting = within_reason(lines.next_line()).await.unwrap().unwrap();
        let address = greeting.rsplit("//").next().unwrap().to_owned();
        Self {
            child,
            address,
            lines,
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Asks, and leaves the response unread.
    pub(crate) fn get(&self, path: &str) -> impl Future<Output = Client> + use<> {
        self.send(&format!(
            "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        ))
    }

    /// Asks with these fields, and reads the response to its end.
    pub(crate) async fn ask(&self, line: &str, fields: &str) -> String {
        self.send(&request(line, fields)).await.read().await
    }

    /// The same, where the origin has to answer.
    pub(crate) async fn through(
        &self,
        origin: &mut Origin,
        line: &str,
        fields: &str,
        answer: &str,
    ) -> (String, String) {
        let request = request(line, fields);
        let (client, mut asked) = tokio::join!(self.send(&request), origin.request());
        asked.answer(answer).await;
        (client.read().await, asked.head.to_lowercase())
    }

    pub(crate) fn send(&self, request: &str) -> impl Future<Output = Client> + use<> {
        let (address, request) = (self.address.clone(), request.to_owned());
        async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            Client { stream }
        }
    }

    pub(crate) fn terminate(&self) {
        let id = self.child.id().unwrap().to_string();
        let status = std::process::Command::new("kill").arg(id).status();
        assert!(status.unwrap().success());
    }

    /// Waits until it says a line that begins so.
    pub(crate) async fn said(&mut self, word: &str) {
        while let Some(line) = within_reason(self.lines.next_line()).await.unwrap() {
            if line.starts_with(word) {
                return;
            }
        }
        panic!("it never said {word}");
    }
}

/// Of a method and a path, after which the connection ends.
pub(crate) fn request(line: &str, fields: &str) -> String {
    let host = if fields.to_lowercase().contains("host:") {
        ""
    } else {
        "Host: h\r\n"
    };
    format!("{line} HTTP/1.1\r\n{host}Connection: close\r\n{fields}\r\n")
}

impl Client {
    /// Everything until the connection ends. Bytes that are no UTF-8 are not expected.
    pub(crate) async fn read(mut self) -> String {
        let mut all = Vec::new();
        // A connection that is cut is an end too.
        let _ = within_reason(self.stream.read_to_end(&mut all)).await;
        String::from_utf8(all).unwrap()
    }

    /// Everything until this was read.
    pub(crate) async fn until(&mut self, end: &str) -> String {
        let mut all = Vec::new();
        while !all.ends_with(end.as_bytes()) {
            all.push(within_reason(self.stream.read_u8()).await.unwrap());
        }
        String::from_utf8(all).unwrap()
    }
}

/// A test that waits for ever says so instead.
pub(crate) async fn within_reason<T>(wait: impl Future<Output = T>) -> T {
    let wait = tokio::time::timeout(Duration::from_secs(60), wait);
    wait.await.expect("it happens within a minute")
}
