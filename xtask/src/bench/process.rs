//! A measured process: when it was ready, what it cost, what it said.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kernel::{Errno, Poll};

/// What of a process's output is kept, in bytes; the rest is read and dropped.
const KEPT_BYTES: usize = 1 << 20;

/// What shows that a tracer's probes are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// This text on standard output.
    Says(&'static str),
    /// The first byte on standard output: a table's head line, which libbpf's tools print once attached.
    Speaks,
    /// It holds this many perf events: for a tracer that says nothing. They are there some
    /// 50 µs before the last is enabled, and looked for every 50 µs.
    HoldsPerfEvents(usize),
}

/// A process being measured. Killed if dropped before its end.
pub struct Measured {
    child: Child,
    name: String,
    started: Instant,
    /// From the start to attached.
    pub attached: Duration,
    /// CPU time that it had used by then, all threads.
    pub attached_cpu: Duration,
    stdout: JoinHandle<String>,
    stderr: JoinHandle<String>,
    ended: bool,
}

/// What a process that has ended leaves.
pub struct Finished {
    status: ExitStatus,
    /// From start to end.
    pub whole: Duration,
    /// User and system time, its children's included.
    pub cpu: Duration,
    /// Most memory resident at once, in KiB; never less than the measuring
    /// process's own, since the kernel carries the figure over exec.
    pub peak_rss_kib: u64,
    pub stdout: String,
    pub stderr: String,
}

impl Measured {
    /// Starts a tracer and waits until it has attached.
    ///
    /// # Errors
    /// It can't be started, ends before it has attached, or has not attached after `limit`.
    pub fn start(command: &mut Command, ready: Ready, limit: Duration) -> Result<Measured> {
        let name = command.get_program().to_string_lossy().into_owned();
        let marker = match ready {
            Ready::Says(text) => Some(text.as_bytes()),
            Ready::Speaks => Some(&b""[..]),
            Ready::HoldsPerfEvents(_) => None,
        };
        let (mut process, told) = Measured::spawn(command, marker)?;
        let deadline = process.started + limit;
        let attached = match ready {
            Ready::HoldsPerfEvents(count) => wait_for_perf_events(process.pid(), count, deadline),
            Ready::Says(_) | Ready::Speaks => {
                told.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
            }
        };
        let Some(at) = attached else {
            let early = Instant::now() < deadline;
            let state = if early { "ended before it had attached" } else { "had not attached in time" };
            process.child.kill().ok();
            process.reap()?;
            let said = format!("{}{}", process.take_stdout(), process.take_stderr());
            bail!("{name} {state}: {}", said.trim().lines().last().unwrap_or("it said nothing"));
        };
        process.attached = at - process.started;
        process.attached_cpu = cpu_of(process.pid());
        Ok(process)
    }

    /// Runs a process to its end, which is to be a good one.
    pub fn run(command: &mut Command, limit: Duration) -> Result<Finished> {
        let process = Measured::spawn(command, None)?.0;
        let name = process.name.clone();
        let finished = process.finish(limit)?;
        ensure!(finished.status.success(), "{name}: {}: {}", finished.status, finished.stderr.trim());
        Ok(finished)
    }

    fn spawn(command: &mut Command, marker: Option<&'static [u8]>) -> Result<(Measured, Receiver<Instant>)> {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (tell, told) = mpsc::channel();
        let started = Instant::now();
        let mut child = command.spawn().with_context(|| format!("starting {name}"))?;
        let stdout = child.stdout.take().context("no pipe from the process")?;
        let stderr = child.stderr.take().context("no pipe from the process")?;
        let process = Measured {
            child,
            name,
            started,
            attached: Duration::ZERO,
            attached_cpu: Duration::ZERO,
            stdout: std::thread::spawn(move || collect(stdout, marker, &tell)),
            stderr: std::thread::spawn(move || collect(stderr, None, &mpsc::channel().0)),
            ended: false,
        };
        Ok((process, told))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ctrl-C, then the end. The time from one to the other comes with it.
    pub fn interrupt(self, limit: Duration) -> Result<(Duration, Finished)> {
        let at = Instant::now();
        kernel::kill(self.pid(), libc::SIGINT)
            .map_err(|errno| kernel::Error::system(format!("interrupt {}", self.name), errno))?;
        let started = self.started;
        let finished = self.finish(limit)?;
        Ok((started + finished.whole - at, finished))
    }

    /// Waits for the end.
    pub fn finish(mut self, limit: Duration) -> Result<Finished> {
        let ended = ends_within(self.pid(), limit)
            .map_err(|errno| kernel::Error::system(format!("wait for {}", self.name), errno))?;
        let whole = self.started.elapsed();
        if !ended {
            self.child.kill().ok();
            self.reap()?;
            bail!("{} did not end in {} s", self.name, limit.as_secs());
        }
        let (status, cpu, peak_rss_kib) = self.reap()?;
        Ok(Finished { status, whole, cpu, peak_rss_kib, stdout: self.take_stdout(), stderr: self.take_stderr() })
    }

    fn take_stdout(&mut self) -> String {
        std::mem::replace(&mut self.stdout, std::thread::spawn(String::new)).join().unwrap_or_default()
    }

    fn take_stderr(&mut self) -> String {
        std::mem::replace(&mut self.stderr, std::thread::spawn(String::new)).join().unwrap_or_default()
    }

    /// Collects the ended process: its status, CPU time and peak memory (KiB).
    fn reap(&mut self) -> Result<(ExitStatus, Duration, u64)> {
        self.ended = true;
        let mut status = 0;
        // SAFETY: `rusage` is numbers only, for which all zeros are valid.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: the two outputs are live and of the types that wait4(2) writes. The standard library
        // never waits for this child: we do once, here.
        let pid = unsafe { libc::wait4(self.child.id() as i32, &mut status, 0, &mut usage) };
        if pid < 0 {
            return Err(std::io::Error::last_os_error()).with_context(|| format!("collecting {}", self.name));
        }
        let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
        Ok((ExitStatus::from_raw(status), time(usage.ru_utime) + time(usage.ru_stime), usage.ru_maxrss as u64))
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        if !self.ended {
            self.child.kill().ok();
            self.reap().ok();
        }
    }
}

/// Whether a child ends in time; it remains to be collected.
fn ends_within(pid: u32, limit: Duration) -> Result<bool, Errno> {
    let pidfd = kernel::pidfd_open(pid)?;
    let poll = Poll::new()?;
    poll.add(pidfd.as_fd(), 0)?;
    let mut ready = Vec::new();
    poll.wait(Some(limit), &mut ready)?;
    Ok(!ready.is_empty())
}

/// Reads a stream to its end. Tells once when `marker` has come (an empty one: with the first byte).
fn collect(mut stream: impl Read, marker: Option<&[u8]>, tell: &Sender<Instant>) -> String {
    let mut kept = Vec::new();
    let mut chunk = [0; 16 << 10];
    let mut waiting = marker;
    loop {
        let count = match stream.read(&mut chunk) {
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        let now = Instant::now();
        if kept.len() < KEPT_BYTES {
            kept.extend_from_slice(&chunk[..count]);
        }
        if waiting.is_some_and(|m| m.is_empty() || kept.windows(m.len()).any(|w| w == m)) {
            waiting = None;
            // Whoever waited may have given up.
            let _ = tell.send(now);
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

fn wait_for_perf_events(pid: u32, count: usize, deadline: Instant) -> Option<Instant> {
    while Instant::now() < deadline {
        let Ok(fds) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return None };
        let targets: Vec<_> = fds.flatten().filter_map(|fd| std::fs::read_link(fd.path()).ok()).collect();
        if targets.is_empty() {
            // What has ended holds none.
            return None;
        }
        let events = targets.iter().filter(|to| to.as_os_str() == "anon_inode:[perf_event]").count();
        if events >= count {
            return Some(Instant::now());
        }
        std::thread::sleep(Duration::from_micros(50));
    }
    None
}

/// CPU time of a live process by `/proc/PID/task/*/schedstat`, whose first number is nanoseconds.
fn cpu_of(pid: u32) -> Duration {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Duration::ZERO };
    tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|text| text.split_whitespace().next()?.parse().ok())
        .map(Duration::from_nanos)
        .sum()
}

/// The ids of the BPF programs that a process holds, by its descriptors and those of its links.
pub fn programs_of(pid: u32) -> Vec<u32> {
    let Ok(infos) = std::fs::read_dir(format!("/proc/{pid}/fdinfo")) else { return Vec::new() };
    let mut ids: Vec<u32> = infos
        .flatten()
        .filter_map(|info| std::fs::read_to_string(info.path()).ok())
        .filter_map(|text| text.lines().find_map(|line| line.strip_prefix("prog_id:"))?.trim().parse().ok())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    #[test]
    fn marker_output_and_end() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo ready; exec sleep 100"]);
        let process = Measured::start(&mut command, Ready::Says("ready"), LIMIT).unwrap();
        let (_, finished) = process.interrupt(LIMIT).unwrap();
        assert_eq!(finished.stdout, "one\nready\n");
        assert!(finished.peak_rss_kib > 0);
    }

    #[test]
    fn a_process_that_ends_early_says_why() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such probe >&2"]);
        let error = Measured::start(&mut command, Ready::Speaks, LIMIT).err().unwrap();
        assert!(error.to_string().ends_with("ended before it had attached: no such probe"), "{error}");
    }

    #[test]
    fn a_process_that_does_not_end_is_killed() {
        let mut command = Command::new("sleep");
        command.arg("100");
        let error = Measured::run(&mut command, Duration::from_millis(50)).err().unwrap();
        assert!(error.to_string().contains("did not end"), "{error}");
    }
}
