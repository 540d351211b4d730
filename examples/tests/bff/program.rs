//! The program, as a user runs it.

use bytes::Bytes;
use examples::{connections, within_reason};
use http::Request;
use http_body_util::{BodyExt, Full};
use testkit::program::Program;
use tokio::process::Command;

#[tokio::test]
async fn it_is_broken_by_a_put_and_answers_all_the_same() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bff"));
    command.args(["--listen", "127.0.0.1:0", "--quiet", "--deadline", "300000"]);
    let program = Program::start(command, |line| line.starts_with("upstreams:")).await;
    let (url, upstream) = (program.greeted("bff:"), program.greeted("upstreams:"));

    let client = connections::client().build_http::<Full<Bytes>>();
    let send = async |request: http::request::Builder, body: &'static str| {
        let request = request.header("content-type", "application/json");
        let request = request.body(Full::from(body)).unwrap();
        let response = within_reason(client.request(request)).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    };
    let broken = Request::put(format!("{upstream}/conditions/reviews"));
    assert_eq!(send(broken, r#"{"failure_rate":1.0}"#).await.0, 204);
    let page = Request::get(format!("{url}/web/products/lamp"));
    let (status, page) = send(page, "").await;
    assert_eq!(status, 200);
    assert!(
        page.contains(r#""partial":true,"missing":{"reviews":"failed"}"#),
        "{page}"
    );
}
