//! What a server can serve: one media type, parsed once.

use std::fmt;

use buttress_wire::lex::{Parameters, Value, is_token, value_and_parameters};

use crate::effort;
use crate::weight::QValue;

/// One media type on offer, and what the server keeps beside it.
#[derive(Clone, Debug)]
pub(crate) struct Offer<T> {
    /// As the server wrote it.
    pub(crate) media_type: Box<str>,
    /// `type/subtype`, in lower case.
    essence: Box<[u8]>,
    /// How much of `essence` is the type, the slash included.
    tree: usize,
    parameters: Box<[OfferParameter]>,
    pub(crate) quality: QValue,
    pub(crate) value: T,
}

#[derive(Clone, Debug)]
struct OfferParameter {
    name: Box<[u8]>,
    value: Box<[u8]>,
}

/// As many parameters as there are bits to remember which of them a range names.
const MAX_PARAMETERS: usize = 64;

impl<T> Offer<T> {
    pub(crate) fn parse(media_type: &str, value: T) -> Result<Self, InvalidOffer> {
        let refused = || InvalidOffer {
            media_type: media_type.into(),
        };
        let (essence, parameters) = value_and_parameters(media_type.as_bytes());
        let slash = essence
            .iter()
            .position(|b| *b == b'/')
            .ok_or_else(refused)?;
        let (main, sub) = (&essence[..slash], &essence[slash + 1..]);
        // `*` alone is a token, and would be a range.
        if !is_token(main) || !is_token(sub) || main == b"*" || sub == b"*" {
            return Err(refused());
        }
        Ok(Self {
            media_type: media_type.into(),
            essence: essence.to_ascii_lowercase().into(),
            tree: slash + 1,
            parameters: offer_parameters(parameters).ok_or_else(refused)?,
            quality: QValue::ONE,
            value,
        })
    }

    /// `type/subtype`, in lower case.
    pub(crate) fn essence(&self) -> &[u8] {
        &self.essence
    }

    /// `type/`, in lower case.
    pub(crate) fn tree(&self) -> &[u8] {
        &self.essence[..self.tree]
    }

    /// How many of this offer's parameters a range names, if it names no others (RFC 9110, 12.5.1). Its weight is none of them.
    ///
    /// `range` is well-formed: who calls has read it once.
    pub(crate) fn named_by(&self, range: Parameters<'_>) -> Option<u32> {
        let mut named = 0_u64;
        for wanted in range.flatten().filter(|p| !is_weight(p.name)) {
            let at = self
                .parameters
                .iter()
                .position(|own| own.is(wanted.name, wanted.value))?;
            named |= 1 << at;
        }
        Some(named.count_ones())
    }
}

impl OfferParameter {
    /// Names have no case, values have; but those of `charset` have none either (RFC 9110, 8.3.2).
    fn is(&self, name: &[u8], value: Value<'_>) -> bool {
        effort::seen(name);
        self.name.eq_ignore_ascii_case(name)
            && if &*self.name == b"charset" {
                value.is_ignore_case(&self.value)
            } else {
                value.is(&self.value)
            }
    }
}

/// Whether a parameter is the weight of its range.
pub(crate) fn is_weight(name: &[u8]) -> bool {
    matches!(name, b"q" | b"Q")
}

/// A parameter called `q` could never be asked for, and so is refused.
fn offer_parameters(parameters: Parameters<'_>) -> Option<Box<[OfferParameter]>> {
    let own = parameters
        .map(|parameter| {
            let parameter = parameter.ok().filter(|p| !is_weight(p.name))?;
            Some(OfferParameter {
                name: parameter.name.to_ascii_lowercase().into(),
                value: parameter.value.bytes().collect(),
            })
        })
        .collect::<Option<Box<[_]>>>()?;
    (own.len() <= MAX_PARAMETERS).then_some(own)
}

/// A media type that cannot be offered: malformed, with a wildcard, with a parameter `q`, or with more than 64 parameters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InvalidOffer {
    media_type: Box<str>,
}

impl fmt::Display for InvalidOffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} cannot be offered as a media type", self.media_type)
    }
}

impl std::error::Error for InvalidOffer {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_is_a_media_type_and_never_a_range() {
        for good in [
            "text/html",
            "TEXT/Html ; level=1",
            r#"a/b;p="x, y;z""#,
            "text/x-'*'|~`",
            "text/*x",
        ] {
            assert!(Offer::parse(good, ()).is_ok(), "{good:?}");
        }
        for bad in [
            "",
            "*",
            "text",
            "text/",
            "/html",
            "*/*",
            "text/*",
            "*/json",
            "a/b/c",
            "a b/c",
            "text/html;level",
            "text/html;q=1",
            "text/html;Q=1",
            "text/html,a/b",
            "a/b;p=\"",
        ] {
            assert!(Offer::parse(bad, ()).is_err(), "{bad:?}");
        }
        let many: String = (0..65).map(|i| format!(";p{i}=1")).collect();
        assert!(Offer::parse(&format!("a/b{many}"), ()).is_err());
    }
}
