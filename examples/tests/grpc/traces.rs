use examples::within_reason;
use tonic::{Code, Request};

use crate::calls::Test;
use crate::messages::Order;

#[tokio::test]
async fn client_and_both_services_are_in_one_trace_each_below_the_one_before() {
    let test = Test::start().await;
    test.place("k", "lamp").await.unwrap();
    let records = within_reason(test.records.take(4)).await;
    let shown: Vec<_> = records.iter().map(|record| record.line.as_str()).collect();
    let ids = |line: &str| {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        (
            words[0].clone(),
            words[1].clone(),
            words[4].clone(),
            words[6].clone(),
        )
    };
    let mut parent = "nothing".to_owned();
    for (line, expected) in shown.iter().zip([
        ("client", "/shop.Orders/Place"),
        ("server", "/shop.Orders/Place"),
        ("client", "/shop.Stock/Reserve"),
        ("server", "/shop.Stock/Reserve"),
    ]) {
        let (kind, route, span, below) = ids(line);
        assert_eq!((kind.as_str(), route.as_str()), expected, "{shown:#?}");
        assert_eq!(below, parent, "{shown:#?}");
        parent = span;
    }
    assert!(
        records
            .iter()
            .all(|record| record.trace == records[0].trace)
    );
}

#[tokio::test]
async fn what_is_no_method_is_unimplemented_and_has_no_name_in_the_records() {
    let test = Test::start().await;
    let request = Request::new(crate::calls::new_order("lamp"));
    let call = test.orders.call::<_, Order>("/shop.Orders/Plcae", request);
    let unknown = within_reason(call).await.unwrap_err();
    assert_eq!(unknown.code(), Code::Unimplemented);
    let records = within_reason(test.records.take(2)).await;
    let server = records.iter().find(|r| r.line.starts_with("server"));
    assert!(!server.unwrap().line.contains("Plcae"), "{records:?}");
}
