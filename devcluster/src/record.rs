//! What is written down about a cluster, so that other processes can find it, use it and take it down.
//!
//! A cluster is one folder, `clusters/NAME` below the state folder. Its starter writes `cluster.json`, its supervisor
//! `processes.json`. A lock file beside the folders makes claiming and removing them one step each.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use nix::sys::signal::Signal;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::files;
use crate::paths::{self, PathError};
use crate::process::ProcessId;
use crate::sandbox;

/// The state of clusters could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// No state folder.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A file can't be used.
    #[error("cannot {action} {}: {source}; check the state folder", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A record is not one.
    #[error("{} is not a cluster's record: {source}; remove its folder if no such cluster runs", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: serde_json::Error,
    },
    /// A name that can't be a folder's.
    #[error("{0:?} can't be a cluster's name: use up to 40 of a-z, 0-9 and -, beginning with a letter")]
    Name(String),
    /// Somebody has it.
    #[error(
        "a cluster named {0} runs already, or is being started: choose another name, or `devcluster down --name {0}`"
    )]
    Taken(String),
    /// It does not end.
    #[error("process {pid} of cluster {name} does not end: look at {}", folder.display())]
    Stuck {
        /// The cluster.
        name: String,
        /// The process.
        pid: i32,
        /// The cluster's folder.
        folder: PathBuf,
    },
}

fn file_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RecordError {
    move |source| RecordError::File { action, path: path.to_owned(), source }
}

/// What runs the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Provider {
    /// The programs themselves, under a supervisor.
    Embedded,
    /// `kind`, in Docker.
    Kind,
}

/// What the starter writes down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterRecord {
    /// The cluster's name.
    pub name: String,
    /// What runs it.
    pub provider: Provider,
    /// The process that started it.
    pub starter: Option<ProcessId>,
    /// Whether it ends with its starter.
    pub owned: bool,
    /// When it was started.
    pub created: Timestamp,
    /// The API server's address, once it is chosen.
    pub server: Option<String>,
    /// Whether it has been ready.
    pub ready: bool,
}

/// What the supervisor writes down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Processes {
    /// The supervisor itself.
    pub supervisor: ProcessId,
    /// The programs it runs or has run.
    pub components: Vec<ComponentRecord>,
}

/// One program of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ComponentRecord {
    /// Its name.
    pub name: String,
    /// Its process; absent if it ended at once.
    pub process: Option<ProcessId>,
    /// How it ended, if it did.
    pub exit: Option<String>,
}

const CLUSTER_FILE: &str = "cluster.json";
const PROCESSES_FILE: &str = "processes.json";

impl ClusterRecord {
    /// Reads the record in a cluster's folder; none if it has not been written.
    pub fn read(folder: &Path) -> Result<Option<Self>, RecordError> {
        read(&folder.join(CLUSTER_FILE))
    }

    /// Writes it.
    pub fn write(&self, folder: &Path) -> Result<(), RecordError> {
        write(&folder.join(CLUSTER_FILE), self)
    }

    /// Whether anything of it lives, given what its supervisor wrote.
    pub fn is_alive(&self, processes: Option<&Processes>) -> bool {
        match (self.provider, processes) {
            (Provider::Embedded, Some(processes)) => processes.supervisor.is_alive(),
            // Before there is a supervisor, the starter stands for the cluster; a kind cluster lives in Docker after that.
            (Provider::Kind, _) if self.ready => true,
            _ => self.starter.as_ref().is_some_and(ProcessId::is_alive),
        }
    }
}

impl Processes {
    /// Reads the record in a cluster's folder; none if it has not been written.
    pub fn read(folder: &Path) -> Result<Option<Self>, RecordError> {
        read(&folder.join(PROCESSES_FILE))
    }

    /// Writes it.
    pub fn write(&self, folder: &Path) -> Result<(), RecordError> {
        write(&folder.join(PROCESSES_FILE), self)
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, RecordError> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| RecordError::Malformed { path: path.to_owned(), source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(file_error("read", path)(source)),
    }
}

fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), RecordError> {
    let bytes =
        serde_json::to_vec_pretty(value).map_err(|source| RecordError::Malformed { path: path.to_owned(), source })?;
    files::write_atomically(path, &bytes).map_err(file_error("write", path))
}

/// The clusters of this user on this machine.
#[derive(Debug, Clone)]
pub struct Registry {
    folder: PathBuf,
}

/// A cluster as found.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its folder.
    pub folder: PathBuf,
    /// What its starter wrote.
    pub record: ClusterRecord,
    /// What its supervisor wrote.
    pub processes: Option<Processes>,
}

impl Found {
    /// Whether anything of it lives.
    pub fn is_alive(&self) -> bool {
        self.record.is_alive(self.processes.as_ref())
    }
}

const LONGEST_NAME: usize = 40;
const SUPERVISOR_ENDS_WITHIN: Duration = Duration::from_secs(20);
const KILLED_WITHIN: Duration = Duration::from_secs(5);

impl Registry {
    /// The registry in the state folder.
    pub fn open() -> Result<Self, RecordError> {
        let folder = paths::state_dir()?.join("clusters");
        fs::create_dir_all(&folder).map_err(file_error("create", &folder))?;
        Ok(Self { folder })
    }

    /// Makes the folder of a new cluster, after removing what a killed cluster of that name has left.
    pub fn claim(&self, record: &ClusterRecord) -> Result<PathBuf, RecordError> {
        let folder = self.folder_of(&record.name)?;
        let _lock = self.lock()?;
        self.remove_dead()?;
        match files::create_private_dir(&folder) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(RecordError::Taken(record.name.clone()));
            }
            Err(source) => return Err(file_error("create", &folder)(source)),
        }
        record.write(&folder)?;
        Ok(folder)
    }

    /// The cluster of that name, alive or not.
    pub fn find(&self, name: &str) -> Result<Option<Found>, RecordError> {
        found(self.folder_of(name)?)
    }

    /// Every cluster, alive or not, by name.
    pub fn all(&self) -> Result<Vec<Found>, RecordError> {
        let mut clusters = Vec::new();
        for path in self.folders()? {
            clusters.extend(found(path)?);
        }
        clusters.sort_by(|a, b| a.record.name.cmp(&b.record.name));
        Ok(clusters)
    }

    /// Ends a cluster's processes, those that are still the recorded ones, and removes its folder.
    pub fn remove(&self, cluster: &Found) -> Result<(), RecordError> {
        if let Some(processes) = &cluster.processes {
            let _ = processes.supervisor.signal(Signal::SIGTERM);
            if !processes.supervisor.wait_gone(SUPERVISOR_ENDS_WITHIN) {
                kill(&processes.supervisor, cluster)?;
            }
        }
        // The supervisor may have started something after the first look.
        let processes = Processes::read(&cluster.folder)?.or_else(|| cluster.processes.clone());
        for process in processes.iter().flat_map(|processes| &processes.components).filter_map(|c| c.process.as_ref()) {
            kill(process, cluster)?;
        }
        sandbox::remove_cgroups(&cluster.folder).map_err(file_error("remove the cgroups of", &cluster.folder))?;
        files::remove_dir(&cluster.folder).map_err(file_error("remove", &cluster.folder))
    }

    fn folders(&self) -> Result<Vec<PathBuf>, RecordError> {
        let entries = fs::read_dir(&self.folder)
            .and_then(Iterator::collect::<io::Result<Vec<_>>>)
            .map_err(file_error("list", &self.folder))?;
        Ok(entries.iter().map(fs::DirEntry::path).filter(|path| path.is_dir()).collect())
    }

    /// Removes what killed clusters have left. Under the lock a folder without a record is a leftover, too.
    fn remove_dead(&self) -> Result<(), RecordError> {
        for path in self.folders()? {
            match found(path.clone())? {
                Some(cluster) if cluster.is_alive() => {}
                Some(cluster) => self.remove(&cluster)?,
                None => files::remove_dir(&path).map_err(file_error("remove", &path))?,
            }
        }
        Ok(())
    }

    fn folder_of(&self, name: &str) -> Result<PathBuf, RecordError> {
        let valid = name.len() <= LONGEST_NAME
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if valid { Ok(self.folder.join(name)) } else { Err(RecordError::Name(name.to_owned())) }
    }

    fn lock(&self) -> Result<File, RecordError> {
        let path = self.folder.join(".lock");
        let file = File::create(&path).map_err(file_error("create", &path))?;
        file.lock().map_err(file_error("lock", &path))?;
        Ok(file)
    }
}

fn found(folder: PathBuf) -> Result<Option<Found>, RecordError> {
    let Some(record) = ClusterRecord::read(&folder)? else { return Ok(None) };
    let processes = Processes::read(&folder)?;
    Ok(Some(Found { folder, record, processes }))
}

fn kill(process: &ProcessId, cluster: &Found) -> Result<(), RecordError> {
    // It may end between the look and the signal, which is as good.
    let _ = process.signal(Signal::SIGKILL);
    if process.wait_gone(KILLED_WITHIN) {
        return Ok(());
    }
    let (name, folder) = (cluster.record.name.clone(), cluster.folder.clone());
    Err(RecordError::Stuck { name, pid: process.pid, folder })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn registry() -> (tempfile::TempDir, Registry) {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry { folder: folder.path().to_owned() };
        (folder, registry)
    }

    fn record(name: &str, starter: Option<ProcessId>) -> ClusterRecord {
        ClusterRecord {
            name: name.into(),
            provider: Provider::Embedded,
            starter,
            owned: true,
            created: Timestamp::UNIX_EPOCH,
            server: None,
            ready: false,
        }
    }

    fn dead_process() -> ProcessId {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = ProcessId::of(child.id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        process
    }

    #[test]
    fn a_name_is_claimed_once() {
        let (_folder, registry) = registry();
        let record = record("one", ProcessId::current());
        registry.claim(&record).unwrap();
        assert!(matches!(registry.claim(&record), Err(RecordError::Taken(name)) if name == "one"));
        assert!(matches!(registry.find("../etc"), Err(RecordError::Name(_))));
    }

    #[test]
    fn what_a_killed_cluster_left_is_replaced() {
        let (_folder, registry) = registry();
        let folder = registry.claim(&record("one", Some(dead_process()))).unwrap();
        fs::write(folder.join("leftover"), "").unwrap();
        let again = registry.claim(&record("one", ProcessId::current())).unwrap();
        assert!(!again.join("leftover").exists());
    }

    #[test]
    fn removal_ends_recorded_processes_only() {
        let (_folder, registry) = registry();
        let mut ours = Command::new("sleep").arg("60").spawn().unwrap();
        let folder = registry.claim(&record("one", ProcessId::current())).unwrap();
        let component = |name: &str, process| ComponentRecord { name: name.into(), process, exit: None };
        let mut reused = serde_json::to_value(ProcessId::current().unwrap()).unwrap();
        reused["started"] = "before".into();
        let components = vec![
            component("ours", ProcessId::of(ours.id())),
            component("reused", Some(serde_json::from_value(reused).unwrap())),
        ];
        Processes { supervisor: dead_process(), components }.write(&folder).unwrap();

        registry.remove(&registry.find("one").unwrap().unwrap()).unwrap();

        assert!(!ours.wait().unwrap().success());
        assert!(!folder.exists());
    }
}
