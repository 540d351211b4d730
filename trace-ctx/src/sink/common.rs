use std::{
    fmt::{self, Write as _},
    io::Write,
    net::IpAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use http::Version;

use crate::{ClientIp, Finished, Networks, Sink, Started, rfc3339::CommonTime};

/// An access log in the common log format: `host - user [time] "GET /path HTTP/1.1" 200 812`.
///
/// The user is who [somebody said](crate::user) it is.
/// Of the target only the path is written: a query may hold secrets. What could end a field or a line is written `\xhh`,
/// so that a line is one line whatever a caller sends. A line that the writer refuses is [counted](Self::lost).
pub struct CommonLog<W> {
    writer: Mutex<W>,
    lost: AtomicU64,
    client_ip: ClientIp,
}

/// What of a request's head stands in its line.
#[derive(Clone, Copy, Debug)]
pub struct CommonHead {
    client: Option<IpAddr>,
    version: Version,
}

impl<W: Write> CommonLog<W> {
    /// Writes to this writer, a line per call of `write_all`. The host is the client that the
    /// [layer found](crate::ServerLayer::client_ip), or else the [peer](crate::PeerAddr).
    pub fn new(writer: W) -> Self {
        Self {
            writer: Mutex::new(writer),
            lost: AtomicU64::new(0),
            client_ip: ClientIp::x_forwarded_for(Networks::default()),
        }
    }

    /// How the host is found where the layer has not found it.
    #[must_use]
    pub fn client_ip(self, client_ip: ClientIp) -> Self {
        Self { client_ip, ..self }
    }

    /// How many lines the writer refused.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl<W: Write> Sink for CommonLog<W> {
    type Span = CommonHead;

    fn begin(&self, started: &Started<'_>) -> Option<CommonHead> {
        let known = started.context.client_ip();
        Some(CommonHead {
            client: known.or_else(|| self.client_ip.of(&started.head)),
            version: started.head.version,
        })
    }

    fn end(&self, head: CommonHead, finished: &Finished<'_>) {
        let line = line(head, finished);
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.write_all(line.as_bytes()).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn line(head: CommonHead, finished: &Finished<'_>) -> String {
    let mut line = match head.client {
        Some(client) => client.to_string(),
        None => "-".to_owned(),
    };
    let time = CommonTime(finished.ended_at());
    let (path, version) = (Escaped(finished.uri.path()), head.version);
    // Writing to a string cannot fail.
    let _ = write!(
        line,
        " - {} [{time}] \"{} {path} {version:?}\" ",
        Escaped(
            finished
                .context
                .user()
                .filter(|user| !user.is_empty())
                .unwrap_or("-")
        ),
        finished.method
    );
    let _ = match finished.status {
        Some(status) => write!(line, "{}", status.as_u16()),
        None => write!(line, "-"),
    };
    let _ = match finished.bytes {
        0 => writeln!(line, " -"),
        bytes => writeln!(line, " {bytes}"),
    };
    line
}

struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            match byte {
                b'"' | b'\\' | ..=b' ' | 0x7f.. => write!(f, "\\x{byte:02x}")?,
                _ => f.write_char(char::from(byte))?,
            }
        }
        Ok(())
    }
}

impl<W> fmt::Debug for CommonLog<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommonLog")
            .field("lost", &self.lost)
            .finish_non_exhaustive()
    }
}
