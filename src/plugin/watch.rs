//! `kubectl ms get --watch`: the tree as it changes.

use std::{collections::BTreeMap, time::Duration};

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt,
    runtime::{
        WatchStreamExt, reflector,
        reflector::Store,
        watcher::{self, Event, watcher},
    },
};

use crate::{api::Microservice, observe::Clock};

use super::{
    Error, Exit,
    cli::GetArgs,
    cluster::{Cluster, pods_of},
    output::Out,
    tree::{line, tree},
    view::{View, view},
};

/// How long changes are gathered before they are shown.
const GATHER: Duration = Duration::from_millis(100);
/// How often ages are shown anew on a terminal.
const TICK: Duration = Duration::from_secs(1);

/// Shows Microservices as they change, until Ctrl-C.
///
/// # Errors
/// When the answer cannot be written.
pub async fn watch(cluster: &Cluster, out: Out, args: &GetArgs) -> Result<Exit, Error> {
    let all = args.all_namespaces;
    let named = if let [name] = args.names.as_slice() { Some(name.as_str()) } else { None };
    let fields = named.map(|name| watcher::Config::default().fields(&format!("metadata.name={name}")));
    let (services, writer) = reflector::store();
    let service_changes = changes(reflector::reflector(
        writer,
        watcher(cluster.scope::<Microservice>(all), fields.unwrap_or_default()).default_backoff(),
    ));
    let (pods, writer) = reflector::store();
    let config = watcher::Config::default().labels(&pods_of(named));
    let pod_changes =
        changes(reflector::reflector(writer, watcher(cluster.scope::<Pod>(all), config).default_backoff()));
    let mut changes = std::pin::pin!(futures::stream::select(service_changes, pod_changes));
    let clock = &cluster.clock;
    let mut screen =
        Screen { out, clock, names: &args.names, shown: String::new(), lines: BTreeMap::new(), trouble: None };
    let mut ended = std::pin::pin!(tokio::signal::ctrl_c());
    let mut tick = tokio::time::interval(TICK);
    let mut listed = 0;
    loop {
        tokio::select! {
            end = &mut ended => {
                end.map_err(Error::Signals)?;
                return Ok(Exit::Done);
            }
            _ = tick.tick(), if out.terminal && out.format.is_none() && listed >= 1 => {}
            change = changes.next() => {
                let Some(change) = change else { return Ok(Exit::Done) };
                screen.trouble = None;
                match change {
                    Change::Listed => listed += 1,
                    Change::Changed => {}
                    Change::Failed(error) => screen.trouble = Some(error),
                }
                gather(&mut changes, &mut screen.trouble, &mut listed).await;
            }
        }
        if listed >= 1 {
            screen.show(&services, &pods)?;
        }
    }
}

enum Change {
    /// A first listing is complete.
    Listed,
    Changed,
    Failed(String),
}

fn changes<K>(events: impl Stream<Item = watcher::Result<Event<K>>>) -> impl Stream<Item = Change> {
    events.filter_map(|event| {
        std::future::ready(match event {
            Ok(Event::InitDone) => Some(Change::Listed),
            Ok(Event::Apply(_) | Event::Delete(_)) => Some(Change::Changed),
            Ok(Event::Init | Event::InitApply(_)) => None,
            Err(error) => Some(Change::Failed(error.to_string())),
        })
    })
}

/// Takes what follows at once, so that it is shown together.
async fn gather(changes: &mut (impl Stream<Item = Change> + Unpin), trouble: &mut Option<String>, listed: &mut usize) {
    let more = async {
        while let Some(change) = changes.next().await {
            match change {
                Change::Failed(error) => *trouble = Some(error),
                Change::Listed => *listed += 1,
                Change::Changed => {}
            }
        }
    };
    let _over = tokio::time::timeout(GATHER, more).await;
}

/// What was shown so far.
struct Screen<'a> {
    out: Out,
    clock: &'a Clock,
    names: &'a [String],
    shown: String,
    /// The last line of each Microservice.
    lines: BTreeMap<(String, String), String>,
    trouble: Option<String>,
}

impl Screen<'_> {
    fn show(&mut self, services: &Store<Microservice>, pods: &Store<Pod>) -> Result<(), Error> {
        let pods: Vec<Pod> = pods.state().iter().map(|pod| pod.as_ref().clone()).collect();
        let wanted = |service: &Microservice| self.names.is_empty() || self.names.contains(&service.name_any());
        let mut views: Vec<View> =
            services.state().iter().filter(|service| wanted(service)).map(|service| view(service, &pods)).collect();
        views.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        if self.out.terminal && self.out.format.is_none() { self.draw(&views) } else { self.log(&views) }
    }

    /// Draws over what was drawn before.
    fn draw(&mut self, views: &[View]) -> Result<(), Error> {
        let now = self.clock.now();
        let mut trees: Vec<String> = views.iter().map(|view| tree(view, now, self.out.paint)).collect();
        if trees.is_empty() {
            trees.push("there is no Microservice\n".to_owned());
        }
        trees.extend(self.trouble.as_ref().map(|trouble| format!("the cluster cannot be watched: {trouble}\n")));
        let mut text = trees.join("\n");
        if let Some((width, height)) = terminal_size::terminal_size() {
            text = fitted(&text, width.0.into(), height.0.into());
        }
        if text == self.shown {
            return Ok(());
        }
        // Each line is cleared to its end and then what is below the last one, which flickers less than clearing it all.
        let home = if self.shown.is_empty() { "\u{1b}[2J\u{1b}[H" } else { "\u{1b}[H" };
        let lines: String = text.lines().map(|line| format!("{line}\u{1b}[K\n")).collect();
        self.shown = text;
        self.out.text(&format!("{home}{lines}\u{1b}[J"))
    }

    /// Writes what changed.
    fn log(&mut self, views: &[View]) -> Result<(), Error> {
        if let Some(trouble) = self.trouble.take() {
            eprintln!("warning: the cluster cannot be watched: {trouble}");
        }
        let key = |view: &View| (view.namespace.clone(), view.name.clone());
        for view in views {
            let line = match self.out.format {
                None => line(view),
                Some(_) => serde_json::to_string(view).map_err(|error| Error::Encoding(error.to_string()))?,
            };
            if self.lines.get(&key(view)) == Some(&line) {
                continue;
            }
            match self.out.format {
                None => self.out.text(&format!("{}  {line}\n", self.clock.now().strftime("%H:%M:%S")))?,
                Some(format) => self.out.one_of_many(format, view)?,
            }
            self.lines.insert(key(view), line);
        }
        let gone: Vec<_> =
            self.lines.keys().filter(|known| !views.iter().any(|view| key(view) == **known)).cloned().collect();
        for (namespace, name) in gone {
            if self.out.format.is_none() {
                self.out.text(&format!("{}  {namespace}/{name}  deleted\n", self.clock.now().strftime("%H:%M:%S")))?;
            }
            self.lines.remove(&(namespace, name));
        }
        Ok(())
    }
}

/// The lines that a terminal has room for, above the one on which its cursor stays; what follows is counted.
fn fitted(text: &str, width: usize, height: usize) -> String {
    let rows = |line: &str| visible(line).div_ceil(width.max(1)).max(1);
    let room = height.saturating_sub(1);
    let count = text.lines().count();
    let mut taken = 0;
    let fits = |(index, line): &(usize, &str)| {
        taken += rows(line);
        // One row is for the count, unless nothing follows.
        taken + usize::from(index + 1 < count) <= room
    };
    let mut shown: Vec<String> = text.lines().enumerate().take_while(fits).map(|(_, line)| line.to_owned()).collect();
    if shown.len() < count {
        shown.push(format!("… {} more lines", count - shown.len()));
    }
    shown.join("\n")
}

/// Characters of a line that take room: those of colours do not.
fn visible(line: &str) -> usize {
    let mut parts = line.split('\u{1b}');
    let plain = parts.next().unwrap_or_default().chars().count();
    plain + parts.map(|part| part.split_once('m').map_or(0, |(_, rest)| rest.chars().count())).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taller_than_the_terminal_is_cut() {
        assert_eq!(fitted("a\nb\nc\n", 80, 4), "a\nb\nc");
        assert_eq!(fitted("a\nb\nc\nd\n", 80, 4), "a\nb\n… 2 more lines");
        assert_eq!(fitted("aaaaa\nb\nc\n", 4, 4), "aaaaa\n… 2 more lines", "the first takes two rows");
        assert_eq!(fitted("\u{1b}[1maaaa\u{1b}[0m\nb\nc\n", 4, 4), "\u{1b}[1maaaa\u{1b}[0m\nb\nc", "colours take none");
        assert_eq!(fitted("a\nb\n", 80, 1), "… 2 more lines");
        assert_eq!(fitted("a\n", 0, 0), "… 1 more lines");
    }
}
