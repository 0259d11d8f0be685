//! Taking probes away without making the user wait for the kernel.
//!
//! Closing a perf event link (tracepoint, kprobe, uprobe) takes the program off its event at
//! once, but then waits for two RCU grace periods: 78 ms a link on Linux 6.18, 2.2 s for the 26
//! events of `sched`, 56 s for 720. The first of them (`perf_event_detach_bpf_prog`) may
//! run side by side, the second (`perf_trace_event_unreg`) holds a mutex: with a thread a link it is 40 ms
//! a link. So threads do the closing, and what is left of the session goes on as soon as programs cannot run any more.
//! Raw tracepoints and timers take 0.1 ms and no wait.

use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use kernel::Link;

/// Each thread only closes descriptors.
const STACK_BYTES: usize = 64 * 1024;

/// More links than this share threads.
const MOST_THREADS: usize = 512;

/// By then every thread has reached the wait in the kernel, which comes after the
/// program was taken off.
const SETTLED: Duration = Duration::from_millis(20);

/// Links on their way out.
pub struct Detaching {
    threads: Vec<thread::JoinHandle<()>>,
    closed: Receiver<()>,
}

impl Detaching {
    /// Starts to close all links.
    pub fn start(links: Vec<Link>) -> Detaching {
        let (tell, closed) = mpsc::channel();
        let mut detaching = Detaching { threads: Vec::new(), closed };
        let share = links.len().div_ceil(MOST_THREADS).max(1);
        let mut links = links.into_iter();
        loop {
            let some: Vec<Link> = links.by_ref().take(share).collect();
            if some.is_empty() {
                break;
            }
            let tell = tell.clone();
            let close = move || {
                drop(some);
                // Nobody listens any more once all is settled.
                let _ = tell.send(());
            };
            // Where there can be no thread, the closure is dropped and the links with it: closed here.
            if let Ok(thread) = thread::Builder::new().stack_size(STACK_BYTES).spawn(close) {
                detaching.threads.push(thread);
            }
        }
        detaching
    }

    /// Waits until no program can run any more.
    pub fn settle(&self) {
        let deadline = Instant::now() + SETTLED;
        for _ in &self.threads {
            let left = deadline.saturating_duration_since(Instant::now());
            if self.closed.recv_timeout(left).is_err() {
                return;
            }
        }
    }

    /// Waits until the kernel is done.
    pub fn finish(self) {
        for thread in self.threads {
            // A closing thread has nothing to panic at.
            let _ = thread.join();
        }
    }
}
