//! One story of one controller, with what disturbs it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::{Duration, Instant},
};

use devcluster::{
    Cluster,
    faults::{Faults, Proxy, creates_and_deletes},
    invariants::{Recorder, Settings},
};
use jiff::SignedDuration;
use k8s_openapi::{api::core::v1::Namespace, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};
use serde_json::Value;

use crate::{
    controllers::{Controller, Service, Stage},
    error::Error,
    gate::Gate,
    process::Process,
    users,
};

use super::{Disturbance, end};

const NAME: &str = "svc";
/// The chapters that are disturbed.
const CHAPTERS: [Stage; 3] = [Stage::Canary, Stage::Step, Stage::Promote];
/// How long things go wrong in a chapter, if it does not end before.
const FAULTY: Duration = Duration::from_secs(45);
/// How long a chapter is given once nothing goes wrong any more.
const PATIENCE: Duration = Duration::from_secs(180);
/// A story is over when the controller has written nothing for so long,
const SILENCE: Duration = Duration::from_secs(10);
/// or after so long.
const AT_MOST: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(250);

/// A story that is yet to be run.
pub struct Trial<'a> {
    cluster: &'a Cluster,
    controller: Controller,
    disturbance: Disturbance,
    namespace: String,
}

/// What came of a story.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The chapter that it never came to.
    pub stuck: Option<Stage>,
    /// What there was in the end, without identities and times.
    pub objects: BTreeMap<String, Value>,
    /// How many objects of each resource the controller created and deleted.
    pub counts: BTreeMap<String, (usize, usize)>,
    /// Rules that were broken.
    pub broken: BTreeSet<String>,
    /// Most writes of one chapter.
    pub writes: usize,
    /// The controller ended by itself.
    pub ended: bool,
    /// How often it was killed: once a chapter at most.
    pub kills: usize,
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "at most {} writes a chapter, {} objects", self.writes, self.objects.len())?;
        if let Some(stage) = self.stuck {
            write!(f, "; stuck before {stage:?}")?;
        }
        if !self.broken.is_empty() {
            write!(f, "; broken: {:?}", self.broken)?;
        }
        Ok(())
    }
}

impl<'a> Trial<'a> {
    pub fn new(cluster: &'a Cluster, controller: Controller, disturbance: Disturbance, number: usize) -> Self {
        let namespace = format!("faults-{}-{number}", controller.tenant());
        Self { cluster, controller, disturbance, namespace }
    }

    pub async fn run(&self) -> Result<Seen, Error> {
        let client = self.cluster.client();
        let metadata = ObjectMeta { name: Some(self.namespace.clone()), ..ObjectMeta::default() };
        let namespaces: Api<Namespace> = Api::all(client.clone());
        namespaces.create(&PostParams::default(), &Namespace { metadata, ..Namespace::default() }).await?;
        // Nobody else promises times, so none are asked for.
        let settings =
            Settings { propagation: SignedDuration::ZERO, hold_out: SignedDuration::ZERO, ..Settings::default() };
        let recorder = Recorder::start(&client, &self.namespace, None, None, settings).await;
        let recorder = recorder.map_err(|error| Error::failed("record what happens", error))?;
        let mut stage = OnStage::new(self, client).await?;
        let mut seen = stage.tells().await?;
        stage.process = None;
        let violations = recorder.finish().await;
        seen.broken = violations.into_iter().map(|violation| format!("{:?}", violation.rule)).collect();
        namespaces.delete(&self.namespace, &DeleteParams::default()).await?;
        Ok(seen)
    }
}

/// A story that runs.
struct OnStage<'a> {
    trial: &'a Trial<'a>,
    client: Client,
    proxy: Proxy,
    gate: Gate,
    process: Option<Process>,
    log: PathBuf,
    _folder: tempfile::TempDir,
    ended: bool,
    kills: usize,
}

impl<'a> OnStage<'a> {
    async fn new(trial: &'a Trial<'a>, client: Client) -> Result<Self, Error> {
        let folder = tempfile::tempdir().map_err(Error::io("make a folder for a log"))?;
        let mut stage = Self {
            trial,
            proxy: Proxy::start(client.clone(), folder.path()).await.map_err(Error::io("start a proxy"))?,
            gate: Gate::start().await.map_err(Error::io("open a port of this machine"))?,
            client,
            process: None,
            log: folder.path().join("log"),
            _folder: folder,
            ended: false,
            kills: 0,
        };
        stage.start()?;
        Ok(stage)
    }

    fn start(&mut self) -> Result<(), Error> {
        let (controller, kubeconfig) = (self.trial.controller, self.proxy.kubeconfig());
        let mut arguments = controller.arguments(&kubeconfig.display().to_string());
        arguments.extend(controller.family().within(&self.trial.namespace));
        let program = controller.family().program()?;
        let started = Process::start(&program, &arguments, kubeconfig, &self.log);
        self.process = Some(started.map_err(Error::io(format!("start {}", program.display())))?);
        Ok(())
    }

    async fn tells(&mut self) -> Result<Seen, Error> {
        let mut seen = Seen::default();
        self.acts(Stage::Create).await?;
        if !self.reaches(Stage::Create, PATIENCE).await? {
            seen.stuck = Some(Stage::Create);
            return Ok(seen);
        }
        self.settles().await?;
        let before = creates_and_deletes(&self.proxy.journal());
        for chapter in CHAPTERS {
            let writes = self.proxy.writes();
            if !self.chapter(chapter).await? {
                seen.stuck = Some(chapter);
                break;
            }
            seen.writes = seen.writes.max(self.proxy.writes() - writes);
        }
        self.settles().await?;
        seen.objects = end::objects(&self.client, &self.trial.namespace).await?;
        seen.counts = since(&before, creates_and_deletes(&self.proxy.journal()));
        (seen.ended, seen.kills) = (self.ended, self.kills);
        Ok(seen)
    }

    /// Whether a chapter comes to its end.
    async fn chapter(&mut self, chapter: Stage) -> Result<bool, Error> {
        match self.trial.disturbance {
            Disturbance::None => {
                self.acts(chapter).await?;
                let reached = self.reaches(chapter, PATIENCE).await?;
                self.settles().await?;
                Ok(reached)
            }
            Disturbance::Kill(nth, moment) => {
                self.proxy.stop_at(nth, moment);
                self.acts(chapter).await?;
                let end = Instant::now() + PATIENCE;
                while !self.has_reached(chapter).await? && Instant::now() < end {
                    if tokio::time::timeout(LOOK, self.proxy.stopped()).await.is_ok() {
                        self.process = None;
                        self.kills += 1;
                        self.proxy.go_on();
                        self.start()?;
                        break;
                    }
                }
                // It may have been at rest before that write.
                self.proxy.go_on();
                let reached = self.reaches(chapter, PATIENCE).await?;
                self.settles().await?;
                Ok(reached)
            }
            Disturbance::Faults(..) => {
                self.proxy.goes_wrong(self.trial.disturbance.faults());
                self.acts(chapter).await?;
                let _reached_or_not = self.reaches(chapter, FAULTY).await?;
                self.proxy.goes_wrong(Faults::default());
                self.reaches(chapter, PATIENCE).await
            }
        }
    }

    /// Does what a person does to reach a stage.
    async fn acts(&self, stage: Stage) -> Result<(), Error> {
        // A raise that was allowed may be lost, and is asked for again: the gate is open until the stage is reached.
        self.gate.allow(if stage == Stage::Create { 0 } else { u32::MAX });
        let key = (self.trial.namespace.clone(), NAME.to_owned());
        let (controller, gate) = (self.trial.controller, self.gate.address());
        let deed = |service: &Service<'_>| controller.family().deed(service, stage, gate);
        users::act(&self.client, &[key], deed).await.all_taken()
    }

    async fn has_reached(&self, stage: Stage) -> Result<bool, Error> {
        let controller = self.trial.controller;
        let found = controller.family().kind().within(&self.client, &self.trial.namespace).get_opt(NAME).await?;
        let value = found.and_then(|found| serde_json::to_value(found).ok()).unwrap_or_default();
        // One that is started again may go on at once, past what it waited at.
        let later = CHAPTERS.into_iter().filter(|later| *later >= stage);
        let reached = [stage].into_iter().chain(later).any(|stage| controller.family().has_reached(&value, stage));
        if reached && stage != Stage::Promote {
            self.gate.allow(0);
        }
        Ok(reached)
    }

    /// Waits until a stage is reached, for so long at most. A controller that ends by itself is started again, as a cluster
    /// does.
    async fn reaches(&mut self, stage: Stage, limit: Duration) -> Result<bool, Error> {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            if self.has_reached(stage).await? {
                return Ok(true);
            }
            if self.process.as_mut().is_some_and(Process::has_ended) {
                self.ended = true;
                self.start()?;
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(false)
    }

    async fn settles(&self) -> Result<(), Error> {
        let end = Instant::now() + AT_MOST;
        let (mut writes, mut last) = (self.proxy.writes(), Instant::now());
        while Instant::now() < end && last.elapsed() < SILENCE {
            tokio::time::sleep(LOOK).await;
            if self.proxy.writes() != writes {
                (writes, last) = (self.proxy.writes(), Instant::now());
            }
        }
        Ok(())
    }
}

/// What was created and deleted since.
fn since(
    before: &BTreeMap<String, (usize, usize)>,
    now: BTreeMap<String, (usize, usize)>,
) -> BTreeMap<String, (usize, usize)> {
    let left = now.into_iter().map(|(resource, (creates, deletes))| {
        let (created, deleted) = before.get(&resource).copied().unwrap_or_default();
        (resource, (creates - created, deletes - deleted))
    });
    left.filter(|(_, counts)| *counts != (0, 0)).collect()
}
