//! What the SDK exports of three services, one of them gRPC, as a collector receives it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use buttress_trace_ctx::{
    ClientLayer, OtelSink, RouteName, SampleRequest, Sampling, ServerLayer, TraceContext,
    TraceLayer, Trust, attribute, current, error, event,
};
use http::{HeaderName, Request, Response, StatusCode};
use http_body_util::BodyExt;
use opentelemetry::trace::{Span as _, Tracer, TracerProvider};
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as SpanStatus;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use prost::Message;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::server::PARENT;

/// A collector. As a plain gRPC service it is also the third of the three services.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

impl Collector {
    fn take(&self, request: ExportTraceServiceRequest) {
        let scopes = request
            .resource_spans
            .into_iter()
            .flat_map(|r| r.scope_spans);
        self.0
            .lock()
            .unwrap()
            .extend(scopes.flat_map(|scope| scope.spans));
    }

    fn spans(&self) -> Vec<Span> {
        self.0.lock().unwrap().clone()
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        self.take(request.into_inner());
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

/// The third service: it has nothing.
#[derive(Clone)]
struct Empty;

#[tonic::async_trait]
impl TraceService for Empty {
    async fn export(
        &self,
        _: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        assert!(current().is_some());
        Err(tonic::Status::data_loss("nothing there"))
    }
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    (listener, address)
}

async fn collector_over_grpc() -> (Collector, SdkTracerProvider) {
    let (listener, address) = listen().await;
    let collector = Collector::default();
    let service = TraceServiceServer::new(collector.clone());
    let server = Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(address)
        .with_timeout(PATIENCE)
        .build()
        .unwrap();
    let provider = OtelSink::provider().with_batch_exporter(exporter).build();
    (collector, provider)
}

/// More than a machine stands still for.
const PATIENCE: Duration = Duration::from_secs(60);

async fn flush(provider: SdkTracerProvider) {
    // To flush alone gives up after five seconds.
    let end = move || provider.shutdown_with_timeout(PATIENCE);
    tokio::task::spawn_blocking(end).await.unwrap().unwrap();
}

fn server(provider: &SdkTracerProvider) -> ServerLayer<OtelSink<SdkTracer>> {
    TraceLayer::server().sink(OtelSink::new(provider.tracer("shop")))
}

fn client(provider: &SdkTracerProvider) -> ClientLayer<OtelSink<SdkTracer>> {
    TraceLayer::client().sink(OtelSink::new(provider.tracer("shop")))
}

/// The third service, behind our layer on a port of its own.
async fn stock(provider: &SdkTracerProvider) -> Channel {
    let (listener, address) = listen().await;
    let server = Server::builder()
        .layer(server(provider))
        .add_service(TraceServiceServer::new(Empty));
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    Channel::from_shared(address).unwrap().connect_lazy()
}

type Body = http_body_util::Empty<bytes::Bytes>;

fn attributes(span: &Span) -> HashMap<&str, String> {
    let pairs = span.attributes.iter();
    let pairs = pairs.map(|pair| (pair.key.as_str(), text(pair.value.as_ref().unwrap())));
    let all: HashMap<_, _> = pairs.collect();
    assert_eq!(
        all.len(),
        span.attributes.len(),
        "each has a name of its own"
    );
    all
}

fn text(value: &AnyValue) -> String {
    match &value.value {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::ArrayValue(all)) => {
            let all: Vec<_> = all.values.iter().map(text).collect();
            format!("{all:?}")
        }
        other => format!("{other:?}"),
    }
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_services_are_one_trace_of_five_spans() {
    let (collector, provider) = collector_over_grpc().await;
    let seen = Arc::new(Mutex::new(Vec::<TraceContext>::new()));

    let channel = stock(&provider).await;
    let to_stock = client(&provider).layer(channel);
    let orders_seen = seen.clone();
    let orders = server(&provider).layer(service_fn(move |_: Request<Body>| {
        let (to_stock, seen) = (to_stock.clone(), orders_seen.clone());
        async move {
            seen.lock().unwrap().push(current().unwrap());
            let mut stock = TraceServiceClient::new(to_stock);
            let status = stock.export(ExportTraceServiceRequest::default()).await;
            assert_eq!(status.unwrap_err().code(), tonic::Code::DataLoss);
            let mut response = Response::new(Body::new());
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            Ok::<_, std::convert::Infallible>(response)
        }
    }));

    let to_orders = client(&provider).layer(orders);
    let tracer = provider.tracer("handler");
    let shop_seen = seen.clone();
    let tenant = || HeaderName::from_static("x-tenant");
    let sink = OtelSink::new(provider.tracer("shop"));
    let sink = sink.header(tenant()).header(tenant());
    let mut shop = TraceLayer::server()
        .sink(sink)
        .layer(service_fn(move |_: Request<Body>| {
            let (mut to_orders, tracer, seen) =
                (to_orders.clone(), tracer.clone(), shop_seen.clone());
            async move {
                seen.lock().unwrap().push(current().unwrap());
                attribute("cart.items", 3);
                event("cart loaded");
                error(&std::io::Error::other("no coupon"));
                tracer.start("render").end();
                let call = Request::get("http://user:pass@orders:81/orders/7?sig=secret&a=1")
                    .body(Body::new());
                let response = to_orders.call(call.unwrap()).await?;
                assert_eq!(response.status(), 502);
                response.into_body().collect().await.unwrap();
                let mut response = Response::new(Body::new());
                response
                    .extensions_mut()
                    .insert(RouteName::from_static("/cart/{id}"));
                Ok::<_, std::convert::Infallible>(response)
            }
        }));

    let request = Request::get("/cart/5?q=1")
        .header("traceparent", PARENT)
        .header("host", "shop.example:8080")
        .header("user-agent", "curl/8")
        .header("authorization", "Bearer secret")
        .header("x-tenant", "acme")
        .header("x-tenant", "acme.eu")
        .body(Body::new());
    let response = shop
        .ready()
        .await
        .unwrap()
        .call(request.unwrap())
        .await
        .unwrap();
    response.into_body().collect().await.unwrap();
    flush(provider).await;

    let spans = collector.spans();
    assert_eq!(spans.len(), 6, "{spans:#?}");
    assert!(
        spans
            .iter()
            .all(|span| hex(&span.trace_id) == PARENT[3..35])
    );
    assert!(
        spans
            .iter()
            .all(|span| span.end_time_unix_nano >= span.start_time_unix_nano)
    );
    assert!(
        !format!("{spans:?}").contains("secret"),
        "nothing that was not asked for"
    );

    // From the caller down, each the child of the one before.
    let child_of = |id: &str, name: &str| {
        let mut found = spans
            .iter()
            .filter(|span| hex(&span.parent_span_id) == id && span.name == name);
        let span = found
            .next()
            .unwrap_or_else(|| panic!("{name} below {id}: {spans:#?}"));
        assert!(found.next().is_none());
        (span, hex(&span.span_id))
    };
    let (shop, shop_id) = child_of(&PARENT[36..52], "GET /cart/{id}");
    let (render, _) = child_of(&shop_id, "render");
    let (call, call_id) = child_of(&shop_id, "GET");
    let (orders, orders_id) = child_of(&call_id, "GET");
    let (grpc_call, grpc_call_id) = child_of(&orders_id, "POST");
    let (grpc, _) = child_of(&grpc_call_id, "POST");

    let contexts = seen.lock().unwrap();
    assert_eq!(
        shop_id,
        contexts[0].span_id().to_string(),
        "the id in logs is the id exported"
    );
    assert_eq!(orders_id, contexts[1].span_id().to_string());

    for (span, kind, status) in [
        (shop, SpanKind::Server, SpanStatus::Unset),
        (render, SpanKind::Internal, SpanStatus::Unset),
        (call, SpanKind::Client, SpanStatus::Error),
        (orders, SpanKind::Server, SpanStatus::Error),
        (grpc_call, SpanKind::Client, SpanStatus::Error),
        (grpc, SpanKind::Server, SpanStatus::Error),
    ] {
        assert_eq!(span.kind(), kind, "{}", span.name);
        let told = span
            .status
            .as_ref()
            .map_or(SpanStatus::Unset, |status| status.code());
        assert_eq!(told, status, "{} {kind:?}", span.name);
    }

    for (span, key, value) in [
        (shop, "http.request.method", "GET"),
        (shop, "http.route", "/cart/{id}"),
        (shop, "http.response.status_code", "200"),
        (
            shop,
            "http.request.header.x-tenant",
            r#"["acme", "acme.eu"]"#,
        ),
        (shop, "url.path", "/cart/5"),
        (shop, "url.query", "q=1"),
        (shop, "url.scheme", "http"),
        (shop, "server.address", "shop.example"),
        (shop, "server.port", "8080"),
        (shop, "user_agent.original", "curl/8"),
        (shop, "cart.items", "3"),
        (shop, "network.protocol.version", "1.1"),
        (
            call,
            "url.full",
            "http://orders:81/orders/7?sig=REDACTED&a=1",
        ),
        (call, "server.address", "orders"),
        (call, "server.port", "81"),
        (call, "error.type", "502"),
        (orders, "error.type", "502"),
        (grpc_call, "rpc.response.status_code", "DATA_LOSS"),
        (grpc, "rpc.response.status_code", "DATA_LOSS"),
        (grpc, "error.type", "DATA_LOSS"),
        (grpc, "network.protocol.version", "2"),
    ] {
        assert_eq!(
            attributes(span).get(key).map(String::as_str),
            Some(value),
            "{key}"
        );
    }
    assert!(!attributes(shop).contains_key("error.type"));
    let events: Vec<_> = shop
        .events
        .iter()
        .map(|event| event.name.as_str())
        .collect();
    assert_eq!(events, ["cart loaded", "exception"]);
    assert!(
        call.events.is_empty(),
        "what a handler says is said of its own request"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_arrives_over_http() {
    let (listener, address) = listen().await;
    let collector = Collector::default();
    let taking = collector.clone();
    let route = axum::routing::post(move |body: bytes::Bytes| async move {
        taking.take(ExportTraceServiceRequest::decode(body).unwrap());
    });
    let app = axum::Router::new().route("/v1/traces", route);
    tokio::spawn(async move { axum::serve(listener, app).await });
    let provider = tokio::task::spawn_blocking(move || {
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_endpoint(format!("{address}/v1/traces"))
            .with_timeout(PATIENCE)
            .build()
            .unwrap();
        OtelSink::provider().with_batch_exporter(exporter).build()
    });
    let provider = provider.await.unwrap();
    let context = ask(server(&provider), Some(PARENT), 200).await;
    flush(provider).await;
    let spans = collector.spans();
    assert_eq!(spans.len(), 1);
    assert_eq!(hex(&spans[0].span_id), context.span_id().to_string());
}

/// Sends one request, and returns the context it had.
async fn ask(
    layer: ServerLayer<OtelSink<SdkTracer>>,
    traceparent: Option<&str>,
    status: u16,
) -> TraceContext {
    ask_any(layer, traceparent, status).await
}

async fn ask_any<K: buttress_trace_ctx::Sink>(
    layer: ServerLayer<K>,
    traceparent: Option<&str>,
    status: u16,
) -> TraceContext {
    let mut service = layer
        .response_extension()
        .layer(service_fn(move |_: Request<Body>| {
            let response = Response::builder()
                .status(status)
                .body(Body::new())
                .unwrap();
            std::future::ready(Ok::<_, std::convert::Infallible>(response))
        }));
    let mut request = Request::new(Body::new());
    if let Some(parent) = traceparent {
        request
            .headers_mut()
            .insert("traceparent", parent.parse().unwrap());
    }
    let response = service.call(request).await.unwrap();
    let context = response.extensions().get::<TraceContext>().unwrap().clone();
    response.into_body().collect().await.unwrap();
    context
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_denied_is_not_exported_and_what_was_deferred_may_be() {
    let (collector, provider) = collector_over_grpc().await;
    let sink = || OtelSink::new(provider.tracer("shop"));
    let deferring = |_: &SampleRequest<'_>| Sampling::Defer;
    let denying = |_: &SampleRequest<'_>| Sampling::Deny;
    let layer = || TraceLayer::server().sampler(deferring);
    ask(layer().sink(sink()), None, 500).await;
    ask(layer().sink(sink().upgrade_on_error()), None, 200).await;
    ask(
        layer().sink(sink().upgrade_if_slower_than(Duration::from_secs(3600))),
        None,
        500,
    )
    .await;
    let denied = TraceLayer::server().sampler(denying);
    ask(denied.sink(sink().upgrade_on_error()), None, 500).await;

    let failed = ask(layer().sink(sink().upgrade_on_error()), None, 500).await;
    let slow = ask(
        layer().sink(sink().upgrade_if_slower_than(Duration::ZERO)),
        None,
        200,
    )
    .await;
    let wrapped = buttress_trace_ctx::SampledOr::failed(sink());
    ask_any(layer().sink(wrapped), None, 200).await;
    let wrapped = buttress_trace_ctx::SampledOr::failed(sink());
    let wrapped = ask_any(layer().sink(wrapped), None, 500).await;
    let linked = TraceLayer::server().trust(Trust::Link).sink(sink());
    let linked = ask(linked, Some(PARENT), 200).await;
    flush(provider).await;
    let spans = collector.spans();
    let ids: Vec<_> = spans
        .iter()
        .map(|span| (hex(&span.trace_id), hex(&span.span_id)))
        .collect();
    let expected = [failed, slow, wrapped, linked]
        .map(|cx| (cx.trace_id().to_string(), cx.span_id().to_string()));
    assert_eq!(ids, expected);
    assert_eq!(hex(&spans[3].links[0].trace_id), PARENT[3..35]);
    assert!(spans[3].parent_span_id.is_empty());
}

/// Keeps what is exported.
#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Vec<opentelemetry_sdk::trace::SpanData>>>);

impl opentelemetry_sdk::trace::SpanProcessor for Kept {
    fn on_start(&self, _: &mut opentelemetry_sdk::trace::Span, _: &opentelemetry::Context) {}

    fn on_end(&self, data: opentelemetry_sdk::trace::SpanData) {
        self.0.lock().unwrap().push(data);
    }

    fn force_flush(&self) -> opentelemetry_sdk::error::OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> opentelemetry_sdk::error::OTelSdkResult {
        Ok(())
    }
}

#[tokio::test]
async fn a_call_tells_its_port_although_it_is_that_of_its_scheme() {
    for (uri, port) in [
        ("http://orders/", Some("80")),
        ("https://orders/", Some("443")),
        ("https://orders:8443/", Some("8443")),
        ("/orders", None),
    ] {
        let kept = Kept::default();
        let provider = OtelSink::provider().with_span_processor(kept.clone());
        let provider = provider.build();
        let service = service_fn(async |_: Request<Body>| {
            Ok::<_, std::convert::Infallible>(Response::new(Body::new()))
        });
        let call = Request::get(uri).body(Body::new()).unwrap();
        let response = client(&provider).layer(service).oneshot(call).await;
        response.unwrap().into_body().collect().await.unwrap();
        let spans = kept.0.lock().unwrap();
        let mut told = spans[0].attributes.iter();
        let told = told.find(|told| told.key.as_str() == "server.port");
        let told = told.map(|told| told.value.to_string());
        assert_eq!(told.as_deref(), port, "{uri}");
    }
}

/// Makes a span of its own whenever one begins, and notes the ids of both.
#[derive(Clone, Debug, Default)]
struct Nosy {
    other: Arc<Mutex<Option<(String, String)>>>,
    ended: Arc<Mutex<Option<(String, String)>>>,
}

fn ids(span: &opentelemetry::trace::SpanContext) -> Option<(String, String)> {
    Some((span.trace_id().to_string(), span.span_id().to_string()))
}

impl opentelemetry_sdk::trace::SpanProcessor for Nosy {
    fn on_start(&self, _: &mut opentelemetry_sdk::trace::Span, _: &opentelemetry::Context) {
        let provider = OtelSink::provider().build();
        let other = provider.tracer("nosy").start("other");
        *self.other.lock().unwrap() = ids(other.span_context());
    }

    fn on_end(&self, data: opentelemetry_sdk::trace::SpanData) {
        *self.ended.lock().unwrap() = ids(&data.span_context);
    }

    fn force_flush(&self) -> opentelemetry_sdk::error::OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> opentelemetry_sdk::error::OTelSdkResult {
        Ok(())
    }
}

/// In a process of its own, for the environment is everybody's.
#[test]
fn no_variable_keeps_the_provider_from_recording_what_reaches_it() {
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    let test = "otlp::our_ids_are_given_to_our_span_and_to_no_other";
    let again = again
        .args(["--exact", test])
        .env("OTEL_TRACES_SAMPLER", "always_off");
    let output = again.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

#[test]
fn our_ids_are_given_to_our_span_and_to_no_other() {
    for traceparent in [None, Some(PARENT)] {
        let nosy = Nosy::default();
        let provider = OtelSink::provider()
            .with_span_processor(nosy.clone())
            .build();
        let context = tokio_test::block_on(ask(server(&provider), traceparent, 200));
        let ours = (
            context.trace_id().to_string(),
            context.span_id().to_string(),
        );
        assert_eq!(nosy.ended.lock().unwrap().as_ref(), Some(&ours));
        let other = nosy.other.lock().unwrap().clone().unwrap();
        assert!(other.0 != ours.0 && other.1 != ours.1, "{other:?} {ours:?}");
    }
}
