//! Runs a sequence.

use std::{collections::BTreeSet, fmt, time::Duration};

use devcluster::invariants::{Recorder, Settings};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, ValidationDirective},
    core::GroupVersionKind,
};
use microservice_operator::api::{
    ActionResult, Microservice, MicroserviceAction, MicroserviceActionSpec, RolloutState, Verb,
};
use serde_json::{Value, json};

use crate::{
    World,
    generator::given,
    judge::{comes_to_be_as_if_new, is_as_if_new, is_in_force, is_silent, reached, told},
    propagation,
    sequence::{Expected, Meddling, NAME, NAMESPACE, Sequence, Step, Wait},
    slot::{Slot, children, until},
    support::{Space, condition, current, message, told as condition_told},
};

/// Why a sequence failed.
pub type Failure = String;

/// What was done.
#[derive(Debug, Default)]
pub struct Tally {
    pub sequences: usize,
    pub taken: usize,
    pub refused: usize,
    pub stalled: usize,
    /// Of these, how often somebody changed what the accepted spec says, and it was put back.
    pub kept: usize,
    /// How many sequences ended in a refusal by the operator.
    pub unreached: usize,
    pub others: usize,
    /// Fields that an accepted spec had.
    pub fields: BTreeSet<String>,
}

impl Tally {
    pub fn add(&mut self, other: Self) {
        let Self { sequences, taken, refused, stalled, kept, unreached, others, fields } = other;
        self.sequences += sequences;
        self.taken += taken;
        self.refused += refused;
        self.stalled += stalled;
        self.kept += kept;
        self.unreached += unreached;
        self.others += others;
        self.fields.extend(fields);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sequences, taken, refused, stalled, kept, unreached, others, fields } = self;
        write!(
            f,
            "{sequences} sequences ended as they should, {unreached} of them in a refusal by the operator; {taken} specs \
             taken, {refused} refused by the API server, {stalled} by the operator, {kept} times what the accepted one says was \
             changed then and put back; {others} other steps; {} fields set",
            fields.len()
        )
    }
}

/// Runs a sequence to its end in namespaces that are cleared afterwards.
pub async fn perform(world: &World, slot: &Slot, sequence: &Sequence, tally: &mut Tally) -> Result<(), Failure> {
    let [owner, orders] = ["Microservice", "MicroserviceAction"]
        .map(|kind| Some(GroupVersionKind::gvk("microservice-operator.dev", "v1alpha1", kind)));
    let propagation: jiff::SignedDuration = propagation().parse().unwrap();
    let late = propagation / 2;
    let settings = Settings { propagation, slack: late, recent: late, ..Settings::default() };
    let recorder = Recorder::start(&slot.space.client, &slot.space.name, owner, orders, settings).await.unwrap();
    let turn = world.turns.acquire().await.unwrap();
    let mut ended = match steps(world, slot, sequence, tally).await {
        Ok(()) => end(slot, sequence, tally).await,
        failed => failed.map(|()| End::Refused),
    };
    drop(turn);
    if ended.is_ok() {
        ended = is_silent(slot).await.and(ended);
    }
    // It has stayed so.
    if ended == Ok(End::Reached) {
        ended = is_as_if_new(slot).await.map(|()| End::Reached);
    }
    let violations = recorder.finish().await;
    let broken: Vec<_> = violations.iter().map(ToString::to_string).collect();
    slot.clear().await;
    if !broken.is_empty() {
        let also = ended.err().map(|it| format!("{it}\n")).unwrap_or_default();
        ended = Err(format!(
            "{also}invariants are broken:\n{}\nwhat led there:\n{}",
            broken.join("\n"),
            recorder.account(&violations)
        ));
    }
    tally.sequences += usize::from(ended.is_ok());
    ended.map(|_| ())
}

/// A manifest for a namespace.
fn within(manifest: &Value, space: &Space) -> Value {
    let text = serde_json::to_string(manifest).unwrap();
    serde_json::from_str(&text.replace(&format!("\"{NAMESPACE}\""), &format!("\"{}\"", space.name))).unwrap()
}

/// Gives the Microservice this spec, or makes it.
async fn write(space: &Space, manifest: &Value, dry: bool) -> Result<Microservice, String> {
    let manifest = within(manifest, space);
    let api: Api<DynamicObject> =
        Api::namespaced_with(space.client.clone(), &space.name, &kube::api::ApiResource::erase::<Microservice>(&()));
    let answer = if api.get_opt(NAME).await.map_err(|error| error.to_string())?.is_some() {
        let params =
            PatchParams { dry_run: dry, field_validation: Some(ValidationDirective::Strict), ..PatchParams::default() };
        let patch: json_patch::Patch =
            serde_json::from_value(json!([{"op": "replace", "path": "/spec", "value": manifest["spec"]}])).unwrap();
        api.patch(NAME, &params, &Patch::Json::<()>(patch)).await
    } else {
        let params = PostParams { dry_run: dry, ..PostParams::default() };
        api.create(&params, &serde_json::from_value(manifest).unwrap()).await
    };
    match answer {
        Ok(object) => Ok(serde_json::from_value(serde_json::to_value(object).unwrap()).unwrap()),
        Err(kube::Error::Api(status)) if [400, 422].contains(&status.code) => Err(status.message),
        Err(error) => panic!("{}: {error}", space.name),
    }
}

async fn steps(world: &World, slot: &Slot, sequence: &Sequence, tally: &mut Tally) -> Result<(), Failure> {
    let space = &slot.space;
    for (number, step) in sequence.steps.iter().enumerate() {
        let failed = |why: String| format!("step {number}: {why}");
        match step {
            Step::Write { manifest, expected, wait, .. } => {
                written(space, manifest, expected, *wait, tally).await.map_err(failed)?;
                if matches!(expected, Expected::Stalled(_)) {
                    tally.kept += usize::from(is_in_force(slot).await.map_err(failed)?);
                }
                if *expected == Expected::Taken {
                    given(&manifest["spec"], "spec", &world.schema, &mut tally.fields);
                }
            }
            Step::Ask { manifest, expected, .. } => {
                tally.others += 1;
                match (write(space, manifest, true).await, expected) {
                    (Ok(_), Expected::Taken | Expected::Stalled(_)) => {}
                    (Err(why), Expected::Refused(path)) if names(&why, path) => {}
                    (answer, expected) => return Err(failed(format!("{expected:?}, but it was {answer:?}"))),
                }
            }
            Step::Act(verb) => {
                tally.others += 1;
                act(space, *verb).await;
            }
            Step::Scale(replicas) => {
                tally.others += 1;
                let patch = json!({"spec": {"replicas": replicas}});
                let scaled =
                    space.microservices().patch_scale(NAME, &PatchParams::default(), &Patch::Merge(&patch)).await;
                scaled.map_err(|error| failed(format!("it cannot be scaled: {error}")))?;
            }
            Step::Meddle(how, index) => {
                tally.others += 1;
                meddle(space, *how, *index).await;
            }
            Step::Recreate { manifest } => {
                tally.others += 1;
                space.microservices().delete(NAME, &DeleteParams::background()).await.unwrap();
                let gone = || async { space.microservices().get_opt(NAME).await.ok()?.is_none().then_some(()) };
                until(gone).await.ok_or_else(|| failed("it does not go when it is deleted".into()))?;
                write(space, manifest, false).await.map_err(failed)?;
            }
        }
    }
    Ok(())
}

async fn written(
    space: &Space,
    manifest: &Value,
    expected: &Expected,
    wait: Wait,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let api = space.microservices();
    let generation = |it: Option<Microservice>| it.and_then(|it| it.metadata.generation);
    let before = generation(api.get_opt(NAME).await.unwrap());
    let answer = write(space, manifest, false).await;
    match (answer, expected) {
        (Ok(_), Expected::Taken) => {
            tally.taken += 1;
            let wanted = |it: &Microservice| match wait {
                Wait::Not => true,
                Wait::Seen => current(it),
                // What takes a person is not waited for.
                Wait::Reached => reached(it) || waits_for_somebody(it),
            };
            comes_to(space, wanted, &format!("{wait:?}")).await.map(drop)
        }
        (Ok(_), Expected::Stalled(path)) => {
            tally.stalled += 1;
            let path = path.replace(NAMESPACE, &space.name);
            let stalled = |it: &Microservice| current(it) && condition(it, "Stalled") == "True";
            let it = comes_to(space, stalled, "Stalled").await?;
            let (reason, message) = condition_told(&it, "Stalled");
            let clear = reason == "InvalidSpec" && message.contains(&path);
            if clear { Ok(()) } else { Err(format!("Stalled does not name {path}: {reason}: {message}")) }
        }
        (Err(why), Expected::Refused(path)) => {
            tally.refused += 1;
            if generation(api.get_opt(NAME).await.unwrap()) != before {
                return Err(format!("what was refused has changed something: {why}"));
            }
            if names(&why, path) { Ok(()) } else { Err(format!("the refusal does not name {path}: {why}")) }
        }
        (answer, expected) => {
            let answer = answer.map(|_| "taken");
            Err(format!("{expected:?} was expected, but it was {answer:?}"))
        }
    }
}

/// Whether a refusal has the path; keys of maps may stand in brackets.
fn names(why: &str, path: &str) -> bool {
    let in_brackets = |(at, _)| why.contains(&format!("{}[{}]", &path[..at], &path[at + 1..]));
    why.contains(path) || path.match_indices('.').any(in_brackets)
}

async fn comes_to(space: &Space, wanted: impl Fn(&Microservice) -> bool, what: &str) -> Result<Microservice, Failure> {
    let api = space.microservices();
    let found = until(|| async { api.get_opt(NAME).await.ok().flatten().filter(|it| wanted(it)) }).await;
    let now = api.get_opt(NAME).await.ok().flatten();
    found.ok_or_else(|| format!("it never came to {what}: {}", told(now.as_ref())))
}

fn rollout(it: &Microservice) -> Option<(RolloutState, bool)> {
    let rollout = it.status.as_ref()?.rollout.as_ref()?;
    Some((rollout.state, rollout.held.is_some()))
}

/// Nothing goes on before somebody does something.
fn waits_for_somebody(it: &Microservice) -> bool {
    let (state, held) = rollout(it).unwrap_or_default();
    let asks = it.status.as_ref().and_then(|status| status.rollout.as_ref()).is_some_and(|it| it.waits_for.is_some());
    let status = it.status.as_ref();
    let measures = status.and_then(|status| status.rollout.as_ref()).is_some_and(|it| it.step_analysis.is_some());
    let still = message(it).contains("no mesh carries the weights") || is_cut_off(it);
    let full = message(it).contains("Unschedulable");
    let zero = condition(it, "Available") == "False";
    current(it)
        && (held
            || asks
            || measures
            || still
            || full
            || zero
            || matches!(state, RolloutState::Paused | RolloutState::Aborted))
}

/// The spec would take the requests from pods that serve, and is refused for as long as they do.
fn is_cut_off(it: &Microservice) -> bool {
    let (reason, message) = condition_told(it, "Ready");
    current(it)
        && ["InvalidSpec", "PortsChanging"].contains(&reason.as_str())
        && message.contains("another name in an edit of its own")
}

async fn act(space: &Space, verb: Verb) {
    let spec = MicroserviceActionSpec {
        microservice: NAME.into(),
        verb,
        uid: None,
        target: None,
        step: None,
        revision: None,
        expires: None,
        actor: None,
    };
    let mut action = MicroserviceAction::new("", spec);
    action.metadata = kube::api::ObjectMeta { generate_name: Some("asked-".into()), ..Default::default() };
    space.api::<MicroserviceAction>().create(&PostParams::default(), &action).await.unwrap();
}

async fn meddle(space: &Space, how: Meddling, index: usize) {
    let all = children(space).await;
    if all.is_empty() {
        return;
    }
    let (kind, object) = &all[index % all.len()];
    let patch = match how {
        Meddling::Forget => json!({"annotations": {"microservice-operator.dev/applied": null}}),
        Meddling::Relabel => json!({"labels": {"app.kubernetes.io/managed-by": "somebody"}}),
        Meddling::Annotate => json!({"annotations": {"example.com/seen": "yes"}}),
        Meddling::Orphan => json!({"ownerReferences": null, "annotations": {"microservice-operator.dev/adopt": NAME}}),
    };
    let patch = Patch::Merge(json!({"metadata": patch}));
    // It may be gone by now.
    let _done = space.children(*kind).patch(&object.name_any(), &PatchParams::default(), &patch).await;
}

/// Takes what waits for a person, or a time, out of the policy.
fn freed(manifest: &Value) -> Value {
    let mut free = manifest.clone();
    if let Some(rollout) = free["spec"].get_mut("rollout").and_then(Value::as_object_mut) {
        for field in ["suspend", "windows", "webhooks", "analysis"] {
            rollout.remove(field);
        }
        if let Some(steps) = rollout.get_mut("steps").and_then(Value::as_array_mut) {
            steps.retain(|step| step.get("analysis").is_none());
            if steps.is_empty() {
                steps.push(json!({"weight": 50}));
            }
        }
    }
    if free["spec"]["traffic"]["provider"] == "None" {
        free["spec"].as_object_mut().unwrap().remove("rollout");
    }
    // There are three nodes, which not every selector finds, and no pods of others; pods of an older spec may keep those of this one from some of them.
    let anywhere = |pods: &mut Value| {
        for constraint in pods.get_mut("topologySpreadConstraints").and_then(Value::as_array_mut).into_iter().flatten()
        {
            constraint["whenUnsatisfiable"] = "ScheduleAnyway".into();
            constraint.as_object_mut().unwrap().remove("minDomains");
        }
        for affinity in ["nodeAffinity", "podAffinity", "podAntiAffinity"] {
            if let Some(terms) = pods.get_mut("affinity").and_then(|it| it.get_mut(affinity)?.as_object_mut()) {
                terms.remove("requiredDuringSchedulingIgnoredDuringExecution");
            }
        }
    };
    anywhere(&mut free["spec"]);
    free["spec"].get_mut("versions").and_then(Value::as_array_mut).into_iter().flatten().for_each(anywhere);
    if free["spec"]["replicas"] == 0 {
        free["spec"]["replicas"] = 1.into();
    }
    free
}

/// What a sequence comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Its last spec is reached.
    Reached,
    /// Its last spec is refused for as long as the one before serves.
    Refused,
}

/// Lets the service come to the last spec of the sequence, and judges it, or the refusal that it comes to instead.
async fn end(slot: &Slot, sequence: &Sequence, tally: &mut Tally) -> Result<End, Failure> {
    let last = freed(&sequence.last());
    write(&slot.fresh, &last, false).await.map_err(|why| format!("a new service cannot have the last spec: {why}"))?;
    write(&slot.space, &last, false).await.map_err(|why| format!("the last spec is refused: {why}"))?;
    let mut helped = 0;
    loop {
        let wanted = |it: &Microservice| reached(it) || waits_for_somebody(it);
        let it = comes_to(&slot.space, wanted, "the last spec").await?;
        if reached(&it) {
            break;
        }
        let verb = match rollout(&it) {
            Some((RolloutState::Aborted, _)) => Verb::Retry,
            Some((RolloutState::Paused, _)) => Verb::PromoteFull,
            // Of two edits the second is taken when the first has arrived.
            _ if is_cut_off(&it) && helped > 60 => {
                tally.stalled += 1;
                tally.unreached += 1;
                answered(&slot.space).await?;
                tally.kept += usize::from(is_in_force(slot).await?);
                return Ok(End::Refused);
            }
            _ => {
                tokio::time::sleep(Duration::from_secs(1)).await;
                helped += 1;
                if helped > 240 {
                    return Err(format!("it never came to the last spec: {}", told(Some(&it))));
                }
                continue;
            }
        };
        act(&slot.space, verb).await;
        helped += 10;
        if helped > 240 {
            return Err(format!("it never came to the last spec, whatever was asked of it: {}", told(Some(&it))));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    comes_to(&slot.fresh, reached, "the last spec, of a new service,").await?;
    answered(&slot.space).await?;
    comes_to_be_as_if_new(slot).await?;
    Ok(End::Reached)
}

/// Each action has come to something, and a refusal says why.
async fn answered(space: &Space) -> Result<(), Failure> {
    let api = space.api::<MicroserviceAction>();
    let open = || async {
        let all = api.list(&Default::default()).await.ok()?.items;
        all.iter().all(|it| it.status.is_some()).then_some(all)
    };
    let all = until(open).await.ok_or("an action was never answered")?;
    let silent = all.iter().find(|it| {
        it.status.as_ref().is_some_and(|it| {
            it.result == ActionResult::Refused && it.message.as_deref().unwrap_or_default().len() < 10
        })
    });
    silent.map_or(Ok(()), |it| Err(format!("an action was refused without a reason: {:?}", it.status)))
}
