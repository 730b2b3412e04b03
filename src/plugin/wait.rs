//! `kubectl ms wait`: until a Microservice is healthy, degraded, or the time is over.

use std::{collections::BTreeSet, pin::pin, time::Duration};

use futures::StreamExt;
use kube::runtime::watcher::watch_object;
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use crate::api::{Microservice, Phase, RolloutState, conditions};

use super::{
    Error, Exit,
    cli::{Goal, WaitArgs},
    cluster::Cluster,
    output::{Out, Tone, tame},
    view::is_current,
};

/// Trouble that lasts for so long is no passing one.
const LASTS: Duration = Duration::from_secs(60);
/// How long the first answer is waited for at least, as who waits for no time wants to know how it stands.
const ANSWER: Duration = Duration::from_secs(5);
/// How often the cluster is asked while it cannot be watched.
const AGAIN: Duration = Duration::from_secs(2);

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Healthy,
    /// Something fails, and may pass by itself.
    Troubled,
    /// It ends so, unless somebody does something.
    Degraded,
    Waiting,
}

/// The end of the wait, for programs.
#[derive(Serialize)]
struct Outcome<'a> {
    namespace: &'a str,
    microservice: &'a str,
    /// Healthy, Degraded or TimedOut.
    result: &'static str,
    message: &'a str,
}

/// Waits.
///
/// # Errors
/// When it cannot be read, or is deleted meanwhile.
pub async fn wait(cluster: &Cluster, out: Out, args: &WaitArgs) -> Result<Exit, Error> {
    let timeout = args.timeout.as_std();
    let begun = Instant::now();
    let first = tokio::time::timeout(timeout.max(ANSWER), cluster.microservice(&args.name)).await;
    let mut last = first.ok().transpose()?;
    let ended = match &mut last {
        Some(last) => timeout_at(begun + timeout, watch(cluster, out, args, last)).await.ok(),
        None => None,
    };
    let (result, exit, tone, told) = match ended {
        Some(verdict) => match verdict? {
            Verdict::Degraded => ("Degraded", Exit::Refused, Tone::Bad, "degraded"),
            Verdict::Healthy | Verdict::Troubled | Verdict::Waiting => ("Healthy", Exit::Done, Tone::Good, "healthy"),
        },
        None => ("TimedOut", Exit::TimedOut, Tone::Bad, "timed out"),
    };
    let mut message = last.as_ref().map_or_else(|| format!("{} does not answer", cluster.server), message);
    if exit == Exit::TimedOut {
        message = format!("not {} within {}: {message}", wanted(args.goal), args.timeout);
    }
    let (namespace, microservice) = (cluster.namespace.as_str(), args.name.as_str());
    match out.format {
        Some(format) => out.value(format, &Outcome { namespace, microservice, result, message: &message })?,
        None => out.text(&format!("{microservice}: {}: {message}\n", out.paint.paint(tone, told)))?,
    }
    Ok(exit)
}

/// Watches until there is a verdict; tells people on the way what it waits for.
async fn watch(cluster: &Cluster, out: Out, args: &WaitArgs, last: &mut Microservice) -> Result<Verdict, Error> {
    let mut seen = pin!(watch_object(cluster.api::<Microservice>(), &args.name));
    let (mut told, mut warned) = (String::new(), BTreeSet::new());
    let mut troubled: Option<Instant> = None;
    loop {
        match verdict(last, args.goal) {
            Verdict::Troubled => _ = troubled.get_or_insert_with(Instant::now),
            Verdict::Waiting => troubled = None,
            ended => return Ok(ended),
        }
        let message = message(last);
        if out.format.is_none() && message != told {
            out.text(&format!("{}: waiting: {message}\n", args.name))?;
            told = message;
        }
        let change = match troubled {
            None => seen.next().await,
            Some(since) => match timeout_at(since + LASTS, seen.next()).await {
                Ok(change) => change,
                Err(_) => return Ok(Verdict::Degraded),
            },
        };
        match change {
            Some(Ok(Some(microservice))) => *last = microservice,
            Some(Ok(None)) => return Err(cluster.absent(&args.name).await),
            Some(Err(error)) => {
                warn(&error.to_string(), &mut warned);
                // Who may not watch may get it, and who may do neither is told so.
                tokio::time::sleep(AGAIN).await;
                match cluster.microservice(&args.name).await {
                    Ok(microservice) => *last = microservice,
                    Err(error @ (Error::Unreachable { .. } | Error::Api { .. } | Error::Refused { .. })) => {
                        warn(&error.to_string(), &mut warned);
                    }
                    Err(error) => return Err(error),
                }
            }
            None => {}
        }
    }
}

/// Tells what the cluster answers instead, once.
fn warn(answer: &str, warned: &mut BTreeSet<String>) {
    if warned.insert(answer.to_owned()) {
        eprintln!("warning: the cluster cannot be watched: {answer}");
    }
}

/// How a Microservice stands. What the status says of an older spec is no answer.
pub fn verdict(microservice: &Microservice, goal: Goal) -> Verdict {
    let Some(status) = microservice.status.as_ref().filter(|_| is_current(microservice)) else {
        return Verdict::Waiting;
    };
    let type_ = match goal {
        Goal::Ready => conditions::READY,
        Goal::Promoted => conditions::PROMOTED,
    };
    if status.conditions.iter().any(|condition| condition.type_ == type_ && condition.status == "True") {
        return Verdict::Healthy;
    }
    let aborted = status.rollout.as_ref().is_some_and(|rollout| rollout.state == RolloutState::Aborted);
    match status.phase {
        Some(Phase::Stalled) => Verdict::Degraded,
        // What could not be written leaves the rollout that of an older spec.
        Some(Phase::Degraded) => Verdict::Troubled,
        _ if aborted => Verdict::Degraded,
        _ => Verdict::Waiting,
    }
}

fn wanted(goal: Goal) -> &'static str {
    match goal {
        Goal::Ready => "ready",
        Goal::Promoted => "promoted",
    }
}

fn message(microservice: &Microservice) -> String {
    match &microservice.status {
        Some(status) if is_current(microservice) => tame(status.message.as_deref().unwrap_or_default()),
        _ => "the operator has not seen the newest spec; it may not run, or not watch this namespace".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn with(observed: i64, phase: &str, ready: &str, promoted: &str, rollout: Value) -> Microservice {
        let condition = |type_: &str, status: &str| json!({"type": type_, "status": status, "reason": "x", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        serde_json::from_value(json!({
            "apiVersion": "microservice-operator.dev/v1alpha1", "kind": "Microservice",
            "metadata": {"name": "a", "generation": 2},
            "spec": {"versions": [{"name": "v1", "image": "x"}]},
            "status": {
                "observedGeneration": observed, "phase": phase, "rollout": rollout,
                "conditions": [condition("Ready", ready), condition("Promoted", promoted)],
            },
        }))
        .unwrap()
    }

    #[test]
    fn only_the_newest_spec_counts() {
        let none = Value::Null;
        let aborted = json!({"state": "Aborted", "target": "x"});
        for (name, microservice, goal, expected) in [
            ("ready", with(2, "Ready", "True", "True", none.clone()), Goal::Ready, Verdict::Healthy),
            ("ready, of an older spec", with(1, "Ready", "True", "True", none.clone()), Goal::Ready, Verdict::Waiting),
            ("on its way", with(2, "Progressing", "False", "False", none.clone()), Goal::Ready, Verdict::Waiting),
            ("degraded", with(2, "Degraded", "False", "False", none.clone()), Goal::Ready, Verdict::Troubled),
            ("stalled", with(2, "Stalled", "False", "False", none.clone()), Goal::Promoted, Verdict::Degraded),
            (
                "degraded by an older spec",
                with(1, "Degraded", "False", "False", none.clone()),
                Goal::Ready,
                Verdict::Waiting,
            ),
            ("aborted", with(2, "Progressing", "False", "False", aborted), Goal::Promoted, Verdict::Degraded),
            (
                "promoted, not ready",
                with(2, "Degraded", "False", "True", none.clone()),
                Goal::Promoted,
                Verdict::Healthy,
            ),
            ("promoted is not ready", with(2, "Progressing", "False", "True", none), Goal::Ready, Verdict::Waiting),
        ] {
            assert_eq!(verdict(&microservice, goal), expected, "{name}");
        }
    }
}
