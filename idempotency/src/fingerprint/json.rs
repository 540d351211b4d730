//! JSON that says the same in other words (RFC 8785).

use buttress_wire::key::KeyBuilder;
use http::header::CONTENT_TYPE;
use http::request;

use super::{Fingerprint, FingerprintError, Hash, raw_body};

/// The query, and what a JSON body says, whatever the order of its members, its white space and its escapes (RFC 8785).
///
/// Of members with one name the last one counts. A body that is not JSON by its content type, or cannot be read as such, or holds a number that a double
/// cannot tell from others (more than 15 digits, an exponent beyond two), counts byte for byte, as with [`raw_body`].
///
/// # Errors
///
/// None.
pub fn canonical_json(head: &request::Parts, body: &[u8]) -> Result<Fingerprint, FingerprintError> {
    let Some(canonical) = is_json(head).then(|| canonical(body)).flatten() else {
        return raw_body(head, body);
    };
    let mut hash = Hash::new(None);
    // Where a body that counts byte for byte has its content type.
    KeyBuilder::new(&mut hash)
        .optional(head.uri.query())
        .part("canonical json")
        .part(canonical);
    Ok(Fingerprint(hash.finish()))
}

fn is_json(head: &request::Parts) -> bool {
    let Some(content_type) = head.headers.get(CONTENT_TYPE).and_then(|t| t.to_str().ok()) else {
        return false;
    };
    let essence = content_type
        .split(';')
        .next()
        .unwrap_or("")
        .trim()
        .to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

fn canonical(body: &[u8]) -> Option<Vec<u8>> {
    if !numbers_are_exact(body) {
        return None;
    }
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    serde_json_canonicalizer::to_vec(&value).ok()
}

/// Whether each number of a JSON text is told from every other by the double that it is read as.
fn numbers_are_exact(text: &[u8]) -> bool {
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => skip_string(&mut bytes),
            b'0'..=b'9' => {
                let is_of_number =
                    |byte: &u8| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
                let mut number = vec![byte];
                while let Some(byte) = bytes.next_if(is_of_number) {
                    // An attacker's number of a million digits is not kept.
                    if number.len() > 40 {
                        return false;
                    }
                    number.push(byte);
                }
                if !is_exact(&number) {
                    return false;
                }
            }
            _ => {}
        }
    }
    true
}

fn skip_string(bytes: &mut impl Iterator<Item = u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
}

/// A double holds any fifteen decimal digits, and exponents to some three hundred.
fn is_exact(number: &[u8]) -> bool {
    let mut halves = number.splitn(2, |byte| matches!(byte, b'e' | b'E'));
    let digits = |half: Option<&[u8]>| {
        let digits = half
            .unwrap_or_default()
            .iter()
            .filter(|b| b.is_ascii_digit());
        digits.skip_while(|b| **b == b'0').count()
    };
    digits(halves.next()) <= 15 && digits(halves.next()) <= 2
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn of(content_type: &str, body: &str) -> Fingerprint {
        let request = Request::post("/o").header("content-type", content_type);
        let (head, ()) = request.body(()).unwrap().into_parts();
        canonical_json(&head, body.as_bytes()).unwrap()
    }

    #[track_caller]
    fn same(a: &str, b: &str) {
        assert_eq!(
            of("application/json", a),
            of("application/json", b),
            "{a} and {b}"
        );
    }

    #[track_caller]
    fn differ(a: &str, b: &str) {
        assert_ne!(
            of("application/json", a),
            of("application/json", b),
            "{a} and {b}"
        );
    }

    #[test]
    fn what_says_the_same_is_the_same() {
        same(
            r#"{"a":1,"b":[true,null]}"#,
            " { \"b\" : [ true, null ], \"a\":1 } ",
        );
        same(r#"{"a":"\u00e9"}"#, r#"{"a":"é"}"#);
        same("1.50", "1.5");
        same("100", "1e2");
        differ(r#"{"a":1}"#, r#"{"a":"1"}"#);
        differ("[1,2]", "[2,1]");
        differ(r#"{"a":1}"#, r#"{"a":1,"b":null}"#);
        let problem = of("application/problem+json; charset=utf-8", "{ }");
        assert_eq!(problem, of("application/json", "{}"));
    }

    #[test]
    fn numbers_that_a_double_confuses_stay_apart() {
        differ("9007199254740993", "9007199254740992");
        differ("18446744073709551617", "18446744073709551616");
        differ("0.10000000000000000001", "0.1");
        differ("1e-400", "0");
        differ("[1, 9007199254740993]", "[1,9007199254740992]");
        // In a string they are letters.
        same(
            r#"{"a":"9007199254740993","b":1}"#,
            r#"{"b":1,"a":"9007199254740993"}"#,
        );
        same(
            r#"{"\"9007199254740993":1}"#,
            r#"{ "\"9007199254740993":1 }"#,
        );
        differ(&"1".repeat(100_000), &"1".repeat(100_001));
    }

    #[test]
    fn what_is_not_json_counts_byte_for_byte() {
        assert_ne!(of("text/plain", "{}"), of("text/plain", "{ }"));
        differ("{", "{ ");
        assert_ne!(of("text/plain", "{}"), of("application/json", "{}"));
        let deep = "[".repeat(1000) + &"]".repeat(1000);
        differ(&deep, &format!("{deep} "));
    }
}
