//! A controller as a process of its own, and what it uses of the machine.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use devcluster::Bound;

/// A running controller; killed with this value, and when this process ends in any way.
pub struct Process {
    bound: Bound,
    ticks: f64,
}

/// What a process has used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Use {
    /// Time of processors, of all threads.
    pub cpu: Duration,
    /// The most memory that it had at once since it was last asked to forget, in KiB.
    pub peak: u64,
    /// The memory that it has now, in KiB.
    pub memory: u64,
}

/// Processors and memory of this machine, as Linux tells them.
pub fn machine() -> Option<String> {
    let processors = fs::read_to_string("/proc/cpuinfo").ok()?;
    let mut models = processors.lines().filter_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = models.next()?.1.trim();
    let memory = fs::read_to_string("/proc/meminfo").ok()?;
    Some(format!("{} × {model}, {} GiB", models.count() + 1, kib(&memory, "MemTotal")?.div_ceil(1 << 20)))
}

/// What Linux tells under a name, in KiB.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

impl Process {
    /// Starts a program, which writes to a file.
    pub fn start(program: &Path, arguments: &[String], kubeconfig: &Path, log: &Path) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments).env("KUBECONFIG", kubeconfig).env("POD_NAMESPACE", "default");
        let bound = Bound::start(&command, log)?;
        let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
        Ok(Self { bound, ticks: f64::from(i32::try_from(ticks).unwrap_or(100)) })
    }

    /// What it has used since it was started.
    pub fn usage(&self) -> io::Result<Use> {
        let stat = fs::read_to_string(self.file("stat"))?;
        // The name, in brackets, may have blanks.
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks = |index: usize| fields.get(index).and_then(|it| it.parse::<f64>().ok()).unwrap_or_default();
        let status = fs::read_to_string(self.file("status"))?;
        let kib = |name| kib(&status, name).unwrap_or_default();
        let cpu = Duration::from_secs_f64((ticks(11) + ticks(12)) / self.ticks);
        Ok(Use { cpu, peak: kib("VmHWM"), memory: kib("VmRSS") })
    }

    /// Lets the peak of its memory begin at what it has now.
    pub fn forget_peak(&self) -> io::Result<()> {
        fs::write(self.file("clear_refs"), "5")
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.bound.ended(), Ok(None))
    }

    fn file(&self, name: &str) -> PathBuf {
        format!("/proc/{}/{name}", self.bound.id()).into()
    }
}
