use tonic::Code;

use crate::calls::Test;

#[tokio::test]
async fn three_failures_open_the_breaker_wherever_their_status_stands() {
    for in_trailers in [false, true] {
        let test = Test::start().await;
        test.stock(|stock| (stock.failing, stock.in_trailers) = (true, in_trailers));
        for n in 0..3 {
            let failed = test.place(&format!("k{n}"), "lamp").await.unwrap_err();
            assert_eq!(failed.code(), Code::Internal, "in trailers: {in_trailers}");
        }
        let refused = test.place("k", "lamp").await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable);
        assert!(refused.metadata().contains_key("grpc-retry-pushback-ms"));
        assert_eq!(test.services.stock.calls(), 3, "it was not asked");
    }
}

#[tokio::test]
async fn what_is_a_callers_fault_does_not_open_it() {
    let test = Test::start().await;
    for n in 0..6 {
        let mut request = crate::calls::order(&format!("k{n}"), "lamp");
        request.get_mut().quantity = 0;
        let refused = test.send(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    assert!(test.place("k", "lamp").await.is_ok());
}
