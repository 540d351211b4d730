//! What a server can do wrong.

use std::fmt::Write;
use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::tally::Tally;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// Says that it cannot, or nothing.
    Fails,
    /// Takes the request, and is never heard of again: before the head, or in the middle of the body.
    Stalls,
    /// Ends in the middle of a head or a body.
    Cuts,
    /// Sends more interim responses than anybody wants.
    Floods,
    /// Heads that are larger than heads are.
    Heads,
    /// What is no HTTP, or two things at once.
    Malformed,
    /// Bodies of some mebibytes.
    Bodies,
    /// Fields that make a cache keep much: `Vary`, tags, ranges.
    Bloats,
    /// Speaks when it is not its turn.
    Chatters,
    /// Payments and recommendations, with any of these.
    Services,
}

pub(crate) const FAULTS: [Fault; 10] = [
    Fault::Fails,
    Fault::Stalls,
    Fault::Cuts,
    Fault::Floods,
    Fault::Heads,
    Fault::Malformed,
    Fault::Bodies,
    Fault::Bloats,
    Fault::Chatters,
    Fault::Services,
];

/// What becomes of a connection.
pub(crate) enum Then {
    Listen,
    Close,
    Reset,
}

/// A body that tells what it is the answer to.
pub(crate) fn good_body(path: &str) -> String {
    format!("this is {path}")
}

impl Fault {
    /// The first segment of its paths.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fails => "fails",
            Self::Stalls => "stalls",
            Self::Cuts => "cuts",
            Self::Floods => "floods",
            Self::Heads => "heads",
            Self::Malformed => "malformed",
            Self::Bodies => "bodies",
            Self::Bloats => "bloats",
            Self::Chatters => "chatters",
            Self::Services => "services",
        }
    }

    /// Answers as its path says, `/{fault}/good/{n}` or `/{fault}/bad/{n}`, where the number says which kind of bad.
    pub(crate) async fn answer(
        self,
        head: &str,
        to: &mut TcpStream,
        tally: &Tally,
    ) -> io::Result<Then> {
        let path = head.split(' ').nth(1).unwrap_or("/");
        if self == Self::Services {
            return service(head, path, to, tally).await;
        }
        let number = number_in(path);
        if path.contains("/good/") {
            tally.up("answers that are good");
            return good(head, path, to).await;
        }
        if path.contains("/tunnel/") {
            tally.up("tunnels");
            return tunnel(number, to).await;
        }
        self.misbehave(number, to, tally).await
    }

    async fn misbehave(self, n: u64, to: &mut TcpStream, tally: &Tally) -> io::Result<Then> {
        tally.up(match self {
            Self::Fails => "failures",
            Self::Stalls => "stalls",
            Self::Cuts => "cuts in heads and bodies",
            Self::Floods => "floods of interim responses",
            Self::Heads => "huge heads",
            Self::Malformed => "malformed responses",
            Self::Bodies => "huge bodies",
            Self::Bloats => "responses that bloat a cache",
            Self::Chatters => "words out of turn",
            Self::Services => "other",
        });
        match self {
            Self::Fails => fail(n, to).await,
            Self::Stalls => stall(n, to).await,
            Self::Cuts => cut(n, to).await,
            Self::Floods => flood(n, to).await,
            Self::Heads => huge_head(n, to).await,
            Self::Malformed => malformed(n, to).await,
            Self::Bodies => huge_body(n, to).await,
            Self::Bloats => bloat(n, to).await,
            Self::Chatters | Self::Services => chatter(n, to).await,
        }
    }
}

/// The number that a path ends with, before its query.
fn number_in(path: &str) -> u64 {
    let path = path.split('?').next().unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default();
    last.parse().unwrap_or(0)
}

const FRESH: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n";

/// Whole, and in HTTP. Some may be kept, some not, some only when they were asked about.
async fn good(head: &str, path: &str, to: &mut TcpStream) -> io::Result<Then> {
    let control = match number_in(path) % 4 {
        0 => "no-store",
        1 => "max-age=60",
        2 => "max-age=60, stale-while-revalidate=60\r\nAge: 100\r\nETag: \"1\"",
        _ => "max-age=0, must-revalidate\r\nETag: \"1\"",
    };
    if head.to_lowercase().contains("\r\nif-none-match: \"1\"") {
        let not = format!("HTTP/1.1 304 Not Modified\r\nCache-Control: {control}\r\n\r\n");
        to.write_all(not.as_bytes()).await?;
        return Ok(Then::Listen);
    }
    let body = good_body(path);
    let length = body.len();
    // Who sends a body may not have been read to his end.
    let (keep, then) = match head.starts_with("GET ") {
        true => ("", Then::Listen),
        false => ("Connection: close\r\n", Then::Close),
    };
    let answer = format!(
        "HTTP/1.1 200 OK\r\nCache-Control: {control}\r\n{keep}Content-Length: {length}\r\n\r\n{body}"
    );
    to.write_all(answer.as_bytes()).await?;
    Ok(then)
}

async fn fail(n: u64, to: &mut TcpStream) -> io::Result<Then> {
    let answer = match n % 6 {
        0 => "HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno",
        1 => "HTTP/1.1 503 No\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n",
        2 => "HTTP/1.1 503 No\r\nRetry-After: 99999999999999999999\r\nContent-Length: 0\r\n\r\n",
        3 => {
            "HTTP/1.1 429 No\r\nRetry-After: Sun, 06 Nov 2994 08:49:37 GMT\r\nContent-Length: 0\r\n\r\n"
        }
        4 => return Ok(Then::Close),
        _ => return Ok(Then::Reset),
    };
    to.write_all(answer.as_bytes()).await?;
    Ok(Then::Listen)
}

async fn stall(n: u64, to: &mut TcpStream) -> io::Result<Then> {
    let begun = match n % 3 {
        0 => String::new(),
        1 => "HTTP/1.1 200 OK\r\nCache-Con".to_owned(),
        _ => format!("{FRESH}Content-Length: 100\r\n\r\nthe beginning"),
    };
    to.write_all(begun.as_bytes()).await?;
    // Until the other side has had enough.
    tokio::io::copy(to, &mut tokio::io::sink()).await?;
    Ok(Then::Close)
}

async fn cut(n: u64, to: &mut TcpStream) -> io::Result<Then> {
    let half = match n % 5 {
        0 => "HTTP/1.1 200 O".to_owned(),
        1 => format!("{FRESH}Content-Len"),
        2 => format!("{FRESH}Content-Length: 10000\r\n\r\nhalf"),
        3 => format!("{FRESH}Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
        _ => format!("{FRESH}Transfer-Encoding: chunked\r\n\r\nffff\r\nhalf"),
    };
    to.write_all(half.as_bytes()).await?;
    Ok(if n.is_multiple_of(2) {
        Then::Reset
    } else {
        Then::Close
    })
}

async fn flood(n: u64, to: &mut TcpStream) -> io::Result<Then> {
    let hint = format!(
        "HTTP/1.1 103 Early Hints\r\nLink: </{}>; rel=preload\r\n\r\n",
        "a".repeat(1 + n as usize % 1000)
    );
    let other = "HTTP/1.1 102 Processing\r\n\r\n";
    for _ in 0..200 + n % 800 {
        to.write_all(hint.as_bytes()).await?;
        to.write_all(other.as_bytes()).await?;
    }
    if n.is_multiple_of(3) {
        return Ok(Then::Close);
    }
    let last = format!("{FRESH}Content-Length: 4\r\n\r\ndone");
    to.write_all(last.as_bytes()).await?;
    Ok(Then::Listen)
}

async fn huge_head(n: u64, to: &mut TcpStream) -> io::Result<Then> {
    let mut head = FRESH.to_owned();
    match n % 3 {
        // More than is read of a head.
        0 => write!(head, "X-Huge: {}\r\n", "h".repeat(1 << 20)),
        // More than is taken of fields.
        1 => (0..400).try_for_each(|n| write!(head, "X-Field-{n}: {n}\r\n")),
        // As much as passes.
        _ => (0..200).try_for_each(|n| write!(head, "X-Long-{n}: {}\r\n", "l".repeat(1000))),
    }
    .unwrap();
    head.push_str("Content-Length: 4\r\n\r\nhead");
    to.write_all(head.as_bytes()).await?;
    Ok(Then::Close)
}

async fn malformed(n: u64, to: &mut TcpStream) -> io::Result<Then> {
    let answer = match n % 10 {
        0 => "HTTP/1.1 2OO OK\r\n\r\n".to_owned(),
        1 => "HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned(),
        2 => format!("{FRESH}X-Nul: a\0b\r\nContent-Length: 0\r\n\r\n"),
        3 => format!("{FRESH}Bad Name: x\r\nContent-Length: 0\r\n\r\n"),
        4 => format!("{FRESH}Content-Length: 4\r\nContent-Length: 5\r\n\r\nbody!"),
        5 => format!("{FRESH}Content-Length: -1\r\n\r\nbody"),
        6 => format!(
            "{FRESH}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"
        ),
        7 => format!("{FRESH}Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nbody"),
        8 => format!("{FRESH}Transfer-Encoding: gzip\r\n\r\nbody"),
        _ => "\u{1}\u{2}\u{3}garbage\r\n\r\n".to_owned(),
    };
    to.write_all(answer.as_bytes()).await?;
    Ok(Then::Close)
}

async fn huge_body(n: u64, to: &mut TcpStream) -> io::Result<Then> {
    const PIECE: usize = 64 * 1024;
    let pieces = 16 + n as usize % 64;
    let piece = vec![b'b'; PIECE];
    if n.is_multiple_of(2) {
        let head = format!("{FRESH}Content-Length: {}\r\n\r\n", pieces * PIECE);
        to.write_all(head.as_bytes()).await?;
        for _ in 0..pieces {
            to.write_all(&piece).await?;
        }
        return Ok(Then::Listen);
    }
    let head = format!("{FRESH}Transfer-Encoding: chunked\r\n\r\n");
    to.write_all(head.as_bytes()).await?;
    for _ in 0..pieces {
        to.write_all(format!("{PIECE:x}\r\n").as_bytes()).await?;
        to.write_all(&piece).await?;
        to.write_all(b"\r\n").await?;
    }
    to.write_all(b"0\r\nX-Trailer: end\r\n\r\n").await?;
    Ok(Then::Listen)
}

async fn bloat(n: u64, to: &mut TcpStream) -> io::Result<Then> {
    let mut head = FRESH.to_owned();
    match n % 5 {
        0 => (0..50).try_for_each(|field| write!(head, "Vary: x-{n}-{field}\r\n")),
        1 => {
            let tags: Vec<_> = (0..2000).map(|tag| format!("t{n}-{tag}")).collect();
            write!(head, "Surrogate-Key: {}\r\n", tags.join(" "))
        }
        2 => write!(head, "Vary: *\r\nSet-Cookie: a=b\r\n"),
        3 => write!(head, "Cache-Groups: \"{}\"\r\n", "g".repeat(20_000)),
        _ => write!(
            head,
            "ETag: \"{}\"\r\nNo-Vary-Search: params\r\n",
            "e".repeat(20_000)
        ),
    }
    .unwrap();
    head.push_str("Content-Length: 5\r\n\r\nbloat");
    to.write_all(head.as_bytes()).await?;
    Ok(Then::Listen)
}

async fn chatter(n: u64, to: &mut TcpStream) -> io::Result<Then> {
    let answer = match n % 4 {
        // Behind the end of what it had to say.
        0 => format!(
            "{FRESH}Content-Length: 4\r\n\r\nbodyHTTP/1.1 200 Smuggled\r\nContent-Length: 3\r\n\r\nbad"
        ),
        1 => "HTTP/1.1 101 Switching Protocols\r\nUpgrade: none\r\nConnection: upgrade\r\n\r\n"
            .to_owned(),
        2 => "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nbody".to_owned(),
        _ => "HTTP/1.1 304 Not Modified\r\nETag: \"other\"\r\n\r\n".to_owned(),
    };
    to.write_all(answer.as_bytes()).await?;
    Ok(Then::Listen)
}

/// Takes what a tunnel brings, and gives it back, or leaves in the middle.
async fn tunnel(n: u64, to: &mut TcpStream) -> io::Result<Then> {
    let yes = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n";
    to.write_all(yes.as_bytes()).await?;
    let mut heard = [0; 1024];
    for _ in 0..n % 8 {
        let count = to.read(&mut heard).await?;
        if count == 0 {
            break;
        }
        to.write_all(&heard[..count]).await?;
    }
    Ok(if n.is_multiple_of(2) {
        Then::Reset
    } else {
        Then::Close
    })
}

/// Two in three calls are well; of the others each is as its key says.
async fn service(head: &str, path: &str, to: &mut TcpStream, tally: &Tally) -> io::Result<Then> {
    let sum = |sum: u64, byte: u8| sum.wrapping_mul(31).wrapping_add(u64::from(byte));
    let n = head.bytes().fold(7, sum) >> 3;
    if !n.is_multiple_of(3) {
        tally.up("service calls that are good");
        let body = match path {
            "/payments" => format!("{{\"payment\":\"pay-{n}\",\"cents\":{n}}}"),
            _ => format!("{{\"product\":\"{path}\",\"also\":[]}}"),
        };
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        to.write_all(answer.as_bytes()).await?;
        return Ok(Then::Close);
    }
    let faults = [
        Fault::Fails,
        Fault::Fails,
        Fault::Cuts,
        Fault::Malformed,
        Fault::Heads,
        Fault::Stalls,
    ];
    let fault = faults[(n / 3) as usize % faults.len()];
    let then = fault.misbehave(n, to, tally).await?;
    Ok(match then {
        Then::Listen => Then::Close,
        end => end,
    })
}
