//! The supervisor's own side.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{Command, OWN_PROGRAM, Request, Response};
use crate::components::apiserver;
use crate::files;
use crate::paths;
use crate::process::ProcessId;
use crate::record::{ComponentRecord, Processes, RecordError};
use crate::sandbox;

/// The supervisor could not begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// No session of its own.
    #[error("cannot start a session: {0}")]
    Session(#[source] nix::Error),
    /// No signals.
    #[error("cannot handle signals: {0}")]
    Signals(#[source] io::Error),
    /// The supervisor does not find itself.
    #[error("cannot tell this process's start time")]
    Unknown,
    /// The record was not written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The folder stays.
    #[error("cannot remove {}: {source}; remove it by hand", path.display())]
    Remove {
        /// The cluster's folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

enum Event {
    Request(Request),
    InputEnded,
    Signal,
}

/// Runs the supervisor of the cluster in `folder` until it is told to end; nothing of the cluster is left then.
pub fn run(folder: &Path) -> Result<(), ServerError> {
    nix::unistd::setsid().map_err(ServerError::Session)?;
    let (sender, events) = mpsc::channel();
    watch_signals(sender.clone())?;
    let mut server = Server {
        folder: folder.to_owned(),
        supervisor: ProcessId::current().ok_or(ServerError::Unknown)?,
        components: BTreeMap::new(),
        detached: false,
        parent_death_signal: find_on_path("setpriv"),
    };
    let outcome = server.write_record().and_then(|()| {
        respond(&Response::Done);
        thread::spawn(move || read_requests(&sender));
        server.serve(&events)
    });
    server.tear_down()?;
    Ok(outcome?)
}

fn watch_signals(sender: Sender<Event>) -> Result<(), ServerError> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(ServerError::Signals)?;
    thread::spawn(move || {
        for _ in signals.forever() {
            if sender.send(Event::Signal).is_err() {
                return;
            }
        }
    });
    Ok(())
}

fn read_requests(sender: &Sender<Event>) {
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        match serde_json::from_str(&line) {
            Ok(request) => {
                if sender.send(Event::Request(request)).is_err() {
                    return;
                }
            }
            Err(error) => respond(&Response::Failed(format!("not a request: {error}"))),
        }
    }
    let _ = sender.send(Event::InputEnded);
}

fn respond(response: &Response) {
    let Ok(line) = serde_json::to_string(response) else { return };
    let mut stdout = io::stdout().lock();
    // The starter may be gone; the end of the input tells so.
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

struct Component {
    child: Child,
    record: ComponentRecord,
}

struct Server {
    folder: PathBuf,
    supervisor: ProcessId,
    components: BTreeMap<String, Component>,
    detached: bool,
    parent_death_signal: Option<PathBuf>,
}

/// How often ended programs are looked for.
const REAP_EVERY: Duration = Duration::from_millis(200);

impl Server {
    fn serve(&mut self, events: &Receiver<Event>) -> Result<(), RecordError> {
        loop {
            match events.recv_timeout(REAP_EVERY) {
                Ok(Event::Request(request)) => {
                    let response = match self.handle(request) {
                        Ok(()) => Response::Done,
                        Err(message) => Response::Failed(message),
                    };
                    self.write_record()?;
                    respond(&response);
                }
                Ok(Event::InputEnded) if self.detached => {}
                Ok(Event::InputEnded | Event::Signal) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {
                    if self.reap() {
                        self.write_record()?;
                    }
                }
            }
        }
    }

    fn handle(&mut self, request: Request) -> Result<(), String> {
        match request {
            Request::Start(command) => self.start(&command),
            Request::Stop(name) => {
                let component = self.components.get_mut(&name).ok_or_else(|| format!("no component {name}"))?;
                end(component);
                Ok(())
            }
            Request::Detach => {
                self.detached = true;
                Ok(())
            }
        }
    }

    /// Must run on the main thread: a child's parent-death signal comes when the thread that started it ends.
    fn start(&mut self, command: &Command) -> Result<(), String> {
        let Command { name, program, arguments } = command;
        if self.components.get(name).is_some_and(|component| component.record.exit.is_none()) {
            return Err(format!("{name} runs already"));
        }
        let own = (program == Path::new(OWN_PROGRAM)).then(env::current_exe).transpose();
        let own = own.map_err(|error| format!("cannot find this program: {error}"))?;
        let mut process = self.die_with_supervisor(own.as_deref().unwrap_or(program));
        process.args(arguments).current_dir(&self.folder).stdin(Stdio::null());
        let child = self
            .log(name)
            .and_then(|log| process.stdout(log.try_clone()?).stderr(log).spawn())
            .map_err(|error| format!("cannot start {name} ({}): {error}", program.display()))?;
        let process = ProcessId::of(child.id());
        let record = ComponentRecord { name: name.clone(), process, exit: None };
        self.components.insert(name.clone(), Component { child, record });
        Ok(())
    }

    fn log(&self, name: &str) -> io::Result<File> {
        let logs = self.folder.join("logs");
        fs::create_dir_all(&logs)?;
        File::options().append(true).create(true).open(logs.join(format!("{name}.log")))
    }

    /// A program that the kernel kills when the supervisor is killed; where that can't be had, it only ends in good order.
    fn die_with_supervisor(&self, program: &Path) -> Process {
        match &self.parent_death_signal {
            Some(setpriv) => {
                let mut process = Process::new(setpriv);
                process.args(["--pdeathsig", "KILL", "--"]).arg(program);
                process
            }
            None => Process::new(program),
        }
    }

    /// Notes the programs that have ended; true if there was one.
    fn reap(&mut self) -> bool {
        let mut changed = false;
        for component in self.components.values_mut().filter(|component| component.record.exit.is_none()) {
            if let Ok(Some(status)) = component.child.try_wait() {
                component.record.exit = Some(status.to_string());
                changed = true;
            }
        }
        changed
    }

    fn write_record(&self) -> Result<(), RecordError> {
        let components = self.components.values().map(|component| component.record.clone()).collect();
        Processes { supervisor: self.supervisor.clone(), components }.write(&self.folder)
    }

    fn keep_audit(&self, kept: &Path) -> io::Result<()> {
        let (log, name) = (apiserver::audit_log(&self.folder), self.folder.file_name().unwrap_or_default());
        if !log.exists() {
            return Ok(());
        }
        fs::create_dir_all(kept)?;
        let kept = kept.join(name).with_extension("log");
        // Another file system takes a copy, which has that name once it is whole.
        let part = kept.with_extension("part");
        fs::rename(&log, &kept).or_else(|_| fs::copy(&log, &part).and_then(|_| fs::rename(&part, &kept)))
    }

    fn tear_down(&mut self) -> Result<(), ServerError> {
        for component in self.components.values_mut() {
            // All at once and without a chance to object: nothing of this cluster will be read again.
            let _ = component.child.kill();
        }
        self.components.values_mut().for_each(end);
        if let Some(Err(error)) = paths::audit_dir().map(|kept| self.keep_audit(&kept)) {
            // That nothing of the cluster is left is worth more than its log.
            eprintln!("devcluster: the audit log is not kept: {error}");
        }
        sandbox::remove_cgroups(&self.folder)
            .and_then(|()| files::remove_dir(&self.folder))
            .map_err(|source| ServerError::Remove { path: self.folder.clone(), source })
    }
}

fn end(component: &mut Component) {
    if component.record.exit.is_none() {
        let _ = component.child.kill();
        component.record.exit =
            Some(component.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string()));
    }
}

fn find_on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let found = |folder: PathBuf| Some(folder.join(OsStr::new(program))).filter(|file| file.is_file());
    env::split_paths(&path).find_map(found)
}
