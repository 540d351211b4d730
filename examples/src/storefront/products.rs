//! Pages of products: stored with tags, gone when what they show is changed.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use buttress_cache::http::CacheTags;
use buttress_wire::{Refusal, grpc::Code};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;

use crate::given::Given;
use crate::path;
use crate::storefront::events::Happening;
use crate::storefront::shop::Shop;
use crate::storefront::tenant::Tenant;

/// For a minute, in every cache between here and the browser's own, for whoever asks in the same name: see [`caller::check`](crate::storefront::caller::check).
const FRESH: (header::HeaderName, &str) = (header::CACHE_CONTROL, "public, s-maxage=60, max-age=0");

pub(crate) async fn product(
    State(shop): State<Arc<Shop>>,
    tenant: Tenant,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let product = match shop.catalogue.product(&tenant, &id).await {
        Ok(Some(product)) => product,
        Ok(None) => return not_found(&headers),
        Err(unavailable) => return unavailable.into_response(),
    };
    let mut response = ([FRESH], [tenant.field()], Json(&product)).into_response();
    response
        .extensions_mut()
        .insert(CacheTags::from_iter([tag(&tenant, product.id)]));
    response
}

#[derive(Deserialize)]
pub(crate) struct Search {
    #[serde(default)]
    q: String,
}

pub(crate) async fn search(
    State(shop): State<Arc<Shop>>,
    tenant: Tenant,
    Query(search): Query<Search>,
) -> Response {
    let found = match shop.catalogue.search(&tenant, &search.q).await {
        Ok(found) => found,
        Err(unavailable) => return unavailable.into_response(),
    };
    let tags = CacheTags::from_iter(found.iter().map(|product| tag(&tenant, product.id)));
    let mut response = ([FRESH], [tenant.field()], Json(&found)).into_response();
    response.extensions_mut().insert(tags);
    response
}

#[derive(Deserialize)]
pub(crate) struct NewPrice {
    price_cents: u64,
}

/// Changes a price: first at the source, then in every page that shows it.
pub(crate) async fn set_price(
    State(shop): State<Arc<Shop>>,
    tenant: Tenant,
    Path(id): Path<String>,
    headers: HeaderMap,
    Given(new): Given<NewPrice>,
) -> Response {
    let changed = tag(&tenant, &id);
    let set = shop
        .catalogue
        .set_price(&tenant, &id, new.price_cents, &changed);
    match set.await {
        Ok(true) => {}
        Ok(false) => return not_found(&headers),
        Err(unavailable) => return unavailable.into_response(),
    }
    shop.feed.publish(
        &tenant,
        Happening::Price {
            product: id.clone(),
            price_cents: new.price_cents,
        },
    );
    // Here and not by an extension of the response: the client may have gone, and the response with it.
    shop.pages.stored.invalidate([changed]).now();
    Json(serde_json::json!({ "product": id, "price_cents": new.price_cents })).into_response()
}

/// What else is bought with a product, from another service.
pub(crate) async fn recommendations(
    State(shop): State<Arc<Shop>>,
    tenant: Tenant,
    Path(id): Path<String>,
) -> Response {
    let path = format!("/recommendations/{}", path::segment(&id));
    let request = http::Request::builder();
    match shop.recommendations.send(&tenant, request, &path, "").await {
        Ok(mut response) => {
            crate::storefront::router::note_rejection(&shop, &response);
            // Its body streams through.
            response.headers_mut().remove(header::CONTENT_LENGTH);
            response
        }
        Err(error) => bad_gateway("recommendations", &error),
    }
}

pub(crate) fn bad_gateway(service: &str, error: &tower::BoxError) -> Response {
    Refusal::new(
        StatusCode::BAD_GATEWAY,
        "urn:storefront:problem:upstream",
        "A service that is needed for this could not be reached",
        Code::Unavailable,
    )
    .detail(format!("{service}: {error}"))
    .response(&HeaderMap::new())
    .into_response()
}

fn not_found(headers: &HeaderMap) -> Response {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "urn:storefront:problem:no-such-product",
        "There is no such product",
        Code::NotFound,
    )
    .response(headers)
    .into_response()
}

pub(crate) fn tag(tenant: &Tenant, product: &str) -> String {
    tenant.tag(&format!("product:{product}"))
}
