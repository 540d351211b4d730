//! The sales report, in the form that its reader asks for.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use buttress_cache::http::CacheTags;
use buttress_negotiate::{
    Csv, Json, NegotiateLayer, Negotiated, NotAcceptable, Record, Selected, Xml,
};
use http::{HeaderValue, header};

use crate::storefront::catalogue::Sale;
use crate::storefront::shop::Shop;
use crate::storefront::tenant::Tenant;

/// The forms there are, the one for who does not care first.
pub(crate) type Formats = (Json, Csv, Xml);

pub(crate) fn formats() -> NegotiateLayer<Formats> {
    NegotiateLayer::new((Json, Csv::new(), Xml::root("sales").item("sale")))
}

impl Record for Sale {
    const COLUMNS: &'static [&'static str] = &["product", "name", "units", "revenue_cents"];
}

pub(crate) async fn sales(
    State(shop): State<Arc<Shop>>,
    tenant: Tenant,
    negotiated: Negotiated<Formats>,
) -> Response {
    let rows = match shop.catalogue.sales(&tenant).await {
        Ok(rows) => rows,
        Err(unavailable) => return unavailable.into_response(),
    };
    let mut response = match negotiated.attachment("sales").rows(&rows) {
        Ok(response) => ([tenant.field()], response).into_response(),
        // An error is nobody's report: no cache may keep it.
        Err(error) => return error.into_response(),
    };
    let fresh = HeaderValue::from_static("public, s-maxage=60, max-age=0");
    response.headers_mut().insert(header::CACHE_CONTROL, fresh);
    response
        .extensions_mut()
        .insert(CacheTags::from_iter([tenant.tag("sales")]));
    response
}

/// Counts what was chosen, and what was refused.
pub(crate) async fn count(State(shop): State<Arc<Shop>>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if response.extensions().get::<NotAcceptable>().is_some() {
        shop.stats.note(|state| state.negotiate.refused += 1);
        shop.stats.tell("negotiate", "Somebody asked for a form that there is not: refused with 406 and the list of what there is, before the report was made.");
    } else if let Some(selected) = response.extensions().get::<Selected>() {
        let format = selected.format().to_owned();
        shop.stats.note(|state| match &*format {
            "csv" => state.negotiate.csv += 1,
            "xml" => state.negotiate.xml += 1,
            _ => state.negotiate.json += 1,
        });
        let name = format.to_uppercase();
        shop.stats.tell("negotiate", format!("The report was asked for as {name}, and sent as {name}; caches were told that it varies."));
    }
    response
}
