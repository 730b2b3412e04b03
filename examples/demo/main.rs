//! `make demo`: a cluster on this machine, the operator, two applications, and what happens when weights are edited.
//!
//! Everything is real but the pods, which simulated nodes only pretend to run.

mod screen;
mod stage;

use std::{collections::BTreeSet, process::ExitCode, time::Instant};

use kube::ResourceExt;
use microservice_operator::{
    api::{LimitedBy, Microservice, conditions},
    plan::object::Kind,
};
use screen::{Screen, Tone};
use serde_json::{Value, json};
use stage::{Failure, NAMESPACES, Stage};

#[tokio::main]
async fn main() -> ExitCode {
    let screen = Screen::new();
    let play = async {
        tokio::select! {
            played = play(&screen) => played,
            _ = tokio::signal::ctrl_c() => Err("interrupted; the cluster is taken down again".into()),
        }
    };
    match play.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\nThe demo failed: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn play(screen: &Screen) -> Result<(), Failure> {
    let began = Instant::now();
    screen.scene(1, "A cluster on this machine, and the operator");
    let stage = Stage::set().await?;
    screen
        .say("A real API server, controller manager and scheduler; three simulated nodes, which pretend to run pods.");
    screen.say(&format!("Look at it from another terminal: export KUBECONFIG={}", stage.kubeconfig().display()));

    two_applications(screen, &stage).await?;
    what_came_out(screen, &stage).await?;
    promotion(screen, &stage).await?;
    broken_version(screen, &stage).await?;
    refused_edit(screen, &stage).await?;
    crash(screen, &stage).await?;
    removal(screen, &stage).await?;
    deletion(screen, &stage).await?;

    screen.scene(9, "That was it");
    screen.say(&format!("{} s. The cluster is taken down now. For one that stays:", began.elapsed().as_secs()));
    screen.typed("make up\nmake run      # the operator; then, in another terminal:\nmake shell    # kubectl and helm");
    Ok(())
}

async fn two_applications(screen: &Screen, stage: &Stage) -> Result<(), Failure> {
    screen.scene(2, "Two applications: the shop, and Istio's Bookinfo");
    screen.typed("kubectl apply -f examples/shop/ -f examples/bookinfo/");
    let mut waiting = BTreeSet::new();
    for application in NAMESPACES {
        waiting.extend(stage.apply(&format!("examples/{application}")).await?);
    }
    screen.say(&format!("{} files, {} services. Each as it becomes ready:", waiting.len(), waiting.len()));
    stage
        .watch("all services ready", |service| {
            if is(service, conditions::READY) && waiting.remove(&service.name_any()) {
                screen.service(service);
            }
            waiting.is_empty().then_some(())
        })
        .await
}

async fn what_came_out(screen: &Screen, stage: &Stage) -> Result<(), Failure> {
    screen.scene(3, "What the order-service became");
    let mut made = Vec::new();
    for kind in Kind::ALL {
        for name in ["order-service", "order-service-v1", "order-service-v2"] {
            if stage.child(kind, "shop", name).await?.is_some() {
                made.push(format!("{}/{name}", kind.api_resource().kind));
            }
        }
    }
    made.chunks(3).for_each(|some| screen.say(&some.join("  ")));
    screen.say("");
    screen.say("Premium customers get v2; of the others 90 in 100 get v1. The VirtualService says so:");
    if let Some(routes) = stage.child(Kind::VirtualService, "shop", "order-service").await? {
        screen.yaml(&serde_yaml::to_string(&routes.data["spec"]["http"])?);
    }
    Ok(())
}

async fn promotion(screen: &Screen, stage: &Stage) -> Result<(), Failure> {
    screen.scene(4, "Promotion is an edit of the weights");
    screen.say("reviews sends everything to v1, but the reader jason to v2. Now v3 is to have half:");
    reviews(screen, stage, &weights(&[50, 0, 50])).await?;
    follow(screen, stage, "v1=50 v2=0 v3=50").await?;
    screen.say("And now all of it:");
    reviews(screen, stage, &weights(&[0, 0, 100])).await?;
    follow(screen, stage, "v1=0 v2=0 v3=100").await?;
    let routes = stage.child(Kind::VirtualService, "bookinfo", "reviews").await?.map(|it| it.data).unwrap_or_default();
    screen.say(&format!("The VirtualService carries it: {}", destinations(&routes)));
    screen.say("Nothing was deployed for it: all three versions ran before.");
    Ok(())
}

async fn broken_version(screen: &Screen, stage: &Stage) -> Result<(), Failure> {
    screen.scene(5, "A version that cannot start gets nothing");
    let broken = json!([
        {"op": "add", "path": "/spec/versions/3", "value": {
            "name": "v4", "image": "docker.io/istio/examples-bookinfo-reviews-v4:none", "weight": 50,
            "podAnnotations": {devcluster::BEHAVIOR: "image-pull-error"},
        }},
        {"op": "replace", "path": "/spec/versions/2/weight", "value": 50},
    ]);
    reviews(screen, stage, &broken).await?;
    let told =
        until(stage, "the image that cannot be pulled is told", |it| message(it).contains("ImagePullBackOff")).await?;
    screen.bars(&told);
    screen.tell(Tone::Bad, &message(&told));
    screen.say("The edit is taken back:");
    let back = json!([
        {"op": "remove", "path": "/spec/versions/3"},
        {"op": "replace", "path": "/spec/versions/2/weight", "value": 100},
    ]);
    reviews(screen, stage, &back).await?;
    follow(screen, stage, "v1=0 v2=0 v3=100").await
}

async fn refused_edit(screen: &Screen, stage: &Stage) -> Result<(), Failure> {
    screen.scene(6, "A wrong edit is refused before anything changes");
    let wrong = weights(&[60, 0, 50]);
    screen.typed(&kubectl(&wrong));
    match stage.patch("bookinfo", "reviews", &wrong).await {
        Err(kube::Error::Api(answer)) => {
            screen.tell(Tone::Bad, &answer.message);
            Ok(())
        }
        Err(other) => Err(other.into()),
        Ok(()) => Err("weights that sum to 110 were accepted".into()),
    }
}

async fn crash(screen: &Screen, stage: &Stage) -> Result<(), Failure> {
    screen.scene(7, "Weight follows readiness");
    screen.say("v1 is to share with v3 again; then every pod of v3 begins to crash.");
    reviews(screen, stage, &weights(&[50, 0, 50])).await?;
    follow(screen, stage, "v1=50 v2=0 v3=50").await?;
    stage.misbehave("bookinfo", "reviews", "v3", "crash-loop").await?;
    let held = until(stage, "v3's weight is taken away", |it| limited(it, "v3") == Some(LimitedBy::HeldOut)).await?;
    screen.bars(&held);
    screen.tell(Tone::Bad, &message(&held));
    Ok(())
}

async fn removal(screen: &Screen, stage: &Stage) -> Result<(), Failure> {
    screen.scene(8, "A removed version drains before it goes; a deleted service leaves nothing");
    screen.say("v3 is taken out of the list. It gets no requests, runs on for 5 s, leaves the mesh, and then goes:");
    let removed = json!([
        {"op": "add", "path": "/spec/drain", "value": "5s"},
        {"op": "remove", "path": "/spec/versions/2"},
        {"op": "replace", "path": "/spec/versions/0/weight", "value": 100},
    ]);
    reviews(screen, stage, &removed).await?;
    let mut last = String::new();
    stage
        .watch("the removed version is gone", |service| {
            if service.name_any() != "reviews" {
                return None;
            }
            let text = message(service);
            if text != last {
                screen.service(service);
                last = text;
            }
            (is(service, conditions::READY)).then_some(())
        })
        .await
}

async fn deletion(screen: &Screen, stage: &Stage) -> Result<(), Failure> {
    screen.typed("kubectl delete -f examples/bookinfo/");
    let services = stage.services("bookinfo");
    services.delete_collection(&Default::default(), &Default::default()).await?;
    let left = stage.children_left("bookinfo").await?;
    if left > 0 {
        return Err(format!(
            "{left} objects of Bookinfo are left, of which there should be none: see `kubectl get all -n bookinfo`"
        )
        .into());
    }
    screen.tell(Tone::Good, "No object of Bookinfo is left");
    Ok(())
}

/// Edits reviews, and shows the command that does the same.
async fn reviews(screen: &Screen, stage: &Stage, changes: &Value) -> Result<(), Failure> {
    screen.typed(&kubectl(changes));
    Ok(stage.patch("bookinfo", "reviews", changes).await?)
}

fn kubectl(changes: &Value) -> String {
    let entries: Vec<String> = changes.as_array().into_iter().flatten().map(|entry| format!("  {entry}")).collect();
    format!("kubectl patch microservice reviews -n bookinfo --type json -p '[\n{}]'", entries.join(",\n"))
}

fn weights(of: &[i32]) -> Value {
    let entry =
        |(index, weight)| json!({"op": "replace", "path": format!("/spec/versions/{index}/weight"), "value": weight});
    of.iter().enumerate().map(entry).collect()
}

/// Shows how reviews stands once it has these weights and is ready.
async fn follow(screen: &Screen, stage: &Stage, line: &str) -> Result<(), Failure> {
    let reached = |it: &Microservice| {
        let status = it.status.as_ref();
        status.and_then(|status| status.weights.as_deref()) == Some(line) && is(it, conditions::READY)
    };
    screen.bars(&until(stage, line, reached).await?);
    Ok(())
}

async fn until(stage: &Stage, what: &str, wanted: impl Fn(&Microservice) -> bool) -> Result<Microservice, Failure> {
    let is_it = |it: &Microservice| it.name_any() == "reviews" && wanted(it);
    stage.watch(what, |service| is_it(service).then(|| service.clone())).await
}

fn message(service: &Microservice) -> String {
    service.status.as_ref().and_then(|status| status.message.clone()).unwrap_or_default()
}

fn limited(service: &Microservice, version: &str) -> Option<LimitedBy> {
    let mut traffic = service.status.iter().flat_map(|status| &status.traffic);
    traffic.find(|entry| entry.version == version)?.limited_by
}

/// Whether a condition is true, of the newest spec.
fn is(service: &Microservice, type_: &str) -> bool {
    let conditions = service.status.iter().flat_map(|status| &status.conditions);
    let mut current = conditions.filter(|it| it.observed_generation == service.metadata.generation);
    current.any(|it| it.type_ == type_ && it.status == "True")
}

/// Where the last route of a VirtualService leads, such as `v1 50, v3 50`.
fn destinations(routes: &Value) -> String {
    let last = routes["spec"]["http"].as_array().and_then(|http| http.last()).cloned().unwrap_or_default();
    let share = |to: &Value| {
        let subset = to["destination"]["subset"].as_str().unwrap_or_default();
        format!("{subset} {}", to["weight"].as_i64().unwrap_or(100))
    };
    last["route"].as_array().into_iter().flatten().map(share).collect::<Vec<_>>().join(", ")
}
