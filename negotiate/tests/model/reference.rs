//! The rules of RFC 9110, section 12.5.1, as plainly as they can be written: everything is split, copied and compared.

use std::collections::BTreeSet;

/// The weight of each offer, in thousandths, and the place of the winner: the most wanted, then the most specifically named, then the
/// first named, then the first offered.
pub(crate) fn choose(field: &[u8], offers: &[&str]) -> (Vec<u16>, Option<usize>) {
    let elements: Vec<_> = split(field, b',');
    let elements: Vec<_> = elements.into_iter().filter(|e| !e.is_empty()).collect();
    let says: Vec<_> = offers
        .iter()
        .map(|offer| match elements.is_empty() {
            true => (0, 1000, 0),
            false => say(&elements, &Type::parse(offer.as_bytes()).unwrap()),
        })
        .collect();
    let better = |a: &usize, b: &usize| {
        let key = |at: usize| (says[at].1, says[at].0, -says[at].2, -(at as i64));
        key(*a).cmp(&key(*b))
    };
    let wanted = (0..offers.len()).filter(|at| says[*at].1 > 0);
    (
        says.iter().map(|say| say.1).collect(),
        wanted.max_by(better),
    )
}

/// Specificity, weight and place of the range that counts for an offer.
fn say(elements: &[Vec<u8>], offer: &Type) -> (usize, u16, i64) {
    let mut best = (0, 0, 0);
    for (place, element) in elements.iter().enumerate() {
        let Some(range) = Type::parse(element) else {
            continue;
        };
        let Some(specificity) = range.covers(offer) else {
            continue;
        };
        let say = (specificity, range.weight, -(place as i64));
        best = best.max(say);
    }
    (best.0, best.1, -best.2)
}

struct Type {
    main: Vec<u8>,
    sub: Vec<u8>,
    parameters: BTreeSet<(Vec<u8>, Vec<u8>)>,
    weight: u16,
}

impl Type {
    fn parse(element: &[u8]) -> Option<Self> {
        let mut parts = split(element, b';').into_iter();
        let essence = parts.next()?;
        let essence = if essence == b"*" {
            b"*/*".to_vec()
        } else {
            essence
        };
        let slash = essence.iter().position(|b| *b == b'/')?;
        let (main, sub) = (lower(&essence[..slash]), lower(&essence[slash + 1..]));
        if !is_token(&main) || !is_token(&sub) || (main == b"*" && sub != b"*") {
            return None;
        }
        let (mut parameters, mut weight) = (BTreeSet::new(), None);
        for part in parts.filter(|part| !part.is_empty()) {
            let equals = part.iter().position(|b| *b == b'=')?;
            let (name, value) = (lower(&part[..equals]), unquote(&part[equals + 1..])?);
            if !is_token(&name) {
                return None;
            }
            match (&name[..], weight) {
                (b"q", None) => weight = Some(thousandths(&value)?),
                (b"q", Some(_)) => {}
                (b"charset", _) => drop(parameters.insert((name, lower(&value)))),
                _ => drop(parameters.insert((name, value))),
            }
        }
        let weight = weight.unwrap_or(1000);
        Some(Self {
            main,
            sub,
            parameters,
            weight,
        })
    }

    fn covers(&self, offer: &Self) -> Option<usize> {
        let star = |part: &[u8]| part == b"*";
        let level = match (star(&self.main), star(&self.sub)) {
            (true, true) => 1,
            (false, true) if self.main == offer.main => 2,
            (false, false) if self.main == offer.main && self.sub == offer.sub => 3,
            _ => return None,
        };
        let named = self.parameters.len();
        self.parameters
            .is_subset(&offer.parameters)
            .then_some(level * 1000 + named)
    }
}

fn thousandths(text: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = fraction.bytes().all(|b| b.is_ascii_digit());
    let zeros = fraction.bytes().all(|b| b == b'0');
    let three: String = fraction.chars().chain("000".chars()).take(3).collect();
    match whole {
        "0" if digits => three.parse().ok(),
        "" if digits && !fraction.is_empty() => three.parse().ok(),
        "1" if zeros => Some(1000),
        _ => None,
    }
}

/// Splits outside of quoted strings, and trims.
fn split(bytes: &[u8], at: u8) -> Vec<Vec<u8>> {
    let (mut parts, mut part, mut quoted, mut escaped) = (vec![], vec![], false, false);
    for byte in bytes {
        if *byte == at && !quoted {
            parts.push(std::mem::take(&mut part));
            continue;
        }
        part.push(*byte);
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
    }
    parts.push(part);
    let ows = |b: &u8| matches!(b, b' ' | b'\t');
    let trim = |part: Vec<u8>| {
        let start = part.iter().position(|b| !ows(b)).unwrap_or(part.len());
        let end = part
            .iter()
            .rposition(|b| !ows(b))
            .map_or(start, |last| last + 1);
        part[start..end].to_vec()
    };
    parts.into_iter().map(trim).collect()
}

fn unquote(value: &[u8]) -> Option<Vec<u8>> {
    if value.first() != Some(&b'"') {
        return is_token(value).then(|| value.to_vec());
    }
    let (mut out, mut rest) = (vec![], value[1..].iter());
    loop {
        match *rest.next()? {
            b'"' => return rest.next().is_none().then_some(out),
            b'\\' => out.push(*rest.next().filter(|b| text(**b))?),
            byte if text(byte) => out.push(byte),
            _ => return None,
        }
    }
}

fn text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

fn lower(bytes: &[u8]) -> Vec<u8> {
    bytes.to_ascii_lowercase()
}

fn is_token(bytes: &[u8]) -> bool {
    let tchar = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    !bytes.is_empty() && bytes.iter().all(tchar)
}
