//! Why somebody may not pass, as a problem with a challenge (RFC 6750, section 3).

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use buttress_wire::{Refusal, grpc::Code};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::storefront::tenant;
use crate::storefront::tokens::NoToken;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Refused {
    /// No token, where one is needed.
    Missing,
    /// One that is not good.
    Invalid,
    /// One of which nobody can tell at the moment whether it is good.
    Unknown,
    /// A good one that does not say this.
    Scope(&'static str),
    /// The header names another tenant than the token.
    OtherTenant,
    /// The header cannot be read.
    Tenant,
}

impl From<NoToken> for Refused {
    fn from(why: NoToken) -> Self {
        match why {
            NoToken::Wrong => Self::Invalid,
            NoToken::Unavailable(_) => Self::Unknown,
        }
    }
}

impl Refused {
    pub(crate) fn response(self, headers: &HeaderMap) -> Response {
        let mut response = self.refusal().response(headers).into_response();
        let challenge = match self {
            // RFC 6750, 3.1: who has sent no token is not told of an error.
            Self::Missing => "Bearer realm=\"storefront\"".to_owned(),
            Self::Invalid => "Bearer realm=\"storefront\", error=\"invalid_token\"".to_owned(),
            Self::Scope(needed) => format!(
                "Bearer realm=\"storefront\", error=\"insufficient_scope\", scope=\"{needed}\""
            ),
            Self::Unknown | Self::OtherTenant | Self::Tenant => return response,
        };
        if let Ok(challenge) = HeaderValue::try_from(challenge) {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }

    fn refusal(self) -> Refusal {
        let refusal = |status, kind, title, code| Refusal::new(status, kind, title, code);
        match self {
            Self::Missing => refusal(
                StatusCode::UNAUTHORIZED,
                "urn:storefront:problem:token-missing",
                "This needs a token",
                Code::Unauthenticated,
            ),
            Self::Invalid => refusal(
                StatusCode::UNAUTHORIZED,
                "urn:storefront:problem:token-invalid",
                "The token is not good, or no longer",
                Code::Unauthenticated,
            ),
            Self::Unknown => refusal(
                StatusCode::SERVICE_UNAVAILABLE,
                "urn:storefront:problem:token-unknown",
                "The key that the token names cannot be looked up at the moment",
                Code::Unavailable,
            )
            .retry_after(Duration::from_secs(1)),
            Self::Scope(needed) => refusal(
                StatusCode::FORBIDDEN,
                "urn:storefront:problem:scope",
                "The token does not say that this is allowed",
                Code::PermissionDenied,
            )
            .with("scope", needed),
            Self::OtherTenant => refusal(
                StatusCode::FORBIDDEN,
                "urn:storefront:problem:other-tenant",
                "The token is another tenant's",
                Code::PermissionDenied,
            ),
            Self::Tenant => tenant::unreadable(),
        }
    }
}
