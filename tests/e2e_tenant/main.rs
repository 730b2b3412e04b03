//! A tenant who may write Microservices, and nothing else, tries to get more by it: every attack of `attacks/` on a real API
//! server is refused or contained.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cage;
mod corpus;
mod ground;
#[path = "../support/mod.rs"]
mod support;

use futures::{StreamExt, stream};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use microservice_operator::{
    api::{Microservice, MicroserviceAction},
    plan::object::Kind,
};
use serde_json::{Value, json};

use corpus::{Asked, Attack, Fact, corpus, grown};
use ground::Ground;
use support::{Space, cluster, condition, current, eventually, run, told};

const PATH: &str = "/apis/microservice-operator.dev/v1alpha1/namespaces";
/// Attacks under way at once.
const ABREAST: usize = 8;

/// One attack on its ground, with the name of what it makes.
struct Attempt<'a> {
    attack: &'a Attack,
    name: String,
    ground: &'a Ground,
}

impl Attempt<'_> {
    /// Makes it; answers what did not come as it should.
    async fn made(&self) -> Result<(), String> {
        let asked = self.attack.request.clone().unwrap_or_else(|| self.creation());
        let answer = self.ask(&asked).await;
        match (&self.attack.refused, answer) {
            (Some(words), Err(message)) => self.tells(words, &message),
            (Some(_), Ok(())) => Err("it was accepted".to_owned()),
            (None, Err(message)) => Err(format!("it was refused: {message}")),
            (None, Ok(())) => self.followed().await,
        }
    }

    /// A plain Microservice with what the attack gives.
    fn creation(&self) -> Asked {
        let mut given = grown(&self.attack.microservice);
        let mut spec = json!({"ports": [{"name": "http", "port": 80}],
                              "versions": [{"name": "v1", "image": "registry.example/a:1"}]});
        for (field, value) in given["spec"].as_object().unwrap() {
            spec[field] = value.clone();
        }
        if spec["versions"] == json!([]) {
            spec.as_object_mut().unwrap().remove("versions");
        }
        given["metadata"]["name"] = self.name.clone().into();
        given["apiVersion"] = "microservice-operator.dev/v1alpha1".into();
        (given["kind"], given["spec"]) = ("Microservice".into(), spec);
        given.as_object_mut().unwrap().remove("name");
        let path = format!("{PATH}/{}/microservices", self.ground.space.name);
        Asked { method: "POST".to_owned(), path, body: given }
    }

    /// Sends a request as the tenant, who passes over what the API server warns of.
    async fn ask(&self, asked: &Asked) -> Result<(), String> {
        let body = if asked.body.is_null() { String::new() } else { self.filled(&corpus::json(&asked.body)) };
        let content = if asked.method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let request = axum::http::Request::builder().method(asked.method.as_str()).uri(self.filled(&asked.path));
        let request = request.header("content-type", content).body(body.into_bytes()).unwrap();
        let answer = self.ground.tenant.request::<Value>(request).await;
        answer.map(drop).map_err(|error| match error {
            kube::Error::Api(status) => status.message,
            other => other.to_string(),
        })
    }

    fn filled(&self, text: &str) -> String {
        let Ground { space, victim, .. } = self.ground;
        text.replace("${tenant}", &space.name).replace("${victim}", &victim.name).replace("${name}", &self.name)
    }

    fn tells(&self, words: &str, message: &str) -> Result<(), String> {
        let words = self.filled(words);
        if message.contains(&words) { Ok(()) } else { Err(format!("expected {words}\n    told {message}")) }
    }

    /// What the operator makes of it.
    async fn followed(&self) -> Result<(), String> {
        let space = &self.ground.space;
        if self.attack.request.is_none() && self.attack.metadata_alone().is_none() {
            space.until(&self.name, "seen", current).await;
        }
        if let Some(words) = &self.attack.stalled {
            return self.stalled(words).await;
        }
        if !self.attack.then.is_null() {
            space.ready(&self.name).await;
            let patch = Asked {
                method: "PATCH".to_owned(),
                path: format!("{PATH}/{}/microservices/{}", space.name, self.name),
                body: json!({"spec": self.attack.then}),
            };
            self.ask(&patch).await?;
        }
        for fact in &self.attack.shows {
            self.shown(fact).await?;
        }
        Ok(())
    }

    async fn stalled(&self, words: &str) -> Result<(), String> {
        let stalled = |it: &Microservice| current(it) && condition(it, "Stalled") == "True";
        let found = self.ground.space.until(&self.name, "Stalled", stalled).await;
        self.tells(words, &told(&found, "Stalled").1)?;
        let made = self.ground.space.child(Kind::Deployment, &format!("{}-v1", self.name)).await;
        if made.is_some() && !self.attack.runs { Err("it runs all the same".to_owned()) } else { Ok(()) }
    }

    /// Whether what must never be so is not so either once all is done.
    async fn still(&self) -> Result<(), String> {
        for fact in self.attack.shows.iter().filter(|fact| fact.never.is_some()) {
            self.shown(fact).await?;
        }
        Ok(())
    }

    /// Waits for a fact, but not for the end of what must never be so.
    async fn shown(&self, fact: &Fact) -> Result<(), String> {
        let suffix = if fact.kind == "Deployment" { "-v1" } else { "" };
        let name = fact.name.clone().unwrap_or_else(|| format!("{}{suffix}", self.name));
        let api = Api::<DynamicObject>::namespaced_with(
            self.ground.space.client.clone(),
            &self.ground.space.name,
            &resource(&fact.kind),
        );
        let last = std::sync::Mutex::new(String::new());
        let shown = eventually(|| async {
            let mut object = serde_json::to_value(api.get_opt(&name).await.ok()??).unwrap();
            object["metadata"]["managedFields"] = Value::Null;
            let at = object.pointer(&fact.at);
            let text = at.unwrap_or(&Value::Null).to_string();
            let so = match fact {
                Fact { absent: true, .. } => at.is_none(),
                Fact { says: Some(words), .. } => text.contains(&self.filled(words)),
                Fact { never: Some(words), .. } => !text.contains(&self.filled(words)),
                Fact { is, .. } => text == self.filled(&is.to_string()),
            };
            *last.lock().unwrap() = text;
            (so || fact.never.is_some()).then_some(so)
        });
        if shown.await == Some(true) {
            return Ok(());
        }
        Err(format!("{fact:?} is not so: it is {}", last.lock().unwrap()))
    }
}

impl Attack {
    /// An owner that does not exist takes the Microservice with it before anything can be waited for.
    fn metadata_alone(&self) -> Option<&Value> {
        self.microservice.pointer("/metadata/ownerReferences")
    }
}

fn resource(kind: &str) -> ApiResource {
    match kind {
        "Microservice" => ApiResource::erase::<Microservice>(&()),
        "MicroserviceAction" => ApiResource::erase::<MicroserviceAction>(&()),
        child => Kind::ALL.into_iter().map(Kind::api_resource).find(|it| it.kind == child).expect("a kind of children"),
    }
}

/// That the operator goes on and what is right is served, whatever was tried.
async fn serves(space: &Space) {
    let body = json!({"metadata": {"name": "neighbour"}, "apiVersion": "microservice-operator.dev/v1alpha1",
                      "kind": "Microservice", "spec": {"ports": [{"name": "http", "port": 80}],
                      "versions": [{"name": "v1", "image": "registry.example/a:1"}]}});
    space.microservices().patch("neighbour", &PatchParams::apply("test"), &Patch::Apply(&body)).await.unwrap();
    space.ready("neighbour").await;
}

/// That who holds the rights is not refused, however many versions there are.
async fn is_let_through(ground: &Ground) {
    ground.lend().await;
    let ask = async |count: usize, names: usize| {
        let version = |index: usize| {
            json!({"name": format!("v{index}"), "image": "a:1", "weight": if index == 0 { 100 } else { 0 },
                   "serviceAccountName": format!("helper-{}", index % names),
                   "priorityClassName": format!("class-{}", index % names)})
        };
        let body = json!({"apiVersion": "microservice-operator.dev/v1alpha1", "kind": "Microservice",
                          "metadata": {"name": "lent"}, "spec": {"ports": [{"name": "http", "port": 80}],
                          "versions": (0..count).map(version).collect::<Vec<_>>()}});
        let path = format!("{PATH}/{}/microservices?dryRun=All", ground.space.name);
        let attack = &corpus()[0].1[0];
        let attempt = Attempt { attack, name: "lent".to_owned(), ground };
        attempt.ask(&Asked { method: "POST".to_owned(), path, body }).await
    };
    // A right takes a moment to be known.
    let known = eventually(|| async { ask(6, 1).await.ok() }).await;
    assert!(known.is_some(), "{:?}", ask(6, 1).await);
    assert_eq!(ask(6, 3).await, Ok(()));
    let refused = ask(4, 4).await.unwrap_err();
    assert!(refused.contains("versions name more than three ServiceAccounts"), "{refused}");
}

#[test]
fn every_attack_is_refused_or_contained() {
    run(async {
        let ground = Ground::new().await;
        ground.plant().await;
        let begin = cluster().settled_mark().await.unwrap();
        let planted = (cage::everything(&ground.victim).await, cage::everything(&ground.space).await);
        let corpus = corpus();
        let all: Vec<Attempt<'_>> = corpus
            .iter()
            .flat_map(|(group, attacks)| {
                let name = move |(index, attack): (usize, &Attack)| match attack.microservice["name"].as_str() {
                    Some(name) => name.to_owned(),
                    None => format!("{group}-{index}"),
                };
                let ground = &ground;
                attacks.iter().enumerate().map(move |it| Attempt { attack: it.1, name: name(it), ground })
            })
            .collect();
        assert!(all.len() >= 100, "only {} attacks", all.len());
        let tried = all.iter().map(|attempt| async move {
            attempt.made().await.err().map(|why| format!("{} ({}): {why}", attempt.attack.attack, attempt.name))
        });
        let wrong: Vec<String> =
            stream::iter(tried).buffer_unordered(ABREAST).filter_map(|it| async { it }).collect().await;
        assert!(wrong.is_empty(), "{} of {} attacks:\n{}", wrong.len(), all.len(), wrong.join("\n"));
        for attempt in &all {
            assert_eq!(attempt.still().await, Ok(()), "{} ({})", attempt.attack.attack, attempt.name);
        }
        assert_eq!(cage::strayed(&ground, begin).await, Vec::<String>::new());
        assert_eq!(cage::escapes(&ground).await, Vec::<String>::new());
        assert_eq!(cage::leaked(&ground).await, Vec::<String>::new());
        assert_eq!(cage::misled(&ground).await, Vec::<String>::new());
        let others = (cage::everything(&ground.victim).await, cage::everything(&ground.space).await);
        for (before, after) in [(&planted.0, &others.0), (&planted.1, &others.1)] {
            for (name, object) in before {
                assert_eq!(after.get(name), Some(object), "{name}, which is somebody else's, was changed");
            }
        }
        assert_eq!(cage::forged(&ground).await, Vec::<String>::new());
        assert_eq!(Ground::calls(), 0, "webhooks or providers of others were called");
        let metrics = ground.operator.metrics().await.unwrap();
        assert!(metrics.contains("reconcile") && !metrics.contains(&ground.space.name), "{metrics}");
        serves(&ground.victim).await;
        is_let_through(&ground).await;
        println!("{} attacks: all refused or contained", all.len());
    });
}

/// The table of the attacks in the documents is that of the corpus: what is told is what is tested.
#[test]
fn the_document_tells_every_attack_and_what_comes_of_it() {
    let row = |attack: &Attack| format!("| {} | {} |\n", attack.attack, attack.outcome());
    let tables: String = corpus().iter().map(|(_, attacks)| attacks.iter().map(row).collect::<String>()).collect();
    let path = support::root().join("docs/security.md");
    let told = std::fs::read_to_string(&path).unwrap();
    let rows: String = told
        .lines()
        .skip_while(|line| *line != "| what is tried | what comes of it |")
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| format!("{line}\n"))
        .collect();
    assert!(rows == tables, "{}: the rows of the table should be:\n{tables}", path.display());
}
