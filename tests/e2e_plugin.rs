//! `kubectl ms` on a real API server: the binary itself, run as people run it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{OnceLock, mpsc},
};

use devcluster::{Tool, tool};
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use microservice_operator::api::{MicroserviceAction, RolloutState, Verb};
use serde_json::{Value, json};
use support::{Operator, PATIENCE, Space, cluster, eventually, run};

const BINARY: &str = env!("CARGO_BIN_EXE_kubectl-ms");
/// Two versions that travel by two steps.
const STEPS: &str = "{ports: [{name: http, port: 80}], rollout: {steps: [{weight: 20}, {pause: {}}]}, versions: [\
    {name: v1, image: 'registry.example/a:1', weight: 100}, {name: v2, image: 'registry.example/a:2', weight: 0}]}";

/// What a run of the binary came to.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    fn expect(self, code: i32, texts: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        for text in texts {
            assert!(self.out.contains(text) || self.err.contains(text), "no {text:?} in {self:#?}");
        }
        self
    }
}

fn command(kubeconfig: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(args).env("KUBECONFIG", kubeconfig).env_remove("NO_COLOR").stdin(Stdio::null());
    command
}

fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Runs it as mia, in the namespace of the space.
fn ms(space: &Space, args: &[&str]) -> Ran {
    ran(command(&mia(), args).args(["--namespace", &space.name]))
}

/// Somebody who may do everything.
fn mia() -> PathBuf {
    static MIA: OnceLock<PathBuf> = OnceLock::new();
    MIA.get_or_init(|| cluster().kubeconfig_as("mia", &["system:masters"]).unwrap()).clone()
}

async fn actions(space: &Space) -> Vec<MicroserviceAction> {
    space.api::<MicroserviceAction>().list(&ListParams::default()).await.unwrap().items
}

/// Waits until the rollout of `a` is in a state.
async fn state(space: &Space, wanted: RolloutState) {
    let is = |it: &microservice_operator::api::Microservice| {
        it.status.as_ref().and_then(|status| status.rollout.as_ref()).is_some_and(|rollout| rollout.state == wanted)
    };
    space.until("a", &format!("{wanted:?}"), is).await;
}

#[test]
fn a_rollout_is_seen_and_steered() {
    run(async {
        let space = Space::new(cluster(), "steer").await;
        let _operator = Operator::of(&space);
        space.apply("a", STEPS).await;
        ms(&space, &["wait", "a", "--timeout=2m"]).expect(0, &["a: healthy: all versions are as requested"]);
        ms(&space, &["get"]).expect(0, &["/a  Ready  v1=100 v2=0", "├─ v1  100 %  1/1 ready", "Ready"]);
        ms(&space, &["promote", "a"])
            .expect(1, &["a: promote refused: no rollout is under way: the requested weights are in force"]);
        assert!(actions(&space).await.is_empty(), "what cannot be is not asked");

        ms(&space, &["weight", "a", "v2=100"])
            .expect(0, &["a: v1=100 v2=0 -> v1=0 v2=100", "change the manifest in Git"]);
        state(&space, RolloutState::Paused).await;
        let seen = ms(&space, &["get", "a", "-o", "json"]).expect(0, &[]).json();
        assert_eq!(seen["rollout"]["state"], "Paused");
        assert_eq!(seen["weights"], "v1=80 v2=20");
        assert_eq!(seen["versions"][1]["pods"][0]["ready"], true);
        ms(&space, &["get", "a"])
            .expect(0, &["rollout  Paused  1/2 steps", "▶ pause until promoted  since", "20 → 100 %"]);
        ms(&space, &["why", "a"])
            .expect(0, &["Paused=True", "carries 20 % (100 % requested)", "go on: kubectl ms promote a"]);
        ms(&space, &["wait", "a", "--for=promoted", "--timeout=1s"])
            .expect(2, &["a: timed out: not promoted within 1s: step 2 of 2 of the rollout waits for a promotion"]);

        ms(&space, &["promote", "a"]).expect(0, &["a: promote done: the rollout goes on"]);
        ms(&space, &["wait", "a", "--for=promoted"]).expect(0, &["healthy"]);
        space.weights("a", "v1=0 v2=100").await;
        ms(&space, &["undo", "a"]).expect(0, &["the weights go back to those before the rollout"]);
        space.weights("a", "v1=100 v2=0").await;
        let back = ms(&space, &["wait", "a", "-o", "json"]).expect(1, &[]).json();
        assert_eq!(back["result"], "Degraded");
        assert!(back["message"].as_str().unwrap().contains("undone by mia"), "{back}");
        ms(&space, &["pause", "a"]).expect(1, &["the rollout is aborted: change the spec, or retry"]);
        ms(&space, &["retry", "a"]).expect(0, &["the rollout starts again with its first step"]);
        state(&space, RolloutState::Paused).await;
        ms(&space, &["pause", "a"]).expect(0, &["it is paused already"]);
        let aborted = ms(&space, &["abort", "a", "-o", "yaml"]).expect(0, &["result: Done", "verb: Abort"]);
        assert!(aborted.out.contains("action: a-abort-"), "{aborted:?}");
        state(&space, RolloutState::Aborted).await;

        ms(&space, &["history", "a"]).expect(0, &["AGE", "RolloutAborted", "TrafficWeightUpdated"]);
        let entries = ms(&space, &["history", "a", "-o", "json"]).json();
        let asked =
            entries.as_array().unwrap().iter().filter(|entry| entry["actor"] == "mia" && entry["result"] == "Done");
        let mut verbs: Vec<&str> = asked.map(|entry| entry["what"].as_str().unwrap()).collect();
        // Times of creation are whole seconds, so the order within one is not known.
        verbs.sort_unstable();
        assert_eq!(verbs, ["abort", "pause", "promote", "retry", "undo"], "{entries:#}");
        let spec = space.microservices().get("a").await.unwrap();
        assert!(spec.managed_fields().iter().filter(|it| it.manager.as_deref() == Some("kubectl-ms")).count() == 1);
    });
}

#[test]
fn one_goes_back_to_a_kept_revision() {
    run(async {
        let space = Space::new(cluster(), "undo").await;
        let _operator = Operator::of(&space);
        let image = |tag: i32| {
            format!(
                "{{ports: [{{name: http, port: 80}}], drain: 1s, image: 'registry.example/a:{tag}', rollout: {{steps: \
                 [{{weight: 50}}, {{pause: {{duration: 1s}}}}]}}}}"
            )
        };
        let mut names = Vec::new();
        for tag in 1..=3 {
            space.apply("a", &image(tag)).await;
            names.push(space.ready("a").await.status.unwrap().revision.unwrap());
        }
        let [one, two, three] = names.as_slice() else { panic!("{names:?}") };
        ms(&space, &["undo", "a", "--to-revision=9"]).expect(
            1,
            &[
                &format!("no revision 9 is kept; there are: 1 {two} (registry.example/a:2, "),
                &format!("2 {one} (registry.example/a:1, "),
            ],
        );
        assert!(actions(&space).await.is_empty(), "what cannot be is not asked");
        let told = format!("{one} gets all requests as soon as its pods are ready");
        ms(&space, &["undo", "a", "--to-revision=2"]).expect(0, &[&told]);
        space.weights("a", &format!("{three}=0 {one}=100")).await;
        assert_eq!(space.microservices().get("a").await.unwrap().spec.image.unwrap(), "registry.example/a:3");
        let undone = format!("rolled back: undone by mia to {one}; traffic stays at {one} 100; change the spec, or:");
        space.until("a", &undone, |it| support::message(it).starts_with(&undone)).await;
        ms(&space, &["why", "a"]).expect(0, &[&format!("undone by mia to {one}")]);
        ms(&space, &["get", "a"]).expect(0, &[&format!("undone by mia to {one}")]);
        ms(&space, &["retry", "a"]).expect(0, &["the rollout starts again with its first step"]);
        let done = space.ready("a").await.status.unwrap();
        assert_eq!(done.weights, Some(format!("{three}=100")));
        let wrong = json!({"microservice": "a", "verb": "Abort", "revision": one});
        let wrong = json!({"apiVersion": "microservice-operator.dev/v1alpha1", "kind": "MicroserviceAction",
                           "metadata": {"name": "wrong"}, "spec": wrong});
        let made = space.api::<MicroserviceAction>();
        let refused = made.create(&Default::default(), &serde_json::from_value(wrong).unwrap()).await.unwrap_err();
        assert!(refused.to_string().contains("only Undo goes back to a revision"), "{refused}");
    });
}

#[test]
fn an_action_says_what_was_seen_and_who_asked() {
    run(async {
        let space = Space::unwatched(cluster(), "asked").await;
        let made = space.apply("a", STEPS).await;
        ms(&space, &["promote", "a"]).expect(1, &["the operator has not begun with its rollout policy"]);
        let seen = |generation: Option<i64>| {
            json!({"status": {
                "observedGeneration": generation, "rollout": {"state": "Paused", "target": "abc", "step": 1},
            }})
        };
        let (older, newest) = (seen(Some(0)), seen(made.metadata.generation));
        let (microservices, merge) = (space.microservices(), PatchParams::default());
        microservices.patch_status("a", &merge, &Patch::Merge(&older)).await.unwrap();
        ms(&space, &["promote", "a"]).expect(1, &["the operator has not seen the newest spec yet"]);
        microservices.patch_status("a", &merge, &Patch::Merge(&newest)).await.unwrap();

        ms(&space, &["promote", "a", "--no-wait"]).expect(0, &["a: promote asked (a-promote-"]);
        let action = actions(&space).await.remove(0);
        assert!(action.name_any().starts_with("a-promote-"));
        let owner = action.owner_references().first().cloned().unwrap();
        assert_eq!((owner.kind.as_str(), Some(&owner.uid)), ("Microservice", made.metadata.uid.as_ref()));
        assert_eq!((owner.controller, owner.block_owner_deletion), (Some(false), None));
        let spec = action.spec;
        assert_eq!((spec.microservice.as_str(), spec.verb, spec.uid), ("a", Verb::Promote, made.metadata.uid));
        assert_eq!((spec.target.as_deref(), spec.step, spec.actor.as_deref()), (Some("abc"), Some(1), Some("mia")));
        let created = action.metadata.creation_timestamp.unwrap().0;
        let left = spec.expires.unwrap().0.duration_since(created).as_secs();
        assert!((590..=600).contains(&left), "{left}");

        ms(&space, &["abort", "a", "--timeout=5s"])
            .expect(2, &["abort not answered: no answer within 5s: the operator may not run"]);
        microservices.patch_status("a", &merge, &Patch::Merge(&older)).await.unwrap();
        ms(&space, &["why", "a"]).expect(0, &["see whether the operator runs"]);
        ms(&space, &["wait", "a", "--timeout=1s"]).expect(2, &["it may not run, or not watch this namespace"]);
        microservices.patch_status("a", &merge, &Patch::Merge(&newest)).await.unwrap();

        let asking = command(&mia(), &["pause", "a", "-n", &space.name]).stderr(Stdio::piped()).spawn().unwrap();
        let action = eventually(|| async { actions(&space).await.into_iter().find(|it| it.spec.verb == Verb::Pause) });
        let name = action.await.unwrap().name_any();
        let answer = json!({"status": {"result": "Refused", "message": "not now"}});
        space
            .api::<MicroserviceAction>()
            .patch_status(&name, &PatchParams::default(), &Patch::Merge(&answer))
            .await
            .unwrap();
        let asked = asking.wait_with_output().unwrap();
        assert_eq!((asked.status.code(), asked.stderr.as_slice()), (Some(1), &b"a: pause refused: not now\n"[..]));
    });
}

#[test]
fn weights_are_edited_without_losing_anything() {
    run(async {
        let space = Space::unwatched(cluster(), "weight").await;
        let three = STEPS
            .replace("weight: 0}", "weight: 0}, {name: v3, image: 'registry.example/a:3', weight: 0, replicas: 2}");
        let before = space.apply("a", &three).await;
        ms(&space, &["weight", "a", "v3=33", "v2=34"]).expect(0, &["v1=100 v2=0 v3=0 -> v1=33 v2=34 v3=33"]);
        let after = space.microservices().get("a").await.unwrap();
        let mut spec = before.spec;
        for (version, weight) in spec.versions.iter_mut().zip([33, 34, 33]) {
            version.weight = Some(weight);
        }
        assert_eq!(after.spec, spec);
        let again = ms(&space, &["weight", "a", "v3=33", "-o", "json"]).expect(0, &[]).json();
        assert_eq!(again["changed"], false);
        ms(&space, &["weight", "a", "v9=1"])
            .expect(1, &["a: weights refused: there is no version v9; there are: v1, v2, v3"]);
        ms(&space, &["weight", "a", "v1=60", "v2=60"]).expect(1, &["the weights sum to 120"]);
    });
}

#[test]
fn changes_are_shown_as_they_come_and_ctrl_c_ends_it() {
    run(async {
        let space = Space::unwatched(cluster(), "watch").await;
        space.apply("a", STEPS).await;
        let args = ["get", "--watch", "-n", &space.name];
        let mut watching = command(&mia(), &args).stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(watching.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        // Without the time at its beginning.
        let next = || lines.recv_timeout(PATIENCE).unwrap().split_once("  ").unwrap().1.to_owned();
        let name = &space.name;
        let pods = "v1=0 (0/1 ready) v2=0 (0/1 ready)";
        assert_eq!(next(), format!("{name}/a  Unseen  {pods}  the operator has not seen it yet"));
        let seen = json!({"status": {"phase": "Progressing", "message": "on its way"}});
        space.microservices().patch_status("a", &PatchParams::default(), &Patch::Merge(&seen)).await.unwrap();
        assert_eq!(next(), format!("{name}/a  Progressing  {pods}  on its way"));
        space.microservices().delete("a", &DeleteParams::default()).await.unwrap();
        assert_eq!(next(), format!("{name}/a  deleted"));
        let pid = nix::unistd::Pid::from_raw(i32::try_from(watching.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
        assert_eq!(watching.wait().unwrap().code(), Some(0));
        assert!(lines.recv_timeout(PATIENCE).is_err(), "nothing else changed");
    });
}

#[test]
fn a_terminal_gets_colours_and_is_drawn_over() {
    run(async {
        let space = Space::unwatched(cluster(), "terminal").await;
        space.apply("a", STEPS).await;
        let on_terminal = |line: &str, no_color: &str| {
            let mut script = Command::new("script");
            script
                .args(["-qefc", line, "/dev/null"])
                .env("KUBECONFIG", mia())
                .env("TERM", "xterm")
                .env("NO_COLOR", no_color);
            ran(script.stdin(Stdio::null()))
        };
        let get = format!("{BINARY} get a -n {}", space.name);
        let coloured = on_terminal(&get, "").expect(0, &["\u{1b}[33mUnseen\u{1b}[0m"]);
        let plain = on_terminal(&get, "1").expect(0, &["/a  Unseen"]);
        assert!(!plain.out.contains('\u{1b}') && coloured.out.len() > plain.out.len());
        let json = on_terminal(&format!("{get} -o json"), "");
        assert!(!json.out.contains('\u{1b}'), "{json:?}");
        let watch = format!("timeout --foreground --preserve-status --signal INT 15 {get} --watch");
        let drawn = on_terminal(&watch, "").expect(0, &["\u{1b}[2J\u{1b}[H", "Unseen", "\u{1b}[J"]);
        assert!(!drawn.out.contains("deleted"), "{drawn:?}");
    });
}

#[test]
fn kubectl_finds_and_completes_it() {
    run(async {
        let space = Space::unwatched(cluster(), "kubectl").await;
        space.apply("order-service", STEPS).await;
        let folder = tempfile::tempdir().unwrap();
        symlink(BINARY, folder.path().join("kubectl-ms")).unwrap();
        let script = folder.path().join("kubectl_complete-ms");
        std::fs::write(&script, ran(&mut command(&mia(), &["completion", "kubectl"])).out).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
        let kubectl = |args: &[&str]| {
            ran(Command::new(tool(Tool::Kubectl).unwrap()).args(args).env("KUBECONFIG", mia()).env("PATH", &path))
        };
        kubectl(&["ms", "get", "-n", &space.name]).expect(0, &["/order-service  Unseen"]);
        // Names are waited for no longer than a person does, who presses the key again then.
        let ask = ["__complete", "ms", "why", "--namespace", &space.name, "ord"];
        let names = eventually(|| async { Some(kubectl(&ask)).filter(|it| it.out.contains("order-service")) });
        let names = names.await.expect("names").expect(0, &["order-service\n:4"]);
        assert!(!names.out.contains("promote"), "{names:?}");
        kubectl(&["__complete", "ms", "pro"]).expect(0, &["promote\n:4"]);
        for (shell, text) in
            [("bash", "complete -F"), ("zsh", "#compdef kubectl-ms"), ("fish", "complete -c kubectl-ms")]
        {
            ran(&mut command(&mia(), &["completion", shell])).expect(0, &[text]);
        }
    });
}

#[test]
fn what_is_wrong_is_said_with_where_and_what_to_do() {
    run(async {
        let space = Space::unwatched(cluster(), "wrong").await;
        space.apply("order-service", STEPS).await;
        let name = space.name.as_str();
        ms(&space, &["why", "ordr-service"]).expect(
            3,
            &[&format!("error: there is no Microservice ordr-service in the namespace {name}\n  is one of these meant: order-service?")],
        );
        ms(&space, &["get", "nothing-like-it"]).expect(3, &["see `kubectl ms get --all-namespaces`"]);
        ms(&space, &["wait", "order-service", "--for=luck"]).expect(3, &["possible values: ready, promoted"]);
        ran(&mut command(&mia(), &["get", "-n", "empty-of-all"]))
            .expect(0, &["there is no Microservice in the namespace empty-of-all"]);
        ran(&mut command(&mia(), &["get", "-A", "-o", "json"])).expect(0, &["\"order-service\""]);
        ran(&mut command(&mia(), &["get", "--context", "elsewhere"]))
            .expect(3, &["no cluster is configured", "elsewhere", "--context"]);
        ran(&mut command(Path::new("/nowhere/config"), &["get"]))
            .expect(3, &["no cluster is configured", "KUBECONFIG", "does not run inside a cluster"]);
        let named = ran(&mut command(Path::new("/nowhere/config"), &["get", "--context", "prod"]));
        let named = named.expect(3, &["no cluster is configured"]);
        assert!(!named.err.contains("inside a cluster"), "who names a context means no other cluster: {}", named.err);

        let nobody = cluster().kubeconfig_as("nobody", &["system:authenticated"]).unwrap();
        ran(command(&nobody, &["get"]).args(["-n", name])).expect(
            3,
            &[
                &format!("you may not list microservices.microservice-operator.dev in {name}"),
                &format!("kubectl auth can-i list microservices.microservice-operator.dev --namespace {name}"),
            ],
        );
        let folder = tempfile::tempdir().unwrap();
        let config = |server: &str| {
            let path = folder.path().join("config");
            let text = json!({
                "apiVersion": "v1", "kind": "Config", "current-context": "x",
                "clusters": [{"name": "x", "cluster": {"server": server}}],
                "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x", "namespace": "of-the-context"}}],
                "users": [{"name": "x", "user": {}}],
            });
            std::fs::write(&path, text.to_string()).unwrap();
            path
        };
        ran(&mut command(&config("http://127.0.0.1:1"), &["get"])).expect(
            3,
            &["the cluster at http://127.0.0.1:1 does not answer", "Connection refused", "kubectl cluster-info"],
        );
        let bare = bare_cluster();
        ran(&mut command(&config(&bare), &["why", "a"])).expect(
            3,
            &[&format!("the cluster at {bare} has no resource microservices.microservice-operator.dev"), "install"],
        );
    });
}

/// An API server that knows of nothing; answers its address.
fn bare_cluster() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _request = stream.read(&mut [0; 4096]);
            let answer = "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 19\r\nConnection: close\r\n\r\n404 page not found\n";
            let _sent = stream.write_all(answer.as_bytes());
        }
    });
    format!("http://{address}")
}
