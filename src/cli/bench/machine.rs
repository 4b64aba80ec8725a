//! What the numbers were measured on, from Linux's `/proc`.

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use serde::Serialize;

use crate::{Error, Result};

/// The machine and the build.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Machine {
    /// The processor's name.
    pub(super) cpu: String,
    /// How many cores this process may use.
    pub(super) cores: usize,
    /// Memory in MiB.
    pub(super) memory_mib: u64,
    /// The file system of the data folder.
    pub(super) filesystem: String,
    /// This program's version.
    pub(super) version: &'static str,
    /// `release`, or `debug`, whose numbers mean little.
    pub(super) build: &'static str,
}

impl Machine {
    /// This machine, with the file system of a folder.
    pub(super) fn here(data: &Path) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        Self {
            cpu: value(&cpuinfo, "model name").unwrap_or("unknown").to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: value(&meminfo, "MemTotal").and_then(kibibytes).unwrap_or(0) / 1024,
            filesystem: filesystem(&mounts, data).unwrap_or("unknown").to_owned(),
            version: env!("CARGO_PKG_VERSION"),
            build: if cfg!(debug_assertions) { "debug" } else { "release" },
        }
    }

    /// It as the first line of a table.
    pub(super) fn write_line(&self, text: &mut String) -> std::fmt::Result {
        let Self { cpu, cores, memory_mib, filesystem, version, build } = self;
        writeln!(text, "sigilo {version} ({build}) on {cpu}, {cores} cores, {memory_mib} MiB, {filesystem}")?;
        if *build == "debug" {
            writeln!(text, "A DEBUG BUILD: these numbers say nothing about the server.")?;
        }
        Ok(())
    }
}

/// The processor time a process has used, all its threads, in user and kernel mode.
pub(super) fn cpu_time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).map_err(Error::internal)?;
    parse_cpu_time(&stat).ok_or_else(|| Error::internal("/proc/PID/stat is not as documented"))
}

/// The memory of a process that is in RAM, in bytes.
pub(super) fn resident(pid: u32) -> Result<u64> {
    memory(pid, "VmRSS")
}

/// The most memory of a process that ever was in RAM, in bytes.
pub(super) fn peak(pid: u32) -> Result<u64> {
    memory(pid, "VmHWM")
}

fn memory(pid: u32, name: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(Error::internal)?;
    value(&status, name)
        .and_then(kibibytes)
        .map(|kib| kib * 1024)
        .ok_or_else(|| Error::internal(format!("/proc/PID/status names no {name}")))
}

/// How many files, sockets included, this process may open.
pub(super) fn open_files_limit() -> u64 {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(u64::MAX)
}

/// Fields 14 and 15 of proc_pid_stat(5), counted after the parenthesised name, which may hold anything.
fn parse_cpu_time(stat: &str) -> Option<Duration> {
    /// USER_HZ is 100 on every architecture this program is built for.
    const TICKS_A_SECOND: u64 = 100;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 1_000 / TICKS_A_SECOND))
}

/// The first `key: value` of a `/proc` file.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim())
    })
}

fn kibibytes(text: &str) -> Option<u64> {
    text.strip_suffix("kB")?.trim().parse().ok()
}

/// The type of the file system a folder is on: that of the longest mount point above it.
fn filesystem<'a>(mounts: &'a str, folder: &Path) -> Option<&'a str> {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            Some((fields.next()?, fields.next()?))
        })
        .filter(|(point, _)| folder.starts_with(point))
        .max_by_key(|(point, _)| point.len())
        .map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_that_of_both_modes_whatever_the_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 150 25 9 9 20 0 9 0 100 1 1";
        assert_eq!(parse_cpu_time(stat), Some(Duration::from_millis(1_750)));
        assert_eq!(parse_cpu_time("7 (a) S 1"), None);
    }

    #[test]
    fn this_process_has_memory_and_uses_time() {
        let pid = std::process::id();
        assert!(resident(pid).unwrap() > 1024 * 1024);
        // Whatever was resident before counts in the peak that is read afterwards.
        let resident = resident(pid).unwrap();
        assert!(peak(pid).unwrap() >= resident);
        let before = cpu_time(pid).unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while cpu_time(pid).unwrap() <= before {
            assert!(std::time::Instant::now() < deadline, "no time passes");
        }
        assert!(open_files_limit() >= 3);
    }

    #[test]
    fn the_longest_mount_point_counts() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /nowhere/fast tmpfs rw 0 0\nproc /proc proc rw 0 0\n";
        assert_eq!(filesystem(mounts, Path::new("/nowhere/fast/x")), Some("tmpfs"));
        assert_eq!(filesystem(mounts, Path::new("/nowhere/faster")), Some("ext4"));
    }
}
