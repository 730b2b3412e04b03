//! What a controller uses and asks for, row by row.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use devcluster::{AuditEvent, AuditLog, AuditMark, Cluster};

use crate::{
    controllers::Controller,
    error::Error,
    others::Others,
    process::{Process, Use},
};

/// A row is over when the controller has written nothing for so long,
const SILENCE: Duration = Duration::from_secs(10);
/// or after so long.
const AT_MOST: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(500);

/// A controller under the eye of the meter.
pub struct Meter {
    controller: Controller,
    kubeconfig: PathBuf,
    log: PathBuf,
    process: Option<Process>,
    user: String,
    audit: AuditLog,
    mark: AuditMark,
    requests: BTreeMap<String, usize>,
    last_write: Instant,
    used: Duration,
    others: Option<Others>,
}

/// What it came to since the last reading.
pub struct Reading {
    pub cpu: Duration,
    pub peak: u64,
    pub memory: u64,
    pub requests: BTreeMap<String, usize>,
}

impl Meter {
    /// Starts the controller; with `others`, the requests of everybody are counted, too.
    pub fn start(cluster: &Cluster, controller: Controller, log: PathBuf, others: bool) -> Result<Self, Error> {
        let audit = cluster.audit()?;
        let (_, mark) = audit.read_on(AuditMark::START, |_| false)?;
        let mut meter = Self {
            controller,
            kubeconfig: cluster.kubeconfig_for_tenant(controller.tenant())?,
            log,
            process: None,
            user: format!("tenant-{}", controller.tenant()),
            audit,
            mark,
            requests: BTreeMap::new(),
            last_write: Instant::now(),
            used: Duration::ZERO,
            others: others.then(Others::default),
        };
        meter.resume()?;
        Ok(meter)
    }

    /// Kills the controller.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again.
    pub fn resume(&mut self) -> Result<(), Error> {
        let arguments = self.controller.arguments(&self.kubeconfig.display().to_string());
        let program = self.controller.family().program()?;
        let started = Process::start(&program, &arguments, &self.kubeconfig, &self.log);
        self.process = Some(started.map_err(Error::io(format!("start {}", program.display())))?);
        self.used = Duration::ZERO;
        Ok(())
    }

    /// Forgets what was before.
    pub fn begin(&mut self) -> Result<(), Error> {
        self.poll()?;
        self.requests.clear();
        self.others.iter_mut().for_each(Others::clear);
        self.last_write = Instant::now();
        self.used = self.usage()?.cpu;
        if let Some(process) = &self.process {
            process.forget_peak().map_err(Error::io("reset the peak of the memory"))?;
        }
        Ok(())
    }

    /// Waits until it writes no more, for a while at most.
    pub async fn settles(&mut self) -> Result<(), Error> {
        let end = Instant::now() + AT_MOST;
        self.last_write = Instant::now();
        while Instant::now() < end && self.last_write.elapsed() < SILENCE {
            tokio::time::sleep(POLL).await;
            self.poll()?;
        }
        Ok(())
    }

    /// What it came to since the beginning.
    pub fn read(&mut self) -> Result<Reading, Error> {
        self.poll()?;
        let Use { cpu, peak, memory } = self.usage()?;
        let requests = std::mem::take(&mut self.requests);
        Ok(Reading { cpu: cpu.saturating_sub(self.used), peak, memory, requests })
    }

    /// What everybody asked for since the beginning, if that is counted.
    pub fn others(&self) -> Option<&Others> {
        self.others.as_ref()
    }

    fn usage(&mut self) -> Result<Use, Error> {
        let Some(process) = &mut self.process else { return Ok(Use::default()) };
        if process.has_ended() {
            let log = std::fs::read_to_string(&self.log).map_err(Error::io("read why the controller ended"))?;
            let lines: Vec<&str> = log.lines().collect();
            let last = lines.iter().skip(lines.len().saturating_sub(20)).copied().collect::<Vec<_>>().join("\n");
            return Err(Error::Ended { controller: self.controller.title(), log: last });
        }
        process.usage().map_err(Error::io("read what the controller uses"))
    }

    fn poll(&mut self) -> Result<(), Error> {
        let (user, everybody) = (&self.user, self.others.is_some());
        let (events, mark) = self.audit.read_on(self.mark, |event| everybody || event.user == *user)?;
        self.mark = mark;
        for event in &events {
            if let Some(others) = &mut self.others {
                others.add(event);
            }
            if event.user == self.user {
                self.count(event);
            }
        }
        Ok(())
    }

    fn count(&mut self, event: &AuditEvent) {
        if let Some(request) = name(event) {
            *self.requests.entry(request).or_default() += 1;
        }
        if event.is_write() {
            self.last_write = Instant::now();
        }
    }
}

/// A request by its verb and resource; a watch as it begins, not as it ends.
pub fn name(event: &AuditEvent) -> Option<String> {
    if event.verb == "watch" && event.stage != "ResponseStarted" {
        return None;
    }
    let resource = if event.resource.is_empty() { "path" } else { &event.resource };
    let sub = if event.subresource.is_empty() { String::new() } else { format!("/{}", event.subresource) };
    Some(format!("{} {resource}{sub}", event.verb))
}
