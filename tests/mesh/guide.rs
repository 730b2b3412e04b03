//! The guide's order-service: premium customers and the split.

use devcluster::load::{Load, Protocol, binomial_interval};

use crate::{
    calls::{load, send},
    service::{known, ready_at, spec, version},
    stage::stage,
    support::{Space, run},
};

const REQUESTS: u64 = 5_000;
const RATE: u32 = 500;
const PREMIUM: &str = "routes: [{name: premium, match: [{headers: {user-type: {exact: premium}}}], version: v2}]";

#[test]
fn the_split_is_as_declared_and_premium_customers_get_v2() {
    run(async {
        let _shared = stage().shared().await;
        let space = Space::new(&stage().cluster, "guide").await;
        space.apply("order-service", &spec(&[version("v1", 90), version("v2", 10)], PREMIUM)).await;
        ready_at(&space, "order-service", "v1=90 v2=10").await;
        known(&space, "order-service", "v1", 2).await;

        for protocol in [Protocol::Http1 { keep_alive: true }, Protocol::GrpcUnary] {
            let of_all = send(load(&space, "order-service", protocol, RATE), REQUESTS).await;
            assert!(of_all.is_clean(), "{of_all}");
            let (low, high) = binomial_interval(REQUESTS, 0.9, 0.999);
            let v1 = of_all.by_version().get("v1").copied().unwrap_or_default();
            assert!((low..=high).contains(&v1), "{v1} of {REQUESTS} went to v1, not {low} to {high}: {of_all}");
            println!("{protocol:?}: {v1} of {REQUESTS} went to v1; {low} to {high} are to be expected");

            let premium = Load {
                headers: vec![("user-type".to_owned(), "premium".to_owned())],
                ..load(&space, "order-service", protocol, RATE)
            };
            let of_premium = send(premium, 1_000).await;
            assert!(of_premium.is_clean(), "{of_premium}");
            assert_eq!(of_premium.by_version().into_iter().collect::<Vec<_>>(), [("v2", 1_000)]);
        }

        space.apply("order-service", &spec(&[version("v1", 0), version("v2", 100)], PREMIUM)).await;
        ready_at(&space, "order-service", "v1=0 v2=100").await;
        for protocol in [Protocol::Http2, Protocol::GrpcUnary] {
            settled(&space, protocol).await;
            let after = send(load(&space, "order-service", protocol, RATE), 2_000).await;
            assert!(after.is_clean(), "{after}");
            assert_eq!(after.by_version().into_iter().collect::<Vec<_>>(), [("v2", 2_000)]);
        }
    });
}

/// Waits until the mesh's client has learned that v1 gets nothing any more.
async fn settled(space: &Space, protocol: Protocol) {
    let settled = crate::support::eventually(|| async {
        let some = send(load(space, "order-service", protocol, RATE), 50).await;
        (!some.by_version().contains_key("v1")).then_some(())
    });
    settled.await.expect("v1 gets no more requests");
}
