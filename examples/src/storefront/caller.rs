//! Who is calling, and for which tenant: by a bearer token, or, where that is allowed, by the `x-tenant` header alone.
//!
//! This stands outside of the cache, idempotency and single flight, which keep apart what they know by what is found out here.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, Query, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, CACHE_CONTROL, HeaderValue, VARY};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use jsonwebtoken::jwk::JwkSet;

use crate::storefront::catalogue::Unavailable;
use crate::storefront::refused::Refused;
use crate::storefront::shop::Shop;
use crate::storefront::tenant::{self, Tenant};
use crate::storefront::tokens::{Claims, NoToken, Wanted};

#[derive(Clone, Debug)]
pub(crate) struct Caller {
    tenant: Tenant,
    /// The tenant's name, and the principal's behind a slash, which no tenant's name has. Without a token nobody's.
    key: String,
    /// `None` for whoever needs none.
    scope: Option<String>,
}

/// Lets only those pass who may, and says to all that stands inside who they are.
pub(crate) async fn check(
    State(shop): State<Arc<Shop>>,
    mut request: Request,
    next: Next,
) -> Response {
    let needed = needed(request.method(), request.uri().path());
    let caller = Caller::of(&shop, request.headers()).await;
    let mut response = match caller.and_then(|caller| caller.may(needed)) {
        Ok(caller) => {
            if !caller.is_anonymous() {
                buttress_trace_ctx::user(caller.key());
            }
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refused) => refused.response(request.headers()),
    };
    // Here, outside of the shop's own cache, which keeps tenants apart by their names and one page for each. A cache in front of the shop
    // knows no tenants: it must not give one's page, which is `public`, to another.
    response.headers_mut().append(VARY, WHO_ASKS);
    response
}

/// The fields of a request that say who asks, and for which tenant.
const WHO_ASKS: HeaderValue = HeaderValue::from_static("authorization, x-tenant");

/// What a token has to say for a request. What is shown to everybody needs nothing.
fn needed(method: &Method, path: &str) -> Option<&'static str> {
    match (method, path) {
        (&Method::PUT, _) => Some("prices"),
        // Each order is told there.
        (_, "/events") => Some("orders"),
        (_, path) if path == "/orders" || path.starts_with("/orders/") => Some("orders"),
        (_, "/reports/sales") => Some("reports"),
        _ => None,
    }
}

impl Caller {
    async fn of(shop: &Shop, headers: &HeaderMap) -> Result<Self, Refused> {
        let named = tenant::named(headers).map_err(|_| Refused::Tenant)?;
        let Some(token) = bearer(headers)? else {
            return Self::without_token(shop, named);
        };
        let claims = shop.keys.verify(token).await?;
        let caller = Self::with(claims)?;
        match named {
            Some(named) if named != caller.tenant => Err(Refused::OtherTenant),
            _ => Ok(caller),
        }
    }

    fn with(claims: Claims) -> Result<Self, Refused> {
        let tenant = Tenant::parse(&claims.tenant).ok_or(Refused::Invalid)?;
        if claims.sub.is_empty() {
            return Err(Refused::Invalid);
        }
        Ok(Self {
            key: format!("{}/{}", tenant.as_str(), claims.sub),
            tenant,
            scope: Some(claims.scope),
        })
    }

    /// In a strict shop these see what is shown to everybody, and choose no tenant.
    fn without_token(shop: &Shop, named: Option<Tenant>) -> Result<Self, Refused> {
        if shop.strict && named.is_some() {
            return Err(Refused::Missing);
        }
        let tenant = named.unwrap_or_default();
        Ok(Self {
            key: format!("{}/", tenant.as_str()),
            tenant,
            scope: shop.strict.then(String::new),
        })
    }

    fn may(self, needed: Option<&'static str>) -> Result<Self, Refused> {
        let Some((needed, scope)) = needed.zip(self.scope.as_deref()) else {
            return Ok(self);
        };
        if scope.split(' ').any(|name| name == needed) {
            return Ok(self);
        }
        Err(if self.is_anonymous() {
            Refused::Missing
        } else {
            Refused::Scope(needed)
        })
    }

    /// Who it is, for whoever counts by it.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn is_anonymous(&self) -> bool {
        // Nothing behind the slash.
        self.key.len() == self.tenant.as_str().len() + 1
    }
}

/// The token of `Authorization: Bearer` (RFC 6750, 2.1). Any other way to say who one is, is none of ours.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Refused> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let Some(field) = fields.next() else {
        return Ok(None);
    };
    let token = field.to_str().ok().and_then(|field| field.split_once(' '));
    match token {
        Some((scheme, token))
            if scheme.eq_ignore_ascii_case("bearer") && fields.next().is_none() =>
        {
            Ok(Some(token.trim()))
        }
        _ => Err(Refused::Invalid),
    }
}

/// The tenant's partition of what is stored. What is stored is for all of a tenant's; what is one principal's own is `private`, or has no word for it,
/// and is not stored.
pub(crate) fn partition(parts: &Parts) -> Cow<'_, [u8]> {
    let caller = parts.extensions.get::<Caller>();
    caller.map_or_else(Cow::default, |caller| {
        caller.tenant.as_str().as_bytes().into()
    })
}

/// Whose flights and idempotency keys these are: a principal's, of a tenant.
pub(crate) fn principal(parts: &Parts) -> Cow<'_, [u8]> {
    let caller = parts.extensions.get::<Caller>();
    caller.map_or_else(Cow::default, |caller| caller.key.as_bytes().into())
}

impl<S: Sync> FromRequestParts<S> for Tenant {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        let caller = parts.extensions.get::<Caller>();
        // Without `check` around it nobody is anybody.
        caller
            .map(|caller| caller.tenant.clone())
            .ok_or(StatusCode::UNAUTHORIZED)
    }
}

/// Mints a token, with what the query says: for people with curl, and for tests.
pub(crate) async fn mint(State(shop): State<Arc<Shop>>, Query(wanted): Query<Wanted>) -> Response {
    match shop.keys.mint(wanted).await {
        Ok(token) => ([(CACHE_CONTROL, "no-store")], token).into_response(),
        Err(NoToken::Unavailable(error)) => error.into_response(),
        Err(NoToken::Wrong) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

pub(crate) async fn rotate(State(shop): State<Arc<Shop>>) -> Result<StatusCode, Unavailable> {
    shop.keys.rotate().await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn public_keys(State(shop): State<Arc<Shop>>) -> Json<JwkSet> {
    Json(shop.keys.public().await)
}
