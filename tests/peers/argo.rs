//! The scenarios of the mesh suite that Argo Rollouts has, one round each.

use std::time::{Duration, Instant};

use devcluster::workload::Change;
use serde_json::{Value, json};

use crate::{
    calls::Traffic,
    rollout::{Controller, NAME, Now, Rollout, Trail, Wanted},
    row::Row,
    service::control,
    support::eventually,
};

/// Answers that must come after each change before it counts as over, as in the mesh suite.
const AFTERMATH: u64 = 450;
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a rollout that is killed or sick is watched.
const WATCHED: Duration = Duration::from_secs(120);

#[derive(Clone, Copy)]
pub enum Scenario {
    CrashLoop,
    CrashLoopFast,
    Failing,
    Killed,
    AtOnce,
    InSteps,
    Superseded,
    Aborted,
    Scaled,
    Restarted,
    Silent,
}

impl Scenario {
    /// All, those that take long first.
    pub const ALL: [Self; 11] = [
        Self::CrashLoop,
        Self::CrashLoopFast,
        Self::Failing,
        Self::Killed,
        Self::Superseded,
        Self::InSteps,
        Self::Aborted,
        Self::AtOnce,
        Self::Restarted,
        Self::Scaled,
        Self::Silent,
    ];

    pub fn title(self) -> &'static str {
        match self {
            Self::CrashLoop => "a canary that crash-loops under traffic, steps of 30 s",
            Self::CrashLoopFast => "a canary that crash-loops under traffic, steps of 10 s",
            Self::Failing => "a canary that turns unready and answers 503, steps of 30 s",
            Self::Killed => "controller killed every 2 s in a canary",
            Self::AtOnce => "canary at 10 %, then promoted at once",
            Self::InSteps => "promoted in steps: 10, 30, 60, 100 %",
            Self::Superseded => "superseded three times in mid-canary, the last time by what is stable",
            Self::Aborted => "aborted at 50 %, then back to what is stable",
            Self::Scaled => "scaled 3 to 1 to 5 to 3 in a canary of 10 %",
            Self::Restarted => "all pods restarted, by the template",
            Self::Silent => "all stable pods turn unready for 10 s, canary at 40 %",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::CrashLoop => "crash",
            Self::CrashLoopFast => "crash-fast",
            Self::Failing => "failing",
            Self::Killed => "killed",
            Self::AtOnce => "once",
            Self::InSteps => "steps",
            Self::Superseded => "supersede",
            Self::Aborted => "abort",
            Self::Scaled => "scale",
            Self::Restarted => "restart",
            Self::Silent => "silent",
        }
    }

    fn steps(self) -> Value {
        match self {
            Self::AtOnce | Self::Superseded | Self::Scaled => held_at(10),
            Self::Aborted => held_at(50),
            Self::Silent => held_at(40),
            Self::Restarted => walk(&[10], 5),
            Self::InSteps | Self::Killed => walk(&[10, 30, 60], 5),
            Self::CrashLoop | Self::Failing => walk(&[20, 50, 80], 30),
            Self::CrashLoopFast => walk(&[20, 50, 80], 10),
        }
    }
}

/// A canary of a weight that waits for a person.
fn held_at(weight: i64) -> Value {
    json!([{"setWeight": weight}, {"pause": {}}])
}

fn walk(weights: &[i64], seconds: i64) -> Value {
    weights.iter().flat_map(|weight| [json!({"setWeight": weight}), json!({"pause": {"duration": seconds}})]).collect()
}

pub async fn measure(scenario: Scenario) -> Row {
    let replicas = if matches!(scenario, Scenario::Scaled) { 3 } else { 2 };
    let v1 = Wanted { replicas, ..Wanted::new("v1", scenario.steps()) };
    let mut controller = None;
    let start = |space: &_| controller = Some(Controller::start(space));
    let rollout = Rollout::new(&format!("argo-{}", scenario.name()), &v1, start).await;
    let traffic = Traffic::start(&rollout.space, NAME).await;
    traffic.more(AFTERMATH).await;
    let story = match scenario {
        Scenario::AtOnce => at_once(&rollout, &v1, &traffic).await,
        Scenario::InSteps => in_steps(&rollout, &v1).await,
        Scenario::Superseded => superseded(&rollout, &v1, &traffic).await,
        Scenario::Aborted => aborted(&rollout, &v1, &traffic).await,
        Scenario::Scaled => scaled(&rollout, &v1).await,
        Scenario::Restarted => restarted(&rollout, &v1).await,
        Scenario::Killed => killed(&rollout, &v1, &mut controller).await,
        Scenario::CrashLoop | Scenario::CrashLoopFast => crash_loop(&rollout, &v1).await,
        Scenario::Failing => failing(&rollout, &v1).await,
        Scenario::Silent => silent(&rollout, &v1, &traffic).await,
    };
    settled(&rollout).await;
    traffic.more(AFTERMATH).await;
    let reports = traffic.stop().await;
    let broken = rollout.broken().await;
    drop(controller);
    Row::new(&reports, story, broken)
}

/// Waits until no pod is being deleted.
async fn settled(rollout: &Rollout) {
    let gone = eventually(|| async {
        rollout.pods().await.iter().all(|pod| pod.metadata.deletion_timestamp.is_none()).then_some(())
    });
    gone.await.expect("pods that are deleted go");
}

async fn done(rollout: &Rollout) -> String {
    match rollout.healthy(PATIENCE).await {
        Ok(_) => {
            rollout.only_stable_is_left().await;
            "done".into()
        }
        Err(last) => format!("not done within {PATIENCE:?}: {last}"),
    }
}

async fn at_once(rollout: &Rollout, v1: &Wanted, traffic: &Traffic) -> String {
    rollout.apply(&v1.version("v2")).await;
    rollout.paused_at(10).await;
    traffic.more(AFTERMATH).await;
    rollout.promote().await;
    done(rollout).await
}

async fn in_steps(rollout: &Rollout, v1: &Wanted) -> String {
    rollout.apply(&v1.version("v2")).await;
    done(rollout).await
}

async fn superseded(rollout: &Rollout, v1: &Wanted, traffic: &Traffic) -> String {
    for version in ["v2", "v3"] {
        rollout.apply(&v1.version(version)).await;
        rollout.paused_at(10).await;
        traffic.more(AFTERMATH).await;
    }
    // This one cannot be over when the next one comes.
    rollout.apply(&v1.version("v2")).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    rollout.apply(v1).await;
    done(rollout).await
}

async fn aborted(rollout: &Rollout, v1: &Wanted, traffic: &Traffic) -> String {
    rollout.apply(&v1.version("v2")).await;
    rollout.paused_at(50).await;
    traffic.more(AFTERMATH).await;
    rollout.abort().await;
    let back = rollout.until(PATIENCE, |now| now.phase() == "Degraded" && now.canary_weight() == 0).await;
    back.unwrap_or_else(|last| panic!("the abort never came through: {last}"));
    rollout.only_stable_is_left().await;
    rollout.apply(v1).await;
    done(rollout).await
}

async fn scaled(rollout: &Rollout, v1: &Wanted) -> String {
    let v2 = v1.version("v2");
    rollout.apply(&v2).await;
    rollout.paused_at(10).await;
    for replicas in [1, 5, 3] {
        rollout.apply(&Wanted { replicas, ..v2.clone() }).await;
        let wanted = i64::from(replicas + replicas.min(2));
        let there = rollout.until(PATIENCE, |now| now.available() == wanted).await;
        if let Err(last) = there {
            return format!("never came to {replicas} pods beside the canary: {last}, {} available", last.available());
        }
        settled(rollout).await;
    }
    "done".into()
}

async fn restarted(rollout: &Rollout, v1: &Wanted) -> String {
    rollout.apply(&Wanted { restart: "1", ..v1.clone() }).await;
    done(rollout).await
}

async fn killed(rollout: &Rollout, v1: &Wanted, controller: &mut Option<Controller>) -> String {
    rollout.apply(&v1.version("v2")).await;
    let kills = async {
        loop {
            tokio::time::sleep(Duration::from_secs(2)).await;
            drop(controller.take());
            *controller = Some(Controller::start(&rollout.space));
        }
    };
    let began = Instant::now();
    let ended = tokio::select! {
        ended = rollout.healthy(WATCHED) => ended,
        () = kills => unreachable!("it kills for ever"),
    };
    let story = match ended {
        Ok(_) => format!("done after {} s of kills", began.elapsed().as_secs()),
        Err(last) => format!("not done after {} s of kills: {last}", began.elapsed().as_secs()),
    };
    format!("{story}; left alone: {}", done(rollout).await)
}

async fn crash_loop(rollout: &Rollout, v1: &Wanted) -> String {
    let began = Instant::now();
    rollout.apply(&Wanted { env: vec![("CRASH_AFTER", "60")], ..v1.version("v2") }).await;
    watched(rollout, began).await
}

async fn failing(rollout: &Rollout, v1: &Wanted) -> String {
    rollout.apply(&v1.version("v2")).await;
    rollout.paused_at(20).await;
    let began = Instant::now();
    for pod in rollout.pods_of(true).await {
        let change = Change { unready: Some(true), fail_share: Some(100), fail_status: Some(503), ..Change::default() };
        control(&pod, &change).await;
    }
    watched(rollout, began).await
}

/// Watches what becomes of a sick canary.
async fn watched(rollout: &Rollout, began: Instant) -> String {
    let mut trail = Trail::default();
    loop {
        let over = |now: &Now| now.is_done() || now.phase() == "Degraded";
        let now = rollout.until(Duration::ZERO, over).await;
        trail.note(rollout.weight().await);
        trail.note_restarts(&rollout.pods_of(true).await);
        let after = began.elapsed();
        let told = match now {
            Ok(now) if now.is_done() => "promoted".to_owned(),
            Err(_) if after < WATCHED => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
            Ok(now) | Err(now) => format!("not promoted, {now},"),
        };
        return format!(
            "{told} after {} s; canary's weights {trail}; {} restarts",
            after.as_secs(),
            trail.restarted.len()
        );
    }
}

async fn silent(rollout: &Rollout, v1: &Wanted, traffic: &Traffic) -> String {
    rollout.apply(&v1.version("v2")).await;
    rollout.paused_at(40).await;
    let pods = rollout.pods_of(false).await;
    for pod in &pods {
        control(pod, &Change { unready: Some(true), ..Change::default() }).await;
    }
    let mut trail = Trail::default();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(10) {
        trail.note(rollout.weight().await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for pod in &pods {
        control(pod, &Change { unready: Some(false), ..Change::default() }).await;
    }
    traffic.more(1_000).await;
    format!("canary's weights {trail}")
}
