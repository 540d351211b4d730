//! Bodies whose hash their senders have sent along (RFC 9530).

use http::request;
use sfv::{BareItem, Dictionary, ListEntry, Parser};
use sha2::{Digest, Sha256, Sha512};

use super::{Fingerprint, FingerprintError, raw_body};

/// As [`raw_body`], for requests whose `Content-Digest` is that of their body.
///
/// Every `sha-256` and `sha-512` that the field holds is compared with the body; other algorithms tell nothing (RFC 9530, section 5). What it says is not taken on trust: a
/// request that claims the digest of another one is not that request. A request without the field has its fingerprint all the same.
///
/// # Errors
///
/// When the field cannot be read, or tells of another body.
pub fn content_digest(head: &request::Parts, body: &[u8]) -> Result<Fingerprint, FingerprintError> {
    let lines: Vec<_> = head.headers.get_all("content-digest").iter().collect();
    if !lines.is_empty() {
        let field: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        check(&field.join(&b", "[..]), body)?;
    }
    raw_body(head, body)
}

fn check(field: &[u8], body: &[u8]) -> Result<(), FingerprintError> {
    let unreadable = |_| FingerprintError::new("the Content-Digest cannot be read");
    let digests: Dictionary = Parser::new(field).parse().map_err(unreadable)?;
    for (algorithm, digest) in &digests {
        let is_right = match (algorithm.as_str(), digest) {
            ("sha-256", ListEntry::Item(item)) => is(&item.bare_item, &Sha256::digest(body)),
            ("sha-512", ListEntry::Item(item)) => is(&item.bare_item, &Sha512::digest(body)),
            ("sha-256" | "sha-512", ListEntry::InnerList(_)) => false,
            _ => true,
        };
        if !is_right {
            return Err(FingerprintError::new(
                "the Content-Digest is not that of the body",
            ));
        }
    }
    Ok(())
}

fn is(item: &BareItem, digest: &[u8]) -> bool {
    item.as_byte_sequence().is_some_and(|bytes| bytes == digest)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    /// RFC 9530, appendix B.1: `{"hello": "world"}` and a line feed.
    const BODY: &[u8] = b"{\"hello\": \"world\"}\n";
    const SHA_256: &str = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:";
    const SHA_512: &str = "sha-512=:YMAam51Jz/jOATT6/zvHrLVgOYTGFy1d6GJiOHTohq4yP+pgk4vf2aCsyRZOtw8MjkM7iw7yZ/WkppmM44T3qg==:";

    fn of(lines: &[&str], body: &[u8]) -> Result<Fingerprint, FingerprintError> {
        let mut request = Request::post("/o");
        for line in lines {
            request = request.header("content-digest", *line);
        }
        content_digest(&request.body(()).unwrap().into_parts().0, body)
    }

    #[test]
    fn a_digest_has_to_be_that_of_the_body() {
        let plain = of(&[], BODY).unwrap();
        for lines in [
            &[SHA_256][..],
            &[SHA_512],
            &[SHA_256, SHA_512],
            &["md5=:AAAA:, crc=1", SHA_256],
            &["unixsum=:AAAA:"],
            &[""],
        ] {
            assert_eq!(of(lines, BODY), Ok(plain), "{lines:?}");
        }
        for lines in [&[SHA_256][..], &["unixsum=:AAAA:", SHA_512]] {
            let refused = of(lines, b"another").unwrap_err();
            assert!(
                refused.to_string().contains("not that of the body"),
                "{lines:?}"
            );
        }
        for wrong in ["sha-256=1", "sha-256", "sha-256=(:AAAA:)", "sha-256=:AAAA:"] {
            assert!(of(&[wrong], BODY).is_err(), "{wrong}");
        }
        let unreadable = of(&["sha-256=:AA"], BODY).unwrap_err();
        assert!(unreadable.to_string().contains("cannot be read"));
    }
}
