//! Requests to a service by way of the mesh's client, every one of them accounted for.

use devcluster::load::{Load, Protocol, Report, Running};

use crate::{
    stage::stage,
    support::{Space, eventually},
};

/// Requests a second of the mixed traffic.
pub const MIXED_RATE: u32 = 220;

/// A load on a service, by HTTP on port 80 or gRPC on 50051.
pub fn load(space: &Space, service: &str, protocol: Protocol, rate: u32) -> Load {
    let host = format!("{service}.{}.svc.cluster.local", space.name);
    let (port, authority) = match protocol {
        Protocol::GrpcUnary | Protocol::GrpcStream => (50051, format!("{host}:50051")),
        Protocol::Http1 { .. } | Protocol::Http2 => (80, host),
    };
    Load { rate, absolute_form: false, ..Load::new(stage().ground.mesh_client(port), authority, protocol) }
}

/// Sends exactly so many requests.
pub async fn send(load: Load, count: u64) -> Report {
    stage().inside.spawn(load.send(count)).await.unwrap().unwrap()
}

/// Traffic of all kinds at once.
pub struct Traffic(Vec<(Protocol, Running)>);

impl Traffic {
    /// Starts 220 requests a second: HTTP/1.1 with and without keep-alive, HTTP/2, gRPC calls and streams.
    pub async fn start(space: &Space, service: &str) -> Self {
        let mix = [
            (Protocol::Http1 { keep_alive: true }, 100),
            (Protocol::Http1 { keep_alive: false }, 40),
            (Protocol::Http2, 40),
            (Protocol::GrpcUnary, 20),
            (Protocol::GrpcStream, 20),
        ];
        assert_eq!(mix.iter().map(|(_, rate)| rate).sum::<u32>(), MIXED_RATE);
        let mut traffic = Self(Vec::new());
        for (protocol, rate) in mix {
            traffic = traffic.and(load(space, service, protocol, rate)).await;
        }
        traffic
    }

    /// Adds requests of one more kind.
    pub async fn and(mut self, load: Load) -> Self {
        let protocol = load.protocol;
        let started = stage().inside.spawn(async move { load.start() }).await.unwrap().unwrap();
        self.0.push((protocol, started));
        self
    }

    /// How many have been answered.
    fn answered(&self) -> u64 {
        self.0.iter().map(|(_, running)| running.so_far().answered).sum()
    }

    /// Waits until so many more have been answered.
    pub async fn more(&self, count: u64) {
        let before = self.answered();
        let answered = eventually(|| async { (self.answered() >= before + count).then_some(()) });
        answered.await.expect("requests are answered");
    }

    /// Ends it; answers the reports.
    pub async fn stop(self) -> Vec<(Protocol, Report)> {
        let mut reports = Vec::new();
        for (protocol, running) in self.0 {
            reports.push((protocol, running.stop().await));
        }
        reports
    }

    /// Ends it; every request must have been answered with success. Answers how many were sent.
    pub async fn lost_none(self, what: &str) -> u64 {
        let reports = self.stop().await;
        for (protocol, report) in &reports {
            assert!(report.is_clean(), "{what}: {protocol:?}:\n{report}");
        }
        reports.iter().map(|(_, report)| report.sent).sum()
    }
}
