//! `kubectl ms history`: who asked what of the rollouts, and what came of it.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use serde::Serialize;

use crate::api::{ActionResult, MicroserviceAction};

use super::{
    Error, Exit, act,
    cluster::Cluster,
    explain::when,
    output::{Out, age, table, tame},
};

/// Events beside those of rollouts that tell how the weights moved.
const WEIGHTS_MOVED: &str = "TrafficWeightUpdated";

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    pub time: Option<Timestamp>,
    /// Who asked; `operator` for what it did by itself.
    pub actor: String,
    /// A verb, or the reason of an event.
    pub what: String,
    /// Done, Refused, Waiting or Expired; None for events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<&'static str>,
    pub message: String,
}

/// Shows the history of a Microservice.
///
/// # Errors
/// When it cannot be read.
pub async fn history(cluster: &Cluster, out: Out, name: &str) -> Result<Exit, Error> {
    cluster.microservice(name).await?;
    let actions = cluster.actions().await?;
    let events = cluster.events(&format!("involvedObject.kind=Microservice,involvedObject.name={name}")).await?;
    let now = cluster.clock.now();
    let entries = entries(name, &actions, &events, now);
    if let Some(format) = out.format {
        out.value(format, &entries)?;
    } else if entries.is_empty() {
        eprintln!("nothing was asked of {name} so far, and no rollout moved its weights lately");
    } else {
        out.text(&shown(&entries, now))?;
    }
    Ok(Exit::Done)
}

/// Actions and the operator's events of rollouts, newest first.
pub fn entries(name: &str, actions: &[MicroserviceAction], events: &[Event], now: Timestamp) -> Vec<Entry> {
    let asked = actions.iter().filter(|action| action.spec.microservice == name).map(|action| {
        let expired = action.spec.expires.as_ref().is_some_and(|at| at.0 <= now);
        let (result, message) = match &action.status {
            Some(status) => {
                let result = if status.result == ActionResult::Done { "Done" } else { "Refused" };
                (result, tame(status.message.as_deref().unwrap_or_default()))
            }
            None if expired => ("Expired", "the operator did not answer in time".to_owned()),
            None => ("Waiting", "the operator has not answered yet".to_owned()),
        };
        Entry {
            time: action.metadata.creation_timestamp.as_ref().map(|time| time.0),
            actor: action.spec.actor.as_deref().map_or_else(|| "unknown".to_owned(), tame),
            what: act::word(action.spec.verb).to_owned(),
            result: Some(result),
            message,
        }
    });
    let told =
        |event: &&Event| event.reason.as_deref().is_some_and(|it| it.starts_with("Rollout") || it == WEIGHTS_MOVED);
    let happened = events.iter().filter(told).map(|event| Entry {
        time: when(event),
        actor: "operator".to_owned(),
        what: tame(event.reason.as_deref().unwrap_or_default()),
        result: None,
        message: tame(event.message.as_deref().unwrap_or_default()),
    });
    let mut entries: Vec<Entry> = asked.chain(happened).collect();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.time));
    entries
}

/// For people.
pub fn shown(entries: &[Entry], now: Timestamp) -> String {
    let head = ["AGE", "ACTOR", "WHAT", "RESULT", "MESSAGE"].map(str::to_owned).to_vec();
    let row = |entry: &Entry| {
        let age = entry.time.map(|time| age(time, now)).unwrap_or_default();
        let result = entry.result.unwrap_or_default().to_owned();
        vec![age, entry.actor.clone(), entry.what.clone(), result, entry.message.clone()]
    };
    table(&[head].into_iter().chain(entries.iter().map(row)).collect::<Vec<_>>())
}
