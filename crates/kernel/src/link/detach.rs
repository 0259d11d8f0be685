//! Detaching many at once.
//!
//! Closing a descriptor is what detaches, and for perf events it waits for grace periods of RCU. Measured
//! on 2 CPUs (6.18, milliseconds, attach then detach; 6.12 and 7.2 in emulation are alike):
//!
//! | kind | attach | detach |
//! |---|---|---|
//! | raw tracepoint, typed or not | 0.1 | 0.1 |
//! | sampled, each CPU | 0.05 | 0.01 |
//! | tracepoint | 0.2 | 70 |
//! | uprobe, USDT by perf event | 15 | 130 |
//! | uprobe.multi | 8 | 40 |
//! | kprobe (7.2) | 26 | 115 |
//! | kprobe.multi, 1 or 5 functions (7.2) | 14, 41 | 11 |
//!
//! A tracepoint's 70 are one wait for the program's array (`perf_event_detach_bpf_prog`,
//! rcu_tasks_trace) and one under `event_mutex` for the tracepoint (`perf_trace_event_unreg`).
//! Several threads share the first; the second is the kernel's own queue. 360 tracepoints
//! took 26 s on one thread or by close_range(2), 13 s on eight. So whoever attaches
//! to many must choose another kind: a raw tracepoint where no fields are read, one program
//! that dispatches for system calls, the multi kinds.

use std::os::fd::OwnedFd;
use std::thread::JoinHandle;

use super::Link;

/// The kernel runs more than this in turn anyway.
const MOST_THREADS: usize = 4;

/// Detachments under way. Dropping it waits for them.
#[derive(Debug)]
pub struct Detaching {
    threads: Vec<JoinHandle<()>>,
}

impl Detaching {
    /// Waits until all are detached.
    pub fn wait(self) {}

    /// Lets them end by themselves. They do so before the process does, in any case.
    pub fn leave(mut self) {
        self.threads.clear();
    }
}

impl Drop for Detaching {
    fn drop(&mut self) {
        for thread in self.threads.drain(..) {
            // A thread that only closes descriptors does not panic.
            let _ = thread.join();
        }
    }
}

/// Detaches everything, on threads of its own so that the caller can go on meanwhile.
pub fn detach_all(links: Vec<Link>) -> Detaching {
    let fds: Vec<OwnedFd> = links.into_iter().flat_map(|link| link.fds).collect();
    let mut shares: Vec<Vec<OwnedFd>> = Vec::new();
    shares.resize_with(fds.len().min(MOST_THREADS), Vec::new);
    let count = shares.len();
    for (at, fd) in fds.into_iter().enumerate() {
        // In turn: neighbours are of one kind, so that each thread gets as much of each.
        shares[at % count].push(fd);
    }
    let start = |share| std::thread::Builder::new().name("detach".into()).spawn(move || drop::<Vec<OwnedFd>>(share));
    // Where there can be no thread the descriptors are closed at once, by the failed attempt.
    Detaching { threads: shares.into_iter().filter_map(|share| start(share).ok()).collect() }
}
