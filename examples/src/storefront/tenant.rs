//! A tenant's name, and where it stands.

use std::borrow::Cow;

use buttress_wire::{Refusal, grpc::Code};
use http::request::Parts;
use http::{HeaderMap, HeaderName, StatusCode};

/// A tenant's name: up to 32 lower-case letters, digits and hyphens.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Tenant(String);

/// The one of whoever names none.
impl Default for Tenant {
    fn default() -> Self {
        Self("main".to_owned())
    }
}

impl Tenant {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let is_name = (1..=32).contains(&name.len()) && name.bytes().all(allowed);
        is_name.then(|| Self(name.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The field that says on a page whose it is.
    pub(crate) fn field(&self) -> (HeaderName, &str) {
        (HeaderName::from_static(HEADER), self.as_str())
    }

    /// A tag that no other tenant has.
    pub(crate) fn tag(&self, tag: &str) -> String {
        format!("{}/{tag}", self.0)
    }
}

pub(crate) const HEADER: &str = "x-tenant";

/// The header is there, and is not one name.
#[derive(Debug)]
pub(crate) struct Unreadable;

/// The tenant that the header names.
pub(crate) fn named(headers: &HeaderMap) -> Result<Option<Tenant>, Unreadable> {
    let mut fields = headers.get_all(HEADER).iter();
    let Some(name) = fields.next() else {
        return Ok(None);
    };
    let name = name.to_str().ok().and_then(Tenant::parse);
    let once = fields.next().is_none();
    name.filter(|_| once).map(Some).ok_or(Unreadable)
}

pub(crate) fn unreadable() -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        "urn:storefront:problem:tenant",
        "The tenant's name cannot be read",
        Code::InvalidArgument,
    )
    .detail("x-tenant is one name of up to 32 lower-case letters, digits and hyphens")
}

/// The partition of a call that is made for a tenant, who stands in its header.
pub(crate) fn partition(parts: &Parts) -> Cow<'_, [u8]> {
    let name = parts.headers.get(HEADER);
    name.map_or_else(Cow::default, |name| name.as_bytes().into())
}
