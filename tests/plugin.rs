//! What `kubectl ms` shows, for each `tests/plugin/*.in.yaml` of a Microservice with its pods, events and actions; and the
//! binary itself, where there is no API server but a proxy, or one that says nothing. The operator takes the same way.
//!
//! `UPDATE_GOLDEN=1 cargo test --test plugin` writes the texts anew; read the difference before you commit it.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use devcluster::Bound;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Pod};
use microservice_operator::{
    api::{Microservice, MicroserviceAction},
    plugin::{
        explain::{explain, told},
        history,
        output::Paint,
        tree::{line, tree},
        view::view,
    },
};
use serde_json::{Value, json};
use tempfile::TempDir;

const NOW: &str = "2026-01-01T12:00:00Z";

/// What one file describes.
struct Scene {
    microservice: Microservice,
    pods: Vec<Pod>,
    events: Vec<Event>,
    actions: Vec<MicroserviceAction>,
}

impl Scene {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let mut microservice = None;
        let (mut pods, mut events, mut actions) = (Vec::new(), Vec::new(), Vec::new());
        for document in serde_yaml::read::<_, Value>(&mut text.as_bytes()) {
            let document = document.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            match document["kind"].as_str() {
                Some("Microservice") => microservice = Some(serde_json::from_value(document).unwrap()),
                Some("Pod") => pods.push(serde_json::from_value(document).unwrap()),
                Some("Event") => events.push(serde_json::from_value(document).unwrap()),
                Some("MicroserviceAction") => actions.push(serde_json::from_value(document).unwrap()),
                kind => panic!("{}: {kind:?}", path.display()),
            }
        }
        Self { microservice: microservice.unwrap(), pods, events, actions }
    }

    /// What each command shows, by the end of its file's name.
    fn shown(&self) -> Vec<(&'static str, String)> {
        let now: Timestamp = NOW.parse().unwrap();
        let view = view(&self.microservice, &self.pods);
        let why = explain("--namespace shop", &self.microservice, &self.pods, &self.events, now);
        let name = self.microservice.metadata.name.as_deref().unwrap();
        let entries = history::entries(name, &self.actions, &self.events, now);
        let mut shown = vec![
            ("get.txt", tree(&view, now, Paint(false))),
            ("watch.txt", format!("{}\n", line(&view))),
            ("why.txt", told(&why, now, Paint(false))),
        ];
        if !entries.is_empty() {
            shown.push(("history.txt", history::shown(&entries, now)));
            shown.push(("get.colour.txt", tree(&view, now, Paint(true)).replace('\u{1b}', "^[")));
            shown.push(("get.json", format!("{}\n", serde_json::to_string_pretty(&view).unwrap())));
            shown.push(("why.json", format!("{}\n", serde_json::to_string_pretty(&why).unwrap())));
            shown.push(("history.json", format!("{}\n", serde_json::to_string_pretty(&entries).unwrap())));
        }
        shown
    }
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plugin");
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn what_is_shown_is_what_was_shown() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let is_input = |path: &PathBuf| path.to_string_lossy().ends_with(".in.yaml");
    let mut known = BTreeSet::new();
    for input in files().into_iter().filter(is_input) {
        for (end, text) in Scene::read(&input).shown() {
            let output = PathBuf::from(input.to_string_lossy().replace("in.yaml", end));
            if update {
                fs::write(&output, &text).unwrap();
            }
            let golden = fs::read_to_string(&output).unwrap_or_default();
            assert_eq!(text, golden, "{}; UPDATE_GOLDEN=1 writes it anew", output.display());
            known.insert(output);
        }
    }
    assert!(!known.is_empty());
    let stray: Vec<_> = files().into_iter().filter(|path| !is_input(path) && !known.contains(path)).collect();
    assert!(stray.is_empty(), "texts without an input: {stray:?}");
}

/// Answers each request, or none of those that the answer is None for; and tells what it was asked.
fn server(answer: fn(&str) -> Option<String>) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, requests) = mpsc::channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let asked = asked.clone();
            thread::spawn(move || {
                let request = head(&mut stream);
                let answer = answer(&request);
                let _unread = asked.send(request);
                match answer {
                    Some(answer) => _ = stream.write_all(answer.as_bytes()),
                    None => thread::sleep(Duration::from_secs(60)),
                }
            });
        }
    });
    (address, requests)
}

fn head(stream: &mut TcpStream) -> String {
    let (mut head, mut part) = (Vec::<u8>::new(), [0; 4096]);
    while !head.windows(4).any(|it| it == b"\r\n\r\n") {
        match stream.read(&mut part) {
            Ok(count @ 1..) => head.extend_from_slice(&part[..count]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

fn answered(status: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// A program with a server, these variables, and no proxy of the surroundings; and the folder of its kubeconfig.
fn program(name: &str, server: &str, variables: &[(&str, &str)]) -> (TempDir, Command) {
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("config");
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "x", "cluster": {"server": server, "insecure-skip-tls-verify": true}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x", "namespace": "shop"}}],
        "users": [{"name": "x", "user": {}}],
    });
    fs::write(&kubeconfig, text.to_string()).unwrap();
    let mut command = Command::new(name);
    for variable in ["HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"] {
        command.env_remove(variable);
    }
    command.env("KUBECONFIG", &kubeconfig).envs(variables.iter().copied()).stdin(Stdio::null());
    (folder, command)
}

/// Runs `kubectl ms` with a server and these variables. Its exit code, and its errors.
fn ms(server: &str, variables: &[(&str, &str)], args: &[&str]) -> (Option<i32>, String) {
    let (_folder, mut command) = program(env!("CARGO_BIN_EXE_kubectl-ms"), server, variables);
    let output = command.args(args).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// An API server that knows of a service whose rollout is paused, and does not answer who asks for more.
fn paused(request: &str) -> Option<String> {
    if request.contains("selfsubjectreviews") {
        return Some(answered("404 Not Found", "{}"));
    }
    let microservice = json!({
        "apiVersion": "microservice-operator.dev/v1alpha1", "kind": "Microservice",
        "metadata": {"name": "a", "namespace": "shop", "uid": "u-1", "generation": 2},
        "spec": {"versions": [{"name": "v1", "image": "x"}], "rollout": {"steps": [{"weight": 5}]}},
        "status": {"observedGeneration": 2, "rollout": {"state": "Paused", "target": "abc", "step": 1}},
    });
    request.starts_with("GET ").then(|| answered("200 OK", &microservice.to_string()))
}

#[test]
fn nothing_is_asked_for_longer_than_the_timeout() {
    let (silent, _requests) = server(|_| None);
    let (code, told) = ms(&format!("http://{silent}"), &[], &["abort", "a", "--timeout", "1s"]);
    assert_eq!(code, Some(2), "{told}");
    let expected = format!(
        "a: abort not answered: no answer within 1s: http://{silent} says nothing, and nothing was asked of the rollout"
    );
    assert!(told.contains(&expected), "{told}");

    let (slow, requests) = server(paused);
    let (code, told) = ms(&format!("http://{slow}"), &[], &["abort", "a", "--timeout", "5s"]);
    assert_eq!(code, Some(2), "{told}");
    let expected = format!("no answer within 5s: http://{slow} does not say whether it made the microserviceaction");
    assert!(told.contains(&expected) && told.contains("microserviceactions --namespace shop"), "{told}");
    assert!(
        requests.try_iter().any(|it| it.starts_with("POST ") && it.contains("/microserviceactions")),
        "it was asked"
    );
}

#[test]
fn the_cluster_is_asked_through_the_proxy() {
    let (proxy, requests) = server(|_| Some(answered("407 Proxy Authentication Required", "")));
    let url = format!("http://mia:s3cret@{proxy}");
    let cluster = "https://api.example:6443";
    let (code, told) = ms(cluster, &[("HTTPS_PROXY", url.as_str()), ("NO_PROXY", "127.0.0.1,example.org")], &["get"]);
    assert_eq!(code, Some(3), "{told}");
    assert!(told.contains(&format!("{cluster} (through the proxy {proxy}) does not answer")), "{told}");
    assert!(told.contains("proxy authorization required") && !told.contains("s3cret"), "{told}");
    let asked = requests.try_recv().unwrap();
    assert!(asked.starts_with("CONNECT api.example:6443 HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("Proxy-Authorization: Basic bWlhOnMzY3JldA==\r\n"), "{asked}");

    for (variables, expected) in [
        (
            [("HTTPS_PROXY", "ftp://mia:s3cret@proxy.example"), ("NO_PROXY", "")],
            "error: the proxy of HTTPS_PROXY cannot",
        ),
        ([("HTTPS_PROXY", url.as_str()), ("NO_PROXY", "a.example,")], "error: NO_PROXY cannot be read"),
    ] {
        let (code, told) = ms(cluster, &variables, &["get"]);
        assert_eq!(code, Some(3), "{told}");
        assert!(told.starts_with(expected) && !told.contains("s3cret"), "{told}");
    }
}

#[test]
fn the_operator_asks_through_the_proxy_too() {
    let operator = |variables: &[(&str, &str)]| {
        let name = env!("CARGO_BIN_EXE_microservice-operator");
        let (folder, mut command) = program(name, "https://api.example:6443", variables);
        command.args(["run", "--leader-election=false", "--listen=127.0.0.1:0"]);
        (folder, command)
    };
    let (proxy, requests) = server(|_| Some(answered("407 Proxy Authentication Required", "")));
    let url = format!("http://mia:s3cret@{proxy}");
    let (folder, command) = operator(&[("HTTPS_PROXY", url.as_str()), ("NO_PROXY", "127.0.0.1,example.org")]);
    let log = folder.path().join("log");
    let running = Bound::start(&command, &log).unwrap();
    let asked = requests.recv_timeout(Duration::from_secs(60));
    drop(running);
    let told = fs::read_to_string(log).unwrap();
    assert!(asked.is_ok_and(|it| it.starts_with("CONNECT api.example:6443 HTTP/1.1\r\n")), "{told}");
    assert!(!told.contains("s3cret"), "{told}");

    let (_folder, mut command) = operator(&[("HTTPS_PROXY", "ftp://mia:s3cret@proxy.example")]);
    let output = command.output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("error: the proxy of HTTPS_PROXY cannot be used") && !told.contains("s3cret"), "{told}");
}

#[test]
fn a_cluster_on_this_machine_is_asked_without_the_proxy() {
    let (cluster, requests) = server(|_| Some(answered("404 Not Found", "404 page not found")));
    let url = format!("http://{cluster}");
    for variables in [[("HTTPS_PROXY", "http://127.0.0.1:1")], [("https_proxy", "http://127.0.0.1:1")]] {
        let (code, told) = ms(&url, &variables, &["get"]);
        assert_eq!(code, Some(3), "{told}");
        assert!(told.contains(&format!("the cluster at {url} has no resource")), "{told}");
        assert!(requests.try_recv().unwrap().starts_with("GET /apis/"));
    }
}
