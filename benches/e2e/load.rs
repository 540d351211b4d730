//! Who asks: wrk, or where it is not installed this program.

use std::fmt::Write;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::Failure;
use crate::process::{OTHERS, folder, is_installed, pinned};

const CONNECTIONS: usize = 32;
/// For how long an answer is waited for when the time is over.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is sent. `{n}` in the path is another number each time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) headers: &'static [(&'static str, &'static str)],
    pub(crate) body: &'static str,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered {
    pub(crate) per_second: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    /// How many answers were refusals, by their status.
    pub(crate) refused: u64,
    /// How many connections broke.
    pub(crate) broken: u64,
}

#[derive(Debug)]
pub(crate) struct Load {
    millis: u64,
    with_wrk: bool,
}

impl Asked {
    /// As it goes over the wire, for this path.
    pub(crate) fn text(&self, path: &str) -> String {
        let mut text = format!("{} {path} HTTP/1.1\r\nhost: shop.example\r\n", self.method);
        for (name, value) in self.headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        if !self.body.is_empty() {
            let _ = write!(text, "content-length: {}\r\n", self.body.len());
        }
        text + "\r\n" + self.body
    }

    /// In wrk's Lua. `seed` makes the numbers of this run others than those of the runs before. `Host` is written as wrk writes it, which would else send
    /// one of its own beside.
    fn script(&self, seed: u64) -> String {
        let mut script = format!("wrk.method = {:?}\n", self.method);
        for (name, value) in self.headers.iter().chain(&[("Host", "shop.example")]) {
            let _ = writeln!(script, "wrk.headers[{name:?}] = {value:?}");
        }
        if !self.body.is_empty() {
            let _ = writeln!(script, "wrk.body = {:?}", self.body);
        }
        if let Some((before, after)) = self.path.split_once("{n}") {
            let _ = writeln!(
                script,
                "local n = 0\nfunction request()\n  n = n + 1\n  return wrk.format(nil, \"{before}{seed}-\" .. n .. \"{after}\")\nend"
            );
        }
        script
    }
}

impl Load {
    pub(crate) fn new(millis: u64, no_wrk: bool) -> Self {
        Self {
            millis,
            // It counts whole seconds.
            with_wrk: !no_wrk && is_installed("wrk") && millis >= 1000,
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        if self.with_wrk { "wrk" } else { "its own" }
    }

    pub(crate) fn run(&self, to: SocketAddr, asked: &Asked) -> Result<Answered, Failure> {
        if self.with_wrk {
            self.wrk(to, asked)
        } else {
            self.own(to, asked)
        }
    }

    fn wrk(&self, to: SocketAddr, asked: &Asked) -> Result<Answered, Failure> {
        let script = folder()?.join("request.lua");
        fs::write(&script, asked.script(nonce()))?;
        let mut wrk = Command::new("wrk");
        wrk.args(["-t1", "--latency", "-s"])
            .arg(script)
            .arg(format!("-c{CONNECTIONS}"))
            .arg(format!("-d{}s", self.millis / 1000))
            .arg(format!("http://{to}{}", asked.path.replace("{n}", "0")));
        let output = pinned(OTHERS, &wrk).output()?;
        read_wrk(&String::from_utf8_lossy(&output.stdout))
    }

    fn own(&self, to: SocketAddr, asked: &Asked) -> Result<Answered, Failure> {
        let mut own = Command::new(env::current_exe()?);
        own.args(["load", &to.to_string(), &self.millis.to_string()]);
        let path = asked.path.replace("{n}", &format!("{}-{{n}}", nonce()));
        let mut child = pinned(OTHERS, &own)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            io::Write::write_all(&mut input, asked.text(&path).as_bytes())?;
        }
        let output = child.wait_with_output()?;
        let text = String::from_utf8(output.stdout)?;
        let figures: Result<Vec<f64>, _> = text.split_whitespace().map(str::parse).collect();
        let [per_second, p50, p99, refused] = figures?[..] else {
            return Err("the load generator failed".into());
        };
        Ok(Answered {
            per_second,
            p50: Duration::from_secs_f64(p50),
            p99: Duration::from_secs_f64(p99),
            refused: refused as u64,
            // One that breaks ends it.
            broken: 0,
        })
    }
}

/// Another one for each run: the servers are new, and have been asked for none of them.
fn nonce() -> u64 {
    static RUNS: AtomicU64 = AtomicU64::new(1);
    RUNS.fetch_add(1, Ordering::Relaxed)
}

fn read_wrk(text: &str) -> Result<Answered, Failure> {
    let after = |name: &str| {
        let mut lines = text.lines().map(str::trim);
        let rest = lines.find_map(|line| line.strip_prefix(name));
        rest.map(|rest| rest.trim().to_owned())
            .ok_or_else(|| format!("wrk said {text:?}"))
    };
    Ok(Answered {
        per_second: after("Requests/sec:")?.parse()?,
        p50: span(&after("50%")?)?,
        p99: span(&after("99%")?)?,
        // It says so only where there are any.
        refused: after("Non-2xx or 3xx responses:").map_or(Ok(0), |count| count.parse())?,
        broken: after("Socket errors:").map_or(0, |errors| sum(&errors)),
    })
}

/// Of `connect 0, read 5, write 0, timeout 0`.
fn sum(errors: &str) -> u64 {
    let counts = errors
        .split([' ', ','])
        .filter_map(|word| word.parse::<u64>().ok());
    counts.sum()
}

/// As wrk writes it: `311.00us`, `1.24ms`, `1.02s`.
fn span(text: &str) -> Result<Duration, Failure> {
    let units = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0)];
    for (unit, seconds) in units {
        if let Some(Ok(number)) = text.strip_suffix(unit).map(str::parse::<f64>) {
            return Ok(Duration::from_secs_f64(number * seconds));
        }
    }
    Err(format!("wrk wrote {text:?}").into())
}

/// Sends what it reads, on all connections, and prints requests a second, p50 and p99 in seconds, and how many were refused.
pub(crate) fn generate(to: SocketAddr, millis: u64) -> Result<(), Failure> {
    let mut template = String::new();
    io::stdin().read_to_string(&mut template)?;
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build()?;
    let span = Duration::from_millis(millis);
    let (mut took, refused) = runtime.block_on(ask_for(to, template, span))?;
    took.sort_unstable();
    let at = |share: f64| took.get((took.len() as f64 * share) as usize);
    let seconds = |share| at(share).map_or(0.0, |nanos| *nanos as f64 / 1e9);
    let per_second = took.len() as f64 / span.as_secs_f64();
    println!("{per_second} {} {} {refused}", seconds(0.5), seconds(0.99));
    Ok(())
}

/// The nanoseconds of each, and how many were refused.
async fn ask_for(
    to: SocketAddr,
    template: String,
    span: Duration,
) -> Result<(Vec<u64>, u64), Failure> {
    let until = now() + span;
    let mut connections = JoinSet::new();
    for connection in 0..CONNECTIONS {
        connections.spawn(ask_on(to, template.clone(), connection, until));
    }
    let mut all = (Vec::new(), 0);
    // Whoever stops answering in the middle is not waited for.
    let end = tokio::time::Instant::from_std(until + PATIENCE);
    while let Some(asked) = tokio::time::timeout_at(end, connections.join_next()).await? {
        let (took, refused) = asked??;
        all.0.extend(took);
        all.1 += refused;
    }
    Ok(all)
}

/// One request after the other on one connection, each with the nanoseconds that it took, and how many were refused.
async fn ask_on(
    to: SocketAddr,
    template: String,
    connection: usize,
    until: Instant,
) -> io::Result<(Vec<u64>, u64)> {
    let mut stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let (mut took, mut refused, mut buffer) = (Vec::new(), 0, Vec::with_capacity(1 << 16));
    let (before, after) = template.split_once("{n}").unwrap_or((&template, ""));
    let is_numbered = before.len() < template.len();
    let mut request = template.clone();
    for n in (connection..).step_by(CONNECTIONS) {
        if is_numbered {
            request.clear();
            let _ = write!(request, "{before}{n}{after}");
        }
        let began = now();
        if began >= until {
            break;
        }
        stream.write_all(request.as_bytes()).await?;
        buffer.clear();
        while !is_whole(&buffer) {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        took.push(began.elapsed().as_nanos() as u64);
        // Behind `HTTP/1.1 `.
        refused += u64::from(matches!(buffer.get(9), Some(b'4' | b'5')));
    }
    Ok((took, refused))
}

#[expect(clippy::disallowed_methods, reason = "it measures time")]
fn now() -> Instant {
    Instant::now()
}

/// Whether this is a whole answer: by its length, by its last chunk, or without a body.
fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return false;
    };
    let (head, body) = (answer[..end].to_ascii_lowercase(), &answer[end + 4..]);
    let field = |name: &[u8]| {
        let at = head.windows(name.len()).position(|at| at == name)?;
        head[at + name.len()..].split(|byte| *byte == b'\r').next()
    };
    let length = field(b"\r\ncontent-length: ").and_then(|text| str::from_utf8(text).ok());
    match length.and_then(|text| text.trim().parse::<usize>().ok()) {
        _ if head.get(9..12) == Some(b"304") => true,
        Some(length) => body.len() >= length,
        None => body.ends_with(b"0\r\n\r\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_writes_is_read() {
        let text = "  Latency Distribution\n     50%  311.00us\n     75%    1.00ms\n     99%    1.24ms\n  9 requests in 1.00s\nRequests/sec:  99012.50\n";
        let answered = read_wrk(text).expect("it is wrk's");
        assert_eq!(answered.per_second, 99012.5);
        assert_eq!(answered.p50, Duration::from_micros(311));
        assert_eq!(answered.p99, Duration::from_micros(1240));
        assert_eq!(answered.refused, 0);
        let refused = format!("{text}  Non-2xx or 3xx responses: 12\n");
        assert_eq!(read_wrk(&refused).expect("it is wrk's").refused, 12);
        let broken = format!("{text}\n  Socket errors: connect 1, read 20, write 0, timeout 3\n");
        assert_eq!(read_wrk(&broken).expect("it is wrk's").broken, 24);
        assert!(read_wrk("unable to connect").is_err());
    }

    #[test]
    fn an_answer_is_whole_when_its_body_is_there() {
        for (answer, whole) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no", false),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true),
            (
                "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n",
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
                false,
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
                true,
            ),
            ("HTTP/1.1 200 OK\r\n", false),
        ] {
            assert_eq!(is_whole(answer.as_bytes()), whole, "{answer}");
        }
    }
}
