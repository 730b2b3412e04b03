//! One run: all rows of a controller with so many services, in namespaces of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::{Duration, Instant},
};

use devcluster::Cluster;
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::{
    controllers::{Controller, Deed, Edited, Service, Stage},
    error::Error,
    filler::Filler,
    gate::Gate,
    ground::{Field, LEFT_BEHIND},
    meter::{Meter, Reading},
    record::{Ground, Measured, Row},
    users::{self, Asked},
    watch::{Key, Kind, VIRTUAL_SERVICE, Watch},
};

/// How long nothing happens.
const REST: Duration = Duration::from_secs(60);
/// How many routes are changed by hand.
const DRIFTS: usize = 1_000;
/// How long a changed route is given.
const PUT_RIGHT: Duration = Duration::from_secs(60);

/// What a run is about.
#[derive(Clone, Copy)]
pub struct Plan {
    pub ground: Ground,
    pub controller: Controller,
    pub services: usize,
    /// How long each row is given.
    pub limit: Duration,
    /// Whether each row tells what everybody asked for in it.
    pub others: bool,
}

struct Run<'a> {
    plan: Plan,
    field: Field,
    meter: Meter,
    gate: Gate,
    resources: Watch,
    routes: Watch,
    told: &'a dyn Fn(&Measured),
    rows: Vec<Measured>,
}

/// Measures all rows, and tells each; `name` is part of the names of the namespaces.
pub async fn run(
    cluster: &Cluster,
    plan: Plan,
    name: &str,
    log: &Path,
    told: &dyn Fn(&Measured),
) -> Result<Vec<Measured>, Error> {
    let client = cluster.client();
    let _filler = (plan.ground == Ground::Filled).then(|| Filler::start(&client));
    let prefix = format!("bench-{name}-");
    let mut run = Run {
        plan,
        gate: Gate::start().await.map_err(Error::io("open a port of this machine"))?,
        meter: Meter::start(cluster, plan.controller, log.to_path_buf(), plan.others)?,
        resources: Watch::start(&client, plan.controller.family().kind(), &prefix),
        routes: Watch::start(&client, VIRTUAL_SERVICE, &prefix),
        field: Field::new(client, plan.ground, prefix, plan.services).await?,
        told,
        rows: Vec::new(),
    };
    let ended = run.rows().await;
    run.meter.kill();
    ended?;
    if let Err(error) = run.field.clear().await {
        println!("  the namespaces could not be cleared, so the next controller has more beside it: {error}");
    }
    Ok(run.rows)
}

impl Run<'_> {
    async fn rows(&mut self) -> Result<(), Error> {
        self.meter.settles().await?;
        self.stage(Row::Create, Stage::Create).await?;
        self.rest().await?;
        self.stage(Row::Canary, Stage::Canary).await?;
        self.stage(Row::Step, Stage::Step).await?;
        self.drift().await?;
        self.stage(Row::Promote, Stage::Promote).await?;
        self.reapply().await?;
        self.restart().await?;
        self.delete().await
    }

    /// Waits for the end of what follows, and notes what the row came to.
    async fn note(&mut self, row: Row, of: usize, done: usize, seconds: f64, asked: Asked) -> Result<(), Error> {
        self.meter.settles().await?;
        self.keep(row, of, done, seconds, asked)
    }

    fn keep(&mut self, row: Row, of: usize, done: usize, seconds: f64, asked: Asked) -> Result<(), Error> {
        let Reading { cpu, peak, memory, requests } = self.meter.read()?;
        let Asked { requests: user_requests, refused } = asked;
        let cpu = cpu.as_secs_f64();
        let measured = Measured { row, of, done, seconds, cpu, peak, memory, requests, user_requests, refused };
        (self.told)(&measured);
        if let Some(others) = self.meter.others() {
            print!("{others}");
        }
        self.rows.push(measured);
        Ok(())
    }

    async fn stage(&mut self, row: Row, stage: Stage) -> Result<(), Error> {
        let Plan { controller, services, limit, .. } = self.plan;
        self.meter.begin()?;
        let began = Instant::now();
        self.gate.allow(raises(stage));
        let gate = self.gate.address().to_owned();
        let deed = |service: &Service<'_>| controller.family().deed(service, stage, &gate);
        let asked = users::act(&self.field.client, &self.field.services, deed).await;
        let reached = |resource: &Value| controller.family().has_reached(resource, stage);
        let (done, at) = self.resources.until(services, limit, reached).await;
        self.note(row, services, done, (at - began).as_secs_f64(), asked).await
    }

    async fn rest(&mut self) -> Result<(), Error> {
        self.meter.begin()?;
        tokio::time::sleep(REST).await;
        let services = self.plan.services;
        self.keep(Row::Rest, services, services, REST.as_secs_f64(), Asked::default())
    }

    /// Changes the weights of routes that stand at 50 to 50.
    async fn drift(&mut self) -> Result<(), Error> {
        let changed: Vec<Key> = self.routes.keys().into_iter().take(DRIFTS).collect();
        self.meter.begin()?;
        let began = Instant::now();
        let changes = self.weigh(&changed, 90).await?;
        // The watch may not have heard of the change yet, and then a route is still as it was.
        let is_right = |route: &Value| {
            first_weight(route) == Some(50) && changes.get(&key(route)).is_none_or(|change| version(route) > *change)
        };
        let (done, at) = self.routes.until(self.plan.services, PUT_RIGHT, is_right).await;
        let right = changed.len() - (self.plan.services - done).min(changed.len());
        self.note(Row::Drift, changed.len(), right, (at - began).as_secs_f64(), Asked::default()).await?;
        if right < changed.len() {
            self.weigh(&changed, 50).await?;
        }
        Ok(())
    }

    /// Gives the first of a route's two destinations a weight, and the second one the rest, so many routes at a time as
    /// users act. Answers the versions that the routes have by that.
    async fn weigh(&self, keys: &[Key], weight: i64) -> Result<BTreeMap<Key, u128>, Error> {
        let routes = keys.iter().filter_map(|key| Some((key, self.routes.get(key)?)));
        let changes = routes.map(|(key, route)| self.weigh_one(key, route, weight));
        stream::iter(changes).buffer_unordered(users::ABREAST).try_collect().await
    }

    async fn weigh_one(&self, key: &Key, mut route: Value, weight: i64) -> Result<(Key, u128), Error> {
        let mut http = route["spec"]["http"].take();
        http[0]["route"][0]["weight"] = weight.into();
        http[0]["route"][1]["weight"] = (100 - weight).into();
        let patch = Patch::Merge(json!({"spec": {"http": http}}));
        let api = VIRTUAL_SERVICE.within(&self.field.client, &key.0);
        let answer = api.patch(&key.1, &PatchParams::default(), &patch).await?;
        Ok((key.clone(), number(answer.metadata.resource_version.as_deref())))
    }

    async fn reapply(&mut self) -> Result<(), Error> {
        let Plan { controller, services, limit, .. } = self.plan;
        self.meter.begin()?;
        let began = Instant::now();
        let gate = self.gate.address().to_owned();
        let deed = |service: &Service<'_>| Deed::Apply(controller.family().manifests(service, &gate));
        let asked = users::act(&self.field.client, &self.field.services, deed).await;
        let seconds = began.elapsed().as_secs_f64();
        let promoted = |resource: &Value| controller.family().has_reached(resource, Stage::Promote);
        let (done, _) = self.resources.until(services, limit, promoted).await;
        self.note(Row::Reapply, services, done, seconds, asked).await
    }

    /// Edits one service of each namespace while the controller is away.
    async fn restart(&mut self) -> Result<(), Error> {
        let controller = self.plan.controller;
        let edited: Vec<Key> = self.field.services.iter().take(crate::ground::NAMESPACES).cloned().collect();
        let Edited { kind, manifest, is_in_force } = controller.family().edit();
        let children = Watch::start(&self.field.client, kind, &self.field.prefix);
        self.meter.kill();
        let gate = self.gate.address().to_owned();
        let deed = |service: &Service<'_>| Deed::Apply(vec![manifest(service, &gate)]);
        let asked = users::act(&self.field.client, &edited, deed).await;
        self.meter.resume()?;
        self.meter.begin()?;
        let began = Instant::now();
        let (done, at) = children.until(edited.len(), self.plan.limit, is_in_force).await;
        self.note(Row::Restart, edited.len(), done, (at - began).as_secs_f64(), asked).await
    }

    async fn delete(&mut self) -> Result<(), Error> {
        let Plan { controller, services, limit, ground, .. } = self.plan;
        // Without the built-in controllers nothing is collected.
        let kinds: &[Kind] = if ground == Ground::Whole { &LEFT_BEHIND } else { &[] };
        let mut children = Vec::new();
        for &kind in kinds {
            let watch = Watch::start(&self.field.client, kind, &self.field.prefix);
            watch.is_listed().await;
            children.push(watch);
        }
        self.meter.begin()?;
        let began = Instant::now();
        let asked = users::delete(&self.field.client, &self.field.services, controller.family().written()).await;
        let (mut left, mut at) = self.resources.until_gone(limit).await;
        for watch in &children {
            let (of_kind, last) = watch.until_gone(limit.saturating_sub(began.elapsed())).await;
            left.extend(of_kind);
            at = at.max(last);
        }
        let done = gone(&self.field.services, &left);
        self.note(Row::Delete, services, done, (at - began).as_secs_f64(), asked).await
    }
}

/// How often Flagger may have raised a canary when a stage is reached.
fn raises(stage: Stage) -> u32 {
    match stage {
        Stage::Create => 0,
        Stage::Canary => 1,
        Stage::Step => 2,
        Stage::Promote => u32::MAX,
    }
}

/// How many services nothing is left of. Names of what a service leaves behind begin with its own.
fn gone(services: &[Key], left: &BTreeSet<Key>) -> usize {
    let has_left = |(namespace, name): &Key| left.iter().any(|it| it.0 == *namespace && it.1.starts_with(name));
    services.iter().filter(|service| !has_left(service)).count()
}

fn key(object: &Value) -> Key {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    (text("namespace"), text("name"))
}

fn version(object: &Value) -> u128 {
    number(object["metadata"]["resourceVersion"].as_str())
}

/// Versions are numbers that only grow: <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>.
fn number(version: Option<&str>) -> u128 {
    version.and_then(|version| version.parse().ok()).unwrap_or_default()
}

fn first_weight(route: &Value) -> Option<i64> {
    route["spec"]["http"][0]["route"][0]["weight"].as_i64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_gone_with_all_that_is_named_after_it() {
        let at = |namespace: &str, name: &str| (namespace.to_owned(), name.to_owned());
        let services = [at("a", "svc-00000"), at("b", "svc-00001"), at("a", "svc-00002")];
        let left = [at("a", "svc-00000"), at("a", "svc-00000-v1-x"), at("a", "svc-00001"), at("b", "svc-00001-v1")];
        assert_eq!(gone(&services, &left.into()), 1);
        assert_eq!(gone(&services, &BTreeSet::new()), 3);
    }
}
