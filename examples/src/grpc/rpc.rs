//! tonic's server and client, without generated code: a method is a function, and a call is a path and a message.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::{MethodRouter, post};
use futures_util::Stream;
use http::Uri;
use http::uri::PathAndQuery;
use prost::Message;
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;
use tower::service_fn;
use tower::util::BoxCloneSyncService;

use crate::deadline::Deadline;

/// A method with one answer.
pub(crate) fn unary<A, B, F, R>(method: F) -> MethodRouter
where
    A: Message + Default + 'static,
    B: Message + 'static,
    F: Fn(tonic::Request<A>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<tonic::Response<B>, Status>> + Send,
{
    post(async move |request: Request| {
        let mut grpc = tonic::server::Grpc::new(ProstCodec::<B, A>::default());
        grpc.unary(service_fn(method), request).await.map(Body::new)
    })
}

/// A method with a stream of answers.
pub(crate) fn server_streaming<A, B, F, R, S>(method: F) -> MethodRouter
where
    A: Message + Default + 'static,
    B: Message + 'static,
    F: Fn(tonic::Request<A>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<tonic::Response<S>, Status>> + Send,
    S: Stream<Item = Result<B, Status>> + Send + 'static,
{
    post(async move |request: Request| {
        let mut grpc = tonic::server::Grpc::new(ProstCodec::<B, A>::default());
        let answer = grpc.server_streaming(service_fn(method), request);
        answer.await.map(Body::new)
    })
}

pub(crate) async fn unimplemented() -> Response {
    Status::unimplemented("there is no such method").into_http()
}

/// A service elsewhere, behind the client's layers.
#[derive(Clone)]
pub(crate) struct Remote {
    pub(crate) stack: Stack,
    pub(crate) address: SocketAddr,
}

pub(crate) type Stack = BoxCloneSyncService<http::Request<tonic::body::Body>, Response, Status>;

/// How long a call with one answer may take, where its caller does not say.
const AT_MOST: Duration = Duration::from_secs(5);

impl Remote {
    /// One answer, by the deadline in the request's extensions.
    pub(crate) async fn call<A, B>(
        &self,
        path: &'static str,
        mut request: tonic::Request<A>,
    ) -> Result<tonic::Response<B>, Status>
    where
        A: Message + 'static,
        B: Message + Default + 'static,
    {
        let path = PathAndQuery::from_static(path);
        let codec = ProstCodec::<A, B>::default();
        if request.extensions().get::<Deadline>().is_none() {
            request.extensions_mut().insert(Deadline::after(AT_MOST));
        }
        self.client().await?.unary(request, path, codec).await
    }

    /// As many answers as come, for as long as they come.
    pub(crate) async fn stream<A, B>(
        &self,
        path: &'static str,
        request: tonic::Request<A>,
    ) -> Result<tonic::Response<Streaming<B>>, Status>
    where
        A: Message + 'static,
        B: Message + Default + 'static,
    {
        let path = PathAndQuery::from_static(path);
        let codec = ProstCodec::<A, B>::default();
        let mut client = self.client().await?;
        client.server_streaming(request, path, codec).await
    }

    async fn client(&self) -> Result<tonic::client::Grpc<Stack>, Status> {
        let origin = Uri::builder()
            .scheme("http")
            .authority(self.address.to_string())
            .path_and_query("/")
            .build()
            .expect("an address is an authority");
        let mut client = tonic::client::Grpc::with_origin(self.stack.clone(), origin);
        client.ready().await?;
        Ok(client)
    }
}
