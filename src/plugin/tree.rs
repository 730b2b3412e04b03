//! The tree that `get` draws. Pure.

use jiff::Timestamp;

use crate::api::{Phase, RolloutState};

use super::{
    measurements,
    output::{Paint, Tone, age},
    relapses,
    view::{PodView, Progress, StepState, Version, View},
};

/// The tree of one Microservice, with a line break at its end.
pub fn tree(view: &View, now: Timestamp, paint: Paint) -> String {
    let mut lines = vec![headline(view, paint)];
    lines.push(format!("│  {}", view.message));
    if !view.current && view.phase.is_some() {
        lines.push(format!("│  {}", paint.paint(Tone::Quiet, "the operator has not seen the newest spec yet")));
    }
    let mut branches: Vec<(String, Vec<String>)> = Vec::new();
    branches.extend(view.rollout.as_ref().map(|rollout| of_rollout(rollout, now, paint)));
    let columns = Columns::of(view);
    branches.extend(view.versions.iter().map(|version| of_version(version, &columns, now, paint)));
    let last = branches.len().saturating_sub(1);
    for (index, (title, leaves)) in branches.into_iter().enumerate() {
        let (fork, bar) = if index == last { ("└─", "   ") } else { ("├─", "│  ") };
        lines.push(format!("{fork} {title}"));
        let end = leaves.len().saturating_sub(1);
        let leaves = leaves.into_iter().enumerate();
        lines.extend(leaves.map(|(leaf, text)| format!("{bar}{} {text}", if leaf == end { "└─" } else { "├─" })));
    }
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// One line about a Microservice, for changes that are logged.
pub fn line(view: &View) -> String {
    let versions: Vec<String> = view
        .versions
        .iter()
        .map(|version| format!("{}={} ({}/{} ready)", version.name, version.effective, version.ready, version.desired))
        .collect();
    let step = view.rollout.as_ref().map(|it| format!("  {:?} {}/{}", it.state, it.done, it.steps.len()));
    let phase = view.phase.map_or_else(|| "Unseen".to_owned(), |phase| format!("{phase:?}"));
    let step = step.unwrap_or_default();
    format!("{}/{}  {phase}  {}{step}  {}", view.namespace, view.name, versions.join(" "), view.message)
}

fn headline(view: &View, paint: Paint) -> String {
    let name = paint.paint(Tone::Strong, &format!("{}/{}", view.namespace, view.name));
    format!("{name}  {}  {}", phase(view.phase, paint), view.weights)
}

/// The phase in its colour.
pub fn phase(phase: Option<Phase>, paint: Paint) -> String {
    match phase {
        Some(Phase::Ready) => paint.paint(Tone::Good, "Ready"),
        Some(Phase::Progressing) => paint.paint(Tone::Moving, "Progressing"),
        Some(Phase::Degraded) => paint.paint(Tone::Bad, "Degraded"),
        Some(Phase::Stalled) => paint.paint(Tone::Bad, "Stalled"),
        None => paint.paint(Tone::Moving, "Unseen"),
    }
}

fn of_rollout(rollout: &Progress, now: Timestamp, paint: Paint) -> (String, Vec<String>) {
    let (tone, state) = match rollout.state {
        RolloutState::Progressing => (Tone::Moving, "Progressing"),
        RolloutState::Paused => (Tone::Moving, "Paused"),
        RolloutState::Aborted => (Tone::Bad, "Aborted"),
        RolloutState::Completed => (Tone::Good, "Completed"),
    };
    let why = rollout.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
    let state = paint.paint(tone, state);
    if rollout.state == RolloutState::Completed {
        return (format!("rollout  {state}{why}"), Vec::new());
    }
    let steps = rollout.steps.iter().map(|step| match step.state {
        StepState::Done => format!("{} {}", paint.paint(Tone::Good, "✔"), step.step),
        StepState::Aborted => format!("{} {}", paint.paint(Tone::Bad, "✖"), step.step),
        StepState::Ahead => paint.paint(Tone::Quiet, &format!("· {}", step.step)),
        StepState::Current => {
            let since = match rollout.since {
                Some(since) => format!("  since {}", age(since, now)),
                None => "  not begun".to_owned(),
            };
            let fails = rollout.deadline.map(|at| format!("; fails at {}", at.strftime("%H:%M:%S UTC")));
            let since = since + &fails.unwrap_or_default();
            format!("{} {}{}", paint.paint(Tone::Moving, "▶"), step.step, paint.paint(Tone::Quiet, &since))
        }
    });
    let measured = rollout.measurements.iter().map(|measurement| measurements::told(measurement, now, paint));
    (format!("rollout  {state}{why}  {}/{} steps", rollout.done, rollout.steps.len()), steps.chain(measured).collect())
}

/// Widths that the versions of one tree share.
struct Columns {
    name: usize,
    weight: usize,
    pods: usize,
    image: usize,
}

impl Columns {
    fn of(view: &View) -> Self {
        let most = |width: &dyn Fn(&Version) -> usize| view.versions.iter().map(width).max().unwrap_or_default();
        Self {
            name: most(&|version| version.name.chars().count()),
            weight: most(&|version| weight(version).chars().count()),
            pods: most(&|version| pods(version).chars().count()),
            image: most(&|version| version.image.as_deref().unwrap_or_default().chars().count()),
        }
    }
}

fn weight(version: &Version) -> String {
    if version.effective == version.requested {
        format!("{} %", version.effective)
    } else {
        format!("{} → {} %", version.effective, version.requested)
    }
}

fn pods(version: &Version) -> String {
    format!("{}/{} ready", version.ready, version.desired)
}

fn of_version(version: &Version, columns: &Columns, now: Timestamp, paint: Paint) -> (String, Vec<String>) {
    let healthy = version.ready >= version.desired;
    let pods = format!("{:<width$}", pods(version), width = columns.pods);
    let title = format!(
        "{}  {:>weights$}  {}  {:<images$}  {}",
        paint.paint(Tone::Strong, &format!("{:<names$}", version.name, names = columns.name)),
        weight(version),
        if healthy { pods } else { paint.paint(Tone::Bad, &pods) },
        version.image.as_deref().unwrap_or_default(),
        paint.paint(Tone::Moving, version.limit.as_deref().unwrap_or_default()),
        weights = columns.weight,
        images = columns.image,
    );
    let width = version.pods.iter().map(|pod| pod.name.chars().count()).max().unwrap_or_default();
    let relapses = version.relapses.as_ref().and_then(|relapses| relapses::told(relapses, now));
    let relapses = relapses.map(|relapses| paint.paint(Tone::Bad, &relapses));
    let pods = version.pods.iter().map(|pod| of_pod(pod, width, now, paint));
    (title.trim_end().to_owned(), relapses.into_iter().chain(pods).collect())
}

fn of_pod(pod: &PodView, width: usize, now: Timestamp, paint: Paint) -> String {
    let tone = if pod.ready { Tone::Good } else { Tone::Bad };
    let restarts = match pod.restarts {
        0 => String::new(),
        _ if pod.state.contains("restarts") => String::new(),
        1 => "  1 restart".to_owned(),
        count => format!("  {count} restarts"),
    };
    let age = pod.created.map(|created| format!("  {}", age(created, now))).unwrap_or_default();
    format!("{:<width$}  {}{restarts}{}", pod.name, paint.paint(tone, &pod.state), paint.paint(Tone::Quiet, &age))
}
