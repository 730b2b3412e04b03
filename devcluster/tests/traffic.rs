//! The load generator and the test service, against each other, on this machine's loopback interface.
#![allow(clippy::unwrap_used, clippy::panic)]

mod workload;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use devcluster::load::{Load, LossKind, Lost, Protocol, Report, Running, Status, Streams};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use workload::{Service, Workload, until};

const PROTOCOLS: [Protocol; 5] = [
    Protocol::Http1 { keep_alive: true },
    Protocol::Http1 { keep_alive: false },
    Protocol::Http2,
    Protocol::GrpcUnary,
    Protocol::GrpcStream,
];

async fn until_answered(running: &Running, count: u64) {
    until(|| running.so_far().answered >= count).await;
}

fn success(protocol: Protocol) -> Status {
    match protocol {
        Protocol::Http1 { .. } | Protocol::Http2 => Status::Http(200),
        Protocol::GrpcUnary | Protocol::GrpcStream => Status::Grpc(0),
    }
}

/// Every request has one outcome.
fn assert_adds_up(report: &Report) {
    assert_eq!(report.sent, report.answers() + report.lost.len() as u64, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_of_every_protocol_is_counted_once() {
    for protocol in PROTOCOLS {
        let service = Service::start(&[]);
        let report = service.load(protocol).send(300).await.unwrap();
        assert_eq!(report.answered, [(("v1".into(), success(protocol)), 300)].into(), "{protocol:?}: {report}");
        assert_eq!((report.sent, report.failures(), report.skipped), (300, 0, 0), "{protocol:?}: {report}");
        assert!(report.is_clean() && report.latency.p50 > Duration::ZERO, "{report}");
        if protocol == Protocol::GrpcStream {
            assert_eq!((report.streams.opened, &report.streams.ended), (4, &[(0, 4)].into()));
            assert_eq!(service.logged(), 4);
        } else {
            assert_eq!(service.logged(), 300, "{protocol:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_sends_the_rate_for_a_time() {
    let service = Service::start(&[]);
    let load = Load { rate: 150, ..service.load(Protocol::Http2) };
    let report = load.run_for(Duration::from_millis(500)).await.unwrap();
    assert_eq!(report.sent, 75);
    // The last one is due after 74 intervals.
    assert!(report.elapsed >= Duration::from_millis(490), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_of_failures_is_counted_exactly() {
    for protocol in [Protocol::Http1 { keep_alive: true }, Protocol::Http2, Protocol::GrpcUnary] {
        let service = Service::start(&["--fail-share=30"]);
        let report = service.load(protocol).send(300).await.unwrap();
        let (failure, kind, reason) = match protocol {
            Protocol::GrpcUnary => (Status::Grpc(14), LossKind::GrpcStatus(14), "asked to fail"),
            _ => (Status::Http(503), LossKind::Status(503), r#"{"service":"web""#),
        };
        let expected = [(("v1".into(), success(protocol)), 210), (("v1".into(), failure), 90)].into();
        assert_eq!(report.answered, expected, "{report}");
        assert_eq!((report.failures(), report.lost.len()), (90, 0), "{report}");
        assert_eq!(report.by_version(), [("v1", 300)].into());
        for lost in report.lost_requests() {
            assert_eq!((lost.kind, lost.version.as_deref()), (kind, Some("v1")));
            assert!(lost.message.contains(reason), "{lost:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_loses_requests_and_each_is_accounted_for() {
    for protocol in PROTOCOLS {
        let mut service = Service::start(&["--delay-ms=20"]);
        let running = service.load(protocol).start().unwrap();
        until_answered(&running, 100).await;
        service.process.signal(Signal::SIGKILL);
        assert_eq!(service.process.exit().await, None);
        let sent = running.so_far().sent;
        until(|| running.so_far().sent >= sent + 50).await;
        let report = running.stop().await;
        assert_adds_up(&report);
        assert!(report.answers() >= 100 && report.lost.len() >= 50, "{protocol:?}: {report}");
        let connect = report.lost.iter().filter(|lost| lost.kind == LossKind::Connect).count();
        let reset = report.lost.iter().filter(|lost| lost.kind == LossKind::Reset).count();
        assert!(connect > 0, "{protocol:?}: {report}");
        assert_eq!(connect + reset, report.lost.len(), "{protocol:?}: {report}");
        if protocol == Protocol::GrpcStream {
            assert_eq!((report.streams.opened, report.streams.broken), (4, 4), "{report}");
        } else {
            assert!(reset > 0, "{protocol:?}: {report}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_at_sigterm_is_answered() {
    for protocol in [PROTOCOLS[0], PROTOCOLS[1], Protocol::Http2, Protocol::GrpcUnary] {
        let mut service = Service::start(&["--delay-ms=500"]);
        let load = tokio::spawn(service.load(protocol).send(50));
        until(|| service.logged() == 50).await;
        service.process.signal(Signal::SIGTERM);
        let report = load.await.unwrap().unwrap();
        assert!(report.is_clean(), "{protocol:?}: {report}");
        assert_eq!(report.answers(), 50);
        assert_eq!(service.process.exit().await, Some(0));
    }
}

/// What may be lost: a request that is on its way over an idle HTTP/1 connection when the server closes it, one whose
/// connection nobody has accepted when the port is closed, and those that find nobody to connect to. None of them came.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_in_the_middle_of_a_load_loses_nothing_that_came() {
    for protocol in PROTOCOLS {
        let mut service = Service::start(&["--delay-ms=5"]);
        let running = service.load(protocol).start().unwrap();
        until_answered(&running, 200).await;
        service.process.signal(Signal::SIGTERM);
        assert_eq!(service.process.exit().await, Some(0), "{protocol:?}");
        until(|| running.so_far().lost > 0).await;
        let report = running.stop().await;
        assert_adds_up(&report);
        assert!(report.failed.is_empty(), "{report}");
        let unseen = |lost: &Lost| matches!(lost.kind, LossKind::Connect | LossKind::Reset);
        assert!(report.lost.iter().all(unseen), "{protocol:?}: {report}");
        if protocol == Protocol::GrpcStream {
            assert!(report.streams.is_clean() && report.streams.ended[&0] >= 4, "{report}");
        } else {
            assert_eq!(service.logged() as u64, report.answers(), "{protocol:?}: {report}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_is_a_timeout() {
    let service = Service::start(&["--delay-ms=10000"]);
    for protocol in [PROTOCOLS[0], Protocol::Http2, Protocol::GrpcUnary] {
        let load = Load { timeout: Duration::from_millis(100), ..service.load(protocol) };
        let report = load.send(5).await.unwrap();
        assert_adds_up(&report);
        assert!(report.lost.iter().all(|lost| lost.kind == LossKind::Timeout), "{report}");
        assert_eq!(report.failures(), 5);
    }
    // A stopped process answers no message either.
    let running = Load { timeout: Duration::from_millis(500), ..service.load(Protocol::GrpcStream) }.start().unwrap();
    until_answered(&running, 20).await;
    service.process.signal(Signal::SIGSTOP);
    until(|| running.so_far().lost > 0).await;
    let report = running.stop().await;
    assert_adds_up(&report);
    assert!(report.lost.iter().all(|lost| lost.kind == LossKind::Timeout), "{report}");
    // On a busy machine some may have been late before, and opened anew.
    let Streams { opened, broken, .. } = report.streams;
    assert!(opened >= 4 && broken == opened, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_sent_is_told() {
    let service = Service::start(&["--delay-ms=2000"]);
    let load = Load { max_in_flight: 5, ..service.load(Protocol::Http2) };
    let report = load.send(20).await.unwrap();
    assert_eq!((report.sent, report.answers(), report.skipped), (5, 5, 15), "{report}");
    assert!(!report.is_clean());
}

#[tokio::test]
async fn after_a_stall_the_backlog_is_sent() {
    let service = Service::start(&[]);
    let start = Instant::now();
    let running = Load { rate: 500, ..service.load(PROTOCOLS[0]) }.start().unwrap();
    until_answered(&running, 10).await;
    let stall = Duration::from_millis(400);
    // Nothing else runs on this thread, the load generator included.
    thread::sleep(stall);
    // A load that drifts stays 200 behind.
    until(|| start.elapsed().as_millis() / 2 <= u128::from(running.so_far().sent) + 50).await;
    let report = running.stop().await;
    assert!(report.is_clean() && report.lag >= stall / 2, "{report}");
    assert!(report.latency.max >= stall / 2, "an answer that is late for its client counts as late: {report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_is_asked_for_the_whole_uri() {
    for (absolute_form, line) in [(true, "GET http://web.test:81/a?b=c HTTP/1.1"), (false, "GET /a?b=c HTTP/1.1")] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let headers = vec![("user-type".into(), "premium".into())];
        let load = Load {
            path: "/a?b=c".into(),
            headers,
            absolute_form,
            ..Load::new(listener.local_addr().unwrap(), "web.test:81", Protocol::Http1 { keep_alive: true })
        };
        let seen = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect::<Vec<_>>()
        });
        let report = load.send(1).await.unwrap();
        assert_eq!((report.lost.len(), report.lost[0].kind), (1, LossKind::Reset), "{report}");
        let seen = seen.join().unwrap();
        assert_eq!(seen[0], line);
        assert!(seen.contains(&"host: web.test:81".into()) && seen.contains(&"user-type: premium".into()), "{seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_tells_who_it_is_and_behaves_as_it_is_told() {
    let service = Service::start(&["--unready", "--fail-status=500"]);
    let (status, answer) = service.ask("PUT", "/a/b?x=1", "body");
    assert_eq!(status, 200);
    let headers = json!({"host": "web", "x-id": "7", "connection": "close", "content-length": "4"});
    let who = json!({"service": "web", "version": "v1", "pod": "web-1", "protocol": "HTTP/1.1"});
    let mut expected = json!({"method": "PUT", "path": "/a/b", "headers": headers});
    expected.as_object_mut().unwrap().extend(who.as_object().unwrap().clone());
    assert_eq!(answer, expected);
    assert_eq!(fs::read_to_string(&service.log).unwrap(), "web v1 PUT /a/b\n");

    assert_eq!((service.ask("GET", "/ready", "").0, service.ask("GET", "/health", "").0), (503, 200));
    let behaviour = service.control(&json!({"unready": false, "unhealthy": true, "failShare": 100}));
    assert_eq!(behaviour["failStatus"], 500);
    assert_eq!(behaviour["unhealthy"], true);
    assert_eq!((service.ask("GET", "/ready", "").0, service.ask("GET", "/health", "").0), (200, 503));
    assert_eq!((service.ask("GET", "/", "").0, service.ask("GET", "/?status=418", "").0), (500, 418));
    assert_eq!(service.ask("GET", "/?failFirst=1&key=k", "").0, 503);
    assert_eq!(service.ask("GET", "/?failFirst=1&key=k", "").0, 200);

    let (status, error) = service.ask("POST", "/control", r#"{"delay": 1}"#);
    assert!(status == 400 && error["error"].as_str().unwrap().contains("unknown field `delay`"), "{error}");
    assert_eq!(service.ask("POST", "/control", r#"{"failShare": 101}"#).0, 400);
    assert_eq!(service.ask("GET", "/?delayMs=soon", "").0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_crashes_and_hangs_on_demand() {
    let mut service = Service::start(&[]);
    assert_eq!(service.control(&json!({"crash": true}))["crash"], true);
    assert_eq!(service.process.exit().await, Some(1));

    let mut service = Service::start(&["--crash-after=5"]);
    // One at a time: the answers before the crash are out when it comes.
    for _ in 0..4 {
        assert!(service.load(PROTOCOLS[0]).send(1).await.unwrap().is_clean());
    }
    let report = service.load(PROTOCOLS[0]).send(1).await.unwrap();
    assert_eq!(report.lost[0].kind, LossKind::Reset, "{report}");
    assert_eq!(service.process.exit().await, Some(1));

    let mut service = Service::start(&["--hang-at-shutdown"]);
    service.process.signal(Signal::SIGTERM);
    assert!(service.load(Protocol::Http2).send(50).await.unwrap().is_clean());
    service.control(&json!({"hangAtShutdown": false}));
    service.process.signal(Signal::SIGTERM);
    assert_eq!(service.process.exit().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_health_follows_readiness_and_unknown_methods_are_unimplemented() {
    let service = Service::start(&[]);
    assert_eq!(service.call("/grpc.health.v1.Health/Check").await, [8, 1]);
    service.control(&json!({"unready": true}));
    assert_eq!(service.call("/grpc.health.v1.Health/Check").await, [8, 2]);
    assert_eq!(service.call("/devcluster.v1.Echo/Unary").await, *b"v1");
    let unknown = Load { path: "/devcluster.v1.Echo/None".into(), ..service.load(Protocol::GrpcUnary) };
    let report = unknown.send(1).await.unwrap();
    assert_eq!(report.answered, [(("v1".into(), Status::Grpc(12)), 1)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sidecar_prints_what_is_logged_and_the_pause_waits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("requests");
    let mut tail = Workload::start(&["tail", &format!("--file={}", path.display())]);
    fs::write(&path, "one\n").unwrap();
    assert_eq!(tail.line(), "log: one");
    let mut file = fs::File::options().append(true).open(&path).unwrap();
    file.write_all(b"two\nthree").unwrap();
    tail.signal(Signal::SIGTERM);
    assert_eq!([tail.line(), tail.line(), tail.line()], ["log: two", "log: three", "log: end"]);
    assert_eq!(tail.exit().await, Some(0));

    let mut pause = Workload::start(&["pause"]);
    assert_eq!(pause.line(), "waiting");
    assert_eq!(pause.child.try_wait().unwrap(), None);
    pause.signal(Signal::SIGTERM);
    assert_eq!(pause.exit().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forwarded_arrives_by_every_protocol() {
    for protocol in PROTOCOLS {
        let service = Service::start(&[]);
        let load = service.load(protocol);
        let (forward, address) = forward(&load.connect.to_string());
        let report = Load { connect: address, ..load }.send(300).await.unwrap();
        assert_eq!(report.answered, [(("v1".into(), success(protocol)), 300)].into(), "{protocol:?}: {report}");
        assert!(report.is_clean(), "{protocol:?}: {report}");
        drop(forward);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_end_of_a_forwarded_connection_is_passed_on() {
    let far = TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut forward, address) = forward(&far.local_addr().unwrap().to_string());
    let mut near = TcpStream::connect(address).unwrap();
    let (mut onward, _) = far.accept().unwrap();
    for stream in [&near, &onward] {
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    }
    let mut said = String::new();
    near.write_all(b"asked").unwrap();
    near.shutdown(Shutdown::Write).unwrap();
    onward.read_to_string(&mut said).unwrap();
    onward.write_all(b", answered").unwrap();
    drop(onward);
    near.read_to_string(&mut said).unwrap();
    assert_eq!(said, "asked, answered");

    drop(far);
    let mut refused = TcpStream::connect(address).unwrap();
    refused.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    assert_eq!(refused.read(&mut [0]).unwrap(), 0, "nobody listens there any more");
    forward.signal(Signal::SIGTERM);
    assert_eq!(forward.exit().await, Some(0));
    assert_eq!(Workload::start(&["forward", "--listen=0", "--to=none.invalid:80"]).exit().await, Some(1));
}

/// A forwarder, and where it takes connections.
fn forward(to: &str) -> (Workload, SocketAddr) {
    let process = Workload::start(&["forward", "--listen=0", "--to", to]);
    let address = process.line().strip_prefix("listening ").unwrap().parse().unwrap();
    (process, address)
}

#[test]
fn the_command_prints_a_report_and_fails_when_something_is_lost() {
    let service = Service::start(&["--fail-share=10"]);
    let connect = service.http.to_string();
    let load = |further: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_devcluster"))
            .args(["load", "--authority=web", "--rate=500", "--duration=200ms", "--connect", &connect])
            .args(further)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = load(&["--path=/?status=200", "--protocol=http2"]);
    assert!(code == Some(0) && text.starts_with("100 sent in "), "{text}");
    let (code, text) = load(&["-o", "json", "--protocol=http1-close"]);
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &report["sent"], &report["failures"]), (Some(1), &json!(100), &json!(10)), "{report}");
    assert_eq!(report["failed"][0]["kind"], "status 503");
}
