//! Reading `Accept` (RFC 9110, section 12.5.1): one pass over the field, what each offer got kept in a fixed array.

use buttress_wire::lex::{elements, parameters, trim_ows};

use crate::effort;
use crate::offer::{Offer, is_weight};
use crate::offers::Limits;
use crate::weight::QValue;

/// How many offers are judged in one pass. More offers are more passes, so that no number of them allocates.
pub(crate) const BATCH: usize = 8;

/// What the most specific range says of an offer: its specificity, its weight, and where it stands. Zero is nothing.
///
/// Packed so that the greater one counts: the more specific range; of equally specific ones the higher weight (the RFC does not
/// say; most implementations do), and of those the first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Say(u64);

impl Say {
    const NOTHING: Self = Self(0);
    /// Where there is no field, there is no preference (RFC 9110, 12.4.1).
    pub(crate) const NO_PREFERENCE: Self = Self::new(0, QValue::ONE, 0);

    const fn new(specificity: u16, weight: QValue, position: u16) -> Self {
        let (weight, early) = (weight.thousandths() as u64, (u16::MAX - position) as u64);
        Self((specificity as u64) << 32 | weight << 16 | early)
    }

    pub(crate) const fn specificity(self) -> u16 {
        (self.0 >> 32) as u16
    }

    pub(crate) fn weight(self) -> QValue {
        QValue::from_thousandths((self.0 >> 16) as u16).unwrap_or(QValue::ZERO)
    }

    /// The greater, the further in front.
    pub(crate) const fn earliness(self) -> u16 {
        self.0 as u16
    }
}

/// Judges at most [`BATCH`] offers. What has no say in the answer was not mentioned.
///
/// A field that is absent, that has no elements, or that is over the limits states no preference.
#[inline]
pub(crate) fn judge<'f, T>(
    offers: &[Offer<T>],
    lines: impl Iterator<Item = &'f [u8]>,
    limits: Limits,
) -> [Say; BATCH] {
    let mut reading = Reading {
        offers,
        says: [Say::NOTHING; BATCH],
        ranges: 0,
        limit: limits.ranges,
    };
    let mut bytes = 0_usize;
    for line in lines {
        bytes = bytes.saturating_add(line.len());
        if bytes > limits.bytes || reading.line(line).is_err() {
            return [Say::NO_PREFERENCE; BATCH];
        }
    }
    if reading.ranges == 0 {
        return [Say::NO_PREFERENCE; BATCH];
    }
    reading.says
}

struct Reading<'o, T> {
    offers: &'o [Offer<T>],
    says: [Say; BATCH],
    ranges: usize,
    limit: usize,
}

/// More ranges than the limit allows.
struct TooMany;

impl<T> Reading<'_, T> {
    /// Reads one field line.
    ///
    /// Ranges as most clients send them, with no parameter but a weight, are cut out here. From the first other one on, the rest of
    /// the line is left to the lexer.
    #[inline]
    fn line(&mut self, line: &[u8]) -> Result<(), TooMany> {
        let mut rest = line;
        let lengths = self.lengths(line);
        loop {
            let cut = cut(rest);
            let (weight, end) = match rest.get(cut) {
                None | Some(b',') => (QValue::ONE, cut),
                Some(b';') => match lone_weight(&rest[cut + 1..]) {
                    Some((weight, length)) => (weight, cut + 1 + length),
                    None => return self.elements(rest),
                },
                Some(_) => return self.elements(rest),
            };
            self.plain(trim(&rest[..cut]), weight, end > cut, lengths)?;
            match rest.get(end + 1..) {
                Some(tail) => rest = tail,
                None => return Ok(()),
            }
        }
    }

    /// Which lengths the offers have, a bit for each: most of a long field is passed over by it. For a short one it does not pay.
    #[inline]
    fn lengths(&self, line: &[u8]) -> u64 {
        if line.len() < 512 {
            return u64::MAX;
        }
        let lengths = self.offers.iter().map(|o| length_bit(o.essence()));
        lengths.fold(0, |all, length| all | length)
    }

    /// A range without parameters. It is not validated: what equals an offer is valid, and what is malformed equals none.
    #[inline]
    fn plain(
        &mut self,
        essence: &[u8],
        weight: QValue,
        weighted: bool,
        lengths: u64,
    ) -> Result<(), TooMany> {
        if essence.is_empty() && !weighted {
            return Ok(()); // An empty element (RFC 9110, 5.6.1.2).
        }
        self.count()?;
        if lengths & length_bit(essence) == 0 && essence.last() != Some(&b'*') {
            return Ok(());
        }
        let (range, position) = (Range::of(essence), self.position());
        for (say, offer) in self.says.iter_mut().zip(self.offers) {
            if let Some(level) = range.level(offer) {
                *say = (*say).max(Say::new(level, weight, position));
            }
        }
        Ok(())
    }

    /// Any elements, with parameters, quoted strings and all. One that is malformed costs only itself.
    #[inline(never)]
    fn elements(&mut self, rest: &[u8]) -> Result<(), TooMany> {
        effort::seen(rest);
        for element in elements(rest) {
            self.count()?;
            self.element(element, self.position());
        }
        Ok(())
    }

    fn element(&mut self, element: &[u8], position: u16) {
        let cut = cut(element);
        let (essence, tail) = element.split_at(cut);
        let Some(weight) = weight_of(tail) else {
            return;
        };
        let range = Range::of(trim_ows(essence));
        for (say, offer) in self.says.iter_mut().zip(self.offers) {
            let Some(level) = range.level(offer) else {
                continue;
            };
            effort::seen(tail);
            if let Some(named) = offer.named_by(parameters(tail)) {
                *say = (*say).max(Say::new(level + named as u16, weight, position));
            }
        }
    }

    #[inline]
    fn count(&mut self) -> Result<(), TooMany> {
        self.ranges += 1;
        if self.ranges > self.limit {
            return Err(TooMany);
        }
        Ok(())
    }

    /// Where the range stands that was counted last.
    #[inline]
    fn position(&self) -> u16 {
        u16::try_from(self.ranges - 1).unwrap_or(u16::MAX)
    }
}

/// A bit for a length; lengths that are 64 apart share one.
#[inline]
const fn length_bit(essence: &[u8]) -> u64 {
    1 << (essence.len() % 64)
}

/// A media range without its parameters.
enum Range<'a> {
    /// `*/*`. A lone `*` is sent by Java and by robots, and meant so.
    All,
    /// `type/*`; holds `type/`.
    Tree(&'a [u8]),
    /// `type/subtype`.
    One(&'a [u8]),
}

impl<'a> Range<'a> {
    #[inline]
    fn of(essence: &'a [u8]) -> Self {
        match essence {
            b"*/*" | b"*" => Self::All,
            [tree @ .., b'*'] if tree.ends_with(b"/") => Self::Tree(tree),
            _ => Self::One(essence),
        }
    }

    /// How specific it is, if it covers `offer`. Steps leave room for the parameters that it names beside.
    #[inline]
    fn level<T>(&self, offer: &Offer<T>) -> Option<u16> {
        let (covers, level) = match self {
            Self::All => (true, 1 << 7),
            Self::Tree(tree) => (same(tree, offer.tree()), 2 << 7),
            Self::One(essence) => (same(essence, offer.essence()), 3 << 7),
        };
        covers.then_some(level)
    }
}

/// `q=0.`, a digit, a comma, and two more bytes; where the digit and those are.
const TENTHS: u64 = u64::from_le_bytes(*b"q=0.\0,\0\0");
const DIGIT: u64 = u64::from_le_bytes([0, 0, 0, 0, 0xff, 0, 0xff, 0xff]);

/// What stands behind a `;`, if that is a weight and nothing else, and how long it is.
#[inline(always)]
fn lone_weight(rest: &[u8]) -> Option<(QValue, usize)> {
    // Nearly every weight that is sent.
    if let Some(word) = rest.first_chunk::<8>() {
        let word = u64::from_le_bytes(*word);
        let tenths = (word >> 32) as u8 ^ b'0';
        if word & !DIGIT == TENTHS && tenths <= 9 {
            return Some((QValue::tenths(tenths), 5));
        }
    } else if let [b'q', b'=', b'0', b'.', digit @ b'0'..=b'9'] = rest {
        return Some((QValue::tenths(digit - b'0'), 5));
    }
    other_weight(rest)
}

#[inline(never)]
fn other_weight(rest: &[u8]) -> Option<(QValue, usize)> {
    let length = cut(rest);
    if !matches!(rest.get(length), None | Some(b',')) {
        return None;
    }
    let (b"q=" | b"Q=", digits) = trim_ows(&rest[..length]).split_at_checked(2)? else {
        return None;
    };
    Some((QValue::parse(digits.iter().copied())?, length))
}

/// [`trim_ows`], for what hardly ever needs it.
#[inline]
fn trim(bytes: &[u8]) -> &[u8] {
    match bytes {
        [b' ' | b'\t', ..] | [.., b' ' | b'\t'] => trim_ows(bytes),
        _ => bytes,
    }
}

/// Equality of what nearly always comes in lower case.
#[inline]
fn same(sent: &[u8], lower: &[u8]) -> bool {
    effort::seen(
        &sent[..if sent.len() == lower.len() {
            sent.len()
        } else {
            0
        }],
    );
    sent.len() == lower.len() && (sent == lower || sent.eq_ignore_ascii_case(lower))
}

/// Where the first byte stands that ends a plain range: a comma, a semicolon or a quote. Eight bytes at a time.
#[inline]
fn cut(bytes: &[u8]) -> usize {
    let mut at = 0;
    let mut tail = bytes;
    while let Some((chunk, rest)) = tail.split_first_chunk::<8>() {
        effort::seen(chunk);
        let word = u64::from_le_bytes(*chunk);
        let found = (find(word, b',') | find(word, b';') | find(word, b'"')) & HIGH;
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
        tail = rest;
    }
    effort::seen(tail);
    let end = tail.iter().position(|b| matches!(b, b',' | b';' | b'"'));
    at + end.unwrap_or(tail.len())
}

const ONES: u64 = u64::from_le_bytes([0x01; 8]);
const HIGH: u64 = u64::from_le_bytes([0x80; 8]);

/// Marks the bytes of `word` that are `byte`, in their highest bits. Marks above the lowest one may be wrong, and are not looked at.
#[inline]
const fn find(word: u64, byte: u8) -> u64 {
    let zero_where_found = word ^ (ONES * byte as u64);
    zero_where_found.wrapping_sub(ONES) & !zero_where_found
}

/// The weight among the parameters of a range: the first `q`, wherever it stands (RFC 9110, 12.4.2; `accept-ext` is gone).
/// `None`: a parameter is malformed, or the weight is.
pub(crate) fn weight_of(tail: &[u8]) -> Option<QValue> {
    effort::seen(tail);
    let mut weight = None;
    for parameter in parameters(tail) {
        let parameter = parameter.ok()?;
        if weight.is_none() && is_weight(parameter.name) {
            weight = Some(QValue::parse(parameter.value.bytes())?);
        }
    }
    Some(weight.unwrap_or(QValue::ONE))
}
