//! The machine: which CPU does what, and what the kernel counted.

use std::collections::HashMap;
use std::fs;

use crate::Result;

/// Which CPU the proxies get, and which the origin and the load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    pub proxies: usize,
    pub load: usize,
}

impl Places {
    /// The first CPU that we may use for the proxies, the last one for everything else.
    pub(crate) fn of_this_machine() -> Result<Self> {
        let allowed = pin::allowed()?;
        match allowed.as_slice() {
            [] => Err("may not run on any CPU".to_owned()),
            [only] => {
                eprintln!("bench load: only one CPU may be used: good for a proof, not for a measurement");
                Ok(Self {
                    proxies: *only,
                    load: *only,
                })
            }
            [first, .., last] => Ok(Self {
                proxies: *first,
                load: *last,
            }),
        }
    }

    /// Puts this thread, and what it starts from now on, onto the load's CPU.
    pub(crate) fn pin_self(&self) -> Result<()> {
        pin::this_thread(self.load)
    }

    /// Runs `start` so that the child it starts inherits the proxies' CPU.
    pub(crate) fn start_beside<T>(&self, start: impl FnOnce() -> T) -> Result<T> {
        pin::this_thread(self.proxies)?;
        let started = start();
        pin::this_thread(self.load)?;
        Ok(started)
    }
}

#[cfg(target_os = "linux")]
mod pin {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    use crate::Result;

    pub(super) fn allowed() -> Result<Vec<usize>> {
        let set = sched_getaffinity(None).map_err(|error| format!("cannot read the CPU mask: {error}"))?;
        Ok((0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect())
    }

    pub(super) fn this_thread(cpu: usize) -> Result<()> {
        let mut set = CpuSet::new();
        set.set(cpu);
        sched_setaffinity(None, &set).map_err(|error| format!("cannot move to CPU {cpu}: {error}"))
    }
}

#[cfg(not(target_os = "linux"))]
mod pin {
    use crate::Result;

    pub(super) fn allowed() -> Result<Vec<usize>> {
        Err("pinning and CPU accounting need Linux".to_owned())
    }

    pub(super) fn this_thread(_: usize) -> Result<()> {
        Err("pinning needs Linux".to_owned())
    }
}

/// A process and everything it started, by id.
pub(crate) fn family(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(id) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        if let Some(parent) = parent_of(id) {
            children.entry(parent).or_default().push(id);
        }
    }
    let mut family = vec![root];
    let mut next = 0;
    while let Some(id) = family.get(next).copied() {
        family.extend(children.remove(&id).unwrap_or_default());
        next += 1;
    }
    family
}

fn parent_of(id: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name in parentheses may hold anything, so count from its end.
    let after = &stat[stat.rfind(')')? + 1..];
    after.split_whitespace().nth(1)?.parse().ok()
}

/// CPU time of all threads of these processes in nanoseconds, as the scheduler counted it.
pub(crate) fn cpu_ns(processes: &[u32]) -> u64 {
    let mut sum = 0;
    for id in processes {
        for task in fs::read_dir(format!("/proc/{id}/task"))
            .into_iter()
            .flatten()
            .flatten()
        {
            sum += fs::read_to_string(task.path().join("schedstat"))
                .ok()
                .and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok())
                .unwrap_or(0);
        }
    }
    sum
}

/// Resident memory of these processes in KiB; pages that they share count once for each.
pub(crate) fn rss_kib(processes: &[u32]) -> u64 {
    processes
        .iter()
        .filter_map(|id| {
            let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        })
        .sum()
}

/// The kernel's clock ticks; 100 a second on every Linux that has a `/proc/stat`.
const TICK_NS: u64 = 10_000_000;

/// What the whole machine did since it started, in nanoseconds: all but idle and waiting for disks.
pub(crate) fn busy_ns() -> u64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let words: Vec<u64> = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .filter_map(|word| word.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal; guest time is in user already.
    [0, 1, 2, 5, 6, 7]
        .iter()
        .filter_map(|index| words.get(*index))
        .sum::<u64>()
        * TICK_NS
}

/// What this process did, and the children it has waited for (the load generators).
pub(crate) fn own_ns() -> u64 {
    let children = fs::read_to_string("/proc/self/stat")
        .ok()
        .and_then(|stat| {
            let after = stat.get(stat.rfind(')')? + 1..)?.to_owned();
            let words: Vec<&str> = after.split_whitespace().collect();
            // cutime and cstime, fields 16 and 17 of proc(5); the state is field 3.
            Some(words.get(13)?.parse::<u64>().ok()? + words.get(14)?.parse::<u64>().ok()?)
        })
        .unwrap_or(0);
    cpu_ns(&[std::process::id()]) + children * TICK_NS
}

/// One line about the machine.
pub(crate) fn describe() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("an unknown CPU", |(_, name)| name.trim())
        .to_owned();
    let count = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{count} x {model}, Linux {}", kernel.trim())
}
