//! What the gateway itself answers, under `/-/`.

use buttress_cache::Depth;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::gateway::proxy::{Body, boxed};
use crate::gateway::stack::{Gateway, Parts};

/// What is to be forgotten.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Purge {
    #[serde(default)]
    tags: Vec<String>,
    /// Targets with scheme and authority, as clients ask for them.
    #[serde(default)]
    urls: Vec<String>,
    #[serde(default)]
    all: bool,
    /// What is at a target is stale then, and not gone; it is asked about, and there when the upstream fails.
    #[serde(default)]
    soft: bool,
}

impl Purge {
    /// Whether it is said what, and can be done: only what is at a target can become stale and stay.
    fn says_what(&self) -> bool {
        let has_more = self.all || !self.tags.is_empty();
        match self.soft {
            true => !has_more && !self.urls.is_empty(),
            false => has_more || !self.urls.is_empty(),
        }
    }
}

/// Whether a request is for us.
pub(crate) fn is_wanted<B>(request: &Request<B>) -> bool {
    request.uri().path().starts_with("/-/")
}

pub(crate) async fn answer(gateway: &Gateway, request: Request<Body>) -> Response<Body> {
    let is_get = request.method() == Method::GET;
    match request.uri().path() {
        "/-/health" if is_get => say(StatusCode::OK, &json!({"status": "ok"})),
        "/-/snapshot" if is_get => say(StatusCode::OK, &snapshot(&gateway.parts)),
        "/-/purge" if request.method() == Method::POST => {
            let token = gateway.token.as_ref();
            if !token.is_some_and(|token| is_authorized(request.headers(), token)) {
                let how = match token {
                    Some(_) => "send the token of --purge-token as a bearer token",
                    None => "start the gateway with --purge-token, and send it as a bearer token",
                };
                return say(StatusCode::FORBIDDEN, &json!({"error": how}));
            }
            purge(&gateway.parts, request.into_body()).await
        }
        _ => {
            let what = "GET /-/health, GET /-/snapshot, POST /-/purge";
            say(StatusCode::NOT_FOUND, &json!({"error": what}))
        }
    }
}

fn snapshot(parts: &Parts) -> Value {
    let breakers: serde_json::Map<_, _> = parts
        .breakers
        .iter()
        .map(|breaker| {
            (
                breaker.name().to_string(),
                json!(format!("{:?}", breaker.state())),
            )
        })
        .collect();
    json!({
        "cache": parts.cache.as_ref().map(|cache| {
            let now = cache.responses.snapshot();
            json!({
                "hits": now.hits, "misses": now.misses, "entries": now.entries, "bytes": now.weight,
                "redis_hits": now.redis_hits, "redis_failures": now.l2_failures,
                "stale": now.stale, "joined": now.joined,
            })
        }),
        "dedup": parts.dedup.as_ref().map(|dedup| json!({"flights": dedup.snapshot().flights})),
        "breakers": breakers,
    })
}

async fn purge(parts: &Parts, body: Body) -> Response<Body> {
    let Some(cache) = &parts.cache else {
        return say(StatusCode::CONFLICT, &json!({"error": "there is no cache"}));
    };
    let body = Limited::new(body, 64 * 1024).collect().await;
    let purge = body
        .ok()
        .and_then(|body| serde_json::from_slice::<Purge>(&body.to_bytes()).ok());
    let Some(purge) = purge.filter(Purge::says_what) else {
        return say(StatusCode::BAD_REQUEST, &usage());
    };
    let targets = purge.urls.iter().map(|url| target(url));
    let Some(targets) = targets.collect::<Option<Vec<_>>>() else {
        return say(StatusCode::BAD_REQUEST, &usage());
    };
    let depth = if purge.soft {
        Depth::Expire
    } else {
        Depth::Remove
    };
    for target in &targets {
        cache.layer.purge_target(target, depth);
    }
    let responses = &cache.responses;
    let cleared = match purge.all {
        true => responses.clear().await,
        false => responses.invalidate(&purge.tags).remove().await,
    };
    // It holds here in any case, and elsewhere as soon as that can be.
    say(
        StatusCode::OK,
        &json!({"purged": true, "elsewhere": cleared.is_ok()}),
    )
}

fn usage() -> Value {
    let how = r#"send some of {"tags": [".."], "urls": ["http://host/path"], "all": true}, or {"urls": [".."], "soft": true}"#;
    json!({"error": how})
}

/// What a client would ask for; `None` for what names no server.
fn target(url: &str) -> Option<http::request::Parts> {
    let request = Request::get(url).body(()).ok()?;
    request.uri().authority()?;
    Some(request.into_parts().0)
}

/// Takes as long for a wrong token as for the right one.
pub(crate) fn is_authorized(headers: &HeaderMap, token: &str) -> bool {
    let sent = headers.get(header::AUTHORIZATION);
    let sent = sent.and_then(|value| value.as_bytes().split_at_checked(b"Bearer ".len()));
    // A scheme has no case (RFC 9110, 11.1).
    let sent = sent.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer "));
    sent.is_some_and(|(_, sent)| {
        let differ = sent
            .iter()
            .zip(token.as_bytes())
            .fold(0, |all, (a, b)| all | (a ^ b));
        sent.len() == token.len() && differ == 0
    })
}

fn say(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    boxed(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purge_says_what_is_to_go() {
        for (body, is_one) in [
            (r#"{"all": true}"#, true),
            (r#"{"tags": ["a"]}"#, true),
            (r#"{"urls": ["http://h/"], "soft": true}"#, true),
            (r#"{"tags": ["a"], "soft": true}"#, false),
            ("{}", false),
            (r#"{"soft": true}"#, false),
            (r#"{"all": true, "soft": true}"#, false),
        ] {
            let purge: Purge = serde_json::from_str(body).unwrap();
            assert_eq!(purge.says_what(), is_one, "{body}");
        }
    }

    #[test]
    fn a_token_is_compared_and_its_scheme_has_no_case() {
        for (sent, is_right) in [
            ("Bearer sesame", true),
            ("bearer sesame", true),
            ("Bearer sesam", false),
            ("Bearer Sesame", false),
            ("Basic! sesame", false),
            ("Bearer", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, sent.parse().unwrap());
            assert_eq!(is_authorized(&headers, "sesame"), is_right, "{sent}");
        }
        assert!(!is_authorized(&HeaderMap::new(), "sesame"));
    }
}
