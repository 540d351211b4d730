//! An access log in the common log format.

use std::fmt::{self, Write as _};
use std::io::Write;
use std::net::IpAddr;

use http::Version;

use super::lines::Lines;
use crate::rfc3339::CommonTime;
use crate::{ClientIp, Finished, Networks, Sink, Started};

/// An access log in the common log format: `host - user [time] "GET /path HTTP/1.1" 200 812`.
///
/// The user is who [somebody said](crate::user) it is.
/// Of the target only the path is written: a query may hold secrets. What could end a field or a line is written `\xhh`,
/// so that a line is one line whatever a caller sends. A line that the writer refuses is [counted](Self::lost).
///
/// The writer is called on the task of the request, under the sink's lock: give it one that does not block for long, and none whose
/// own calls this sink writes down, for it would wait for itself.
pub struct CommonLog<W> {
    lines: Lines<W>,
    client_ip: ClientIp,
}

/// What of a request's head stands in its line.
#[derive(Clone, Copy, Debug)]
pub struct CommonHead {
    client: Option<IpAddr>,
    version: Version,
}

impl<W: Write> CommonLog<W> {
    /// Writes to this writer, line by line, and flushes it after each. The host is the client that the
    /// [layer found](crate::ServerLayer::client_ip), or else the [peer](crate::PeerAddr).
    pub fn new(writer: W) -> Self {
        Self {
            lines: Lines::new(writer),
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
        self.lines.lost()
    }
}

impl<W: Write> Sink for CommonLog<W> {
    type Span = CommonHead;

    const TIMES_HEAD: bool = false;

    fn begin(&self, started: &Started<'_>) -> Option<CommonHead> {
        let known = started.context.client_ip();
        Some(CommonHead {
            client: known.or_else(|| self.client_ip.of(&started.head)),
            version: started.head.version,
        })
    }

    fn end(&self, head: CommonHead, finished: &Finished<'_>) {
        self.lines.write(line(head, finished).as_bytes());
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
            .field("lines", &self.lines)
            .finish_non_exhaustive()
    }
}
