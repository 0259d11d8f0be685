//! tracefs: what the kernel says about its tracepoints and traceable functions.
//!
//! Opened where it is mounted; where it is not, as a mount of our own that has
//! no place in the file tree, so that nothing stays behind.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use crate::directory;
use crate::error::{Errno, Error};
use crate::glob::Glob;

/// `TRACEFS_MAGIC` and `DEBUGFS_MAGIC` of `include/uapi/linux/magic.h`.
const TRACEFS_MAGIC: u64 = 0x7472_6163;
const DEBUGFS_MAGIC: u64 = 0x6462_6720;

/// The formats of what the function tracer itself writes; nothing can attach to them
/// (`TRACE_EVENT_FL_IGNORE_ENABLE`, kernel/trace/trace_export.c).
const RECORDS: &str = "ftrace";

/// An open tracefs.
#[derive(Debug)]
pub struct Tracefs {
    root: OwnedFd,
}

impl Tracefs {
    /// Opens the mounted tracefs, or one of our own (needs `CAP_SYS_ADMIN`).
    pub fn open() -> Result<Tracefs, Error> {
        for path in ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"] {
            if let Ok(root) = directory::open(path)
                && directory::file_system(root.as_fd()) == Ok(TRACEFS_MAGIC)
            {
                return Ok(Tracefs { root });
            }
        }
        let root = directory::mount_detached("tracefs").map_err(|errno| {
            let hint = "run as root, or mount it: mount -t tracefs tracefs /sys/kernel/tracing";
            Error::system_hint("open tracefs, the kernel's list of tracepoints", errno, hint)
        })?;
        Ok(Tracefs { root })
    }

    /// A path to the root that other programs can use while we live.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.root.as_raw_fd())
    }

    /// The number of a tracepoint, which perf_event_open(2) takes as `config`.
    pub fn event_id(&self, category: &str, name: &str) -> Result<u64, Error> {
        let text = self.event_file(category, name, "id")?;
        text.trim().parse().map_err(|_| {
            Error::malformed(format!("read the id of tracepoint {category}:{name}"), format!("not a number: {text:?}"))
        })
    }

    /// The text that describes a tracepoint's fields.
    pub fn event_format(&self, category: &str, name: &str) -> Result<String, Error> {
        self.event_file(category, name, "format")
    }

    fn event_file(&self, category: &str, name: &str, file: &str) -> Result<String, Error> {
        let asked = || format!("read the {file} of tracepoint {category}:{name}");
        if !is_name(category) || !is_name(name) {
            return Err(Error::system_hint(asked(), Errno(libc::ENOENT), no_event_hint(category)));
        }
        directory::read_at(self.root.as_fd(), &format!("events/{category}/{name}/{file}")).map_err(
            |errno| match errno.0 {
                libc::ENOENT => Error::system_hint(asked(), errno, no_event_hint(category)),
                _ => Error::system(asked(), errno),
            },
        )
    }

    /// Tracepoints whose category and name match, sorted. A category without
    /// wildcards costs one directory read, and a name without them one more look-up.
    pub fn events(&self, category: &str, name: &str) -> Result<Vec<(String, String)>, Error> {
        let (categories, names) = (Glob::new(category), Glob::new(name));
        if categories.is_literal() && names.is_literal() {
            let exists = is_name(category)
                && is_name(name)
                && directory::open_at(self.root.as_fd(), &format!("events/{category}/{name}/format")).is_ok();
            return Ok(if exists { vec![(category.to_owned(), name.to_owned())] } else { Vec::new() });
        }
        let mut found = Vec::new();
        if categories.is_literal() {
            self.category_events(category, &names, &mut found)?;
        } else {
            for entry in self.directories("events")?.into_iter().filter(|entry| categories.matches(entry)) {
                self.category_events(&entry, &names, &mut found)?;
            }
        }
        found.sort();
        Ok(found)
    }

    fn category_events(
        &self,
        category: &str,
        names: &Glob<'_>,
        found: &mut Vec<(String, String)>,
    ) -> Result<(), Error> {
        if !is_name(category) || category == RECORDS {
            return Ok(());
        }
        let events = self.directories(&format!("events/{category}"))?;
        found.extend(events.into_iter().filter(|name| names.matches(name)).map(|name| (category.to_owned(), name)));
        Ok(())
    }

    /// Names of the directories in one; none if there is no such directory.
    fn directories(&self, path: &str) -> Result<Vec<String>, Error> {
        let entries = directory::open_at(self.root.as_fd(), path).and_then(|fd| directory::entries(fd.as_fd()));
        match entries {
            Ok(entries) => Ok(entries.into_iter().filter(|e| e.is_directory).map(|e| e.name).collect()),
            Err(Errno(libc::ENOENT | libc::ENOTDIR)) => Ok(Vec::new()),
            Err(errno) => Err(Error::system(format!("list {path} in tracefs"), errno)),
        }
    }

    /// `available_filter_functions`, to be read line by line: `name` or `name [module]`.
    /// Missing without ftrace, and unreadable on some hardened kernels.
    pub fn available_filter_functions(&self) -> Result<File, Error> {
        directory::open_at(self.root.as_fd(), "available_filter_functions")
            .map(File::from)
            .map_err(|errno| Error::system("read tracefs' available_filter_functions", errno))
    }
}

/// Functions that kprobes refuse (`kprobes/blacklist` of debugfs), sorted;
/// empty if the kernel does not tell.
pub fn kprobe_blacklist() -> Vec<String> {
    let mounted = directory::open("/sys/kernel/debug")
        .ok()
        .filter(|root| directory::file_system(root.as_fd()) == Ok(DEBUGFS_MAGIC));
    let Some(root) = mounted.or_else(|| directory::mount_detached("debugfs").ok()) else { return Vec::new() };
    let text = directory::read_at(root.as_fd(), "kprobes/blacklist").unwrap_or_default();
    // 0xffffffff81000000-0xffffffff81000010<tab>name
    let mut names: Vec<String> =
        text.lines().filter_map(|line| line.split_once('\t')).map(|(_, name)| name.trim().to_owned()).collect();
    names.sort();
    names.dedup();
    names
}

/// Whether a part of an event's name can be a directory's name.
fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('.') && !text.contains('/')
}

fn no_event_hint(category: &str) -> String {
    format!("there is no such tracepoint; list what there is: skep list 'tracepoint:{category}:*'")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracefs() -> Option<Tracefs> {
        Tracefs::open().map_err(|error| println!("skipped: {error}")).ok()
    }

    #[test]
    fn the_kernel_has_tracepoints() {
        let Some(tracefs) = tracefs() else { return };
        let all = tracefs.events("*", "*").expect("readable");
        assert!(all.is_sorted());
        assert!(all.contains(&("sched".into(), "sched_switch".into())));
        let sched = tracefs.events("sched", "*").expect("readable");
        assert!(sched.iter().all(|event| event.0 == "sched" && all.contains(event)));
        assert_eq!(
            tracefs.events("sch?d", "sched_switch").expect("readable"),
            [("sched".into(), "sched_switch".into())]
        );
        assert!(tracefs.event_id("sched", "sched_switch").expect("it exists") > 0);
        assert!(tracefs.event_format("sched", "sched_switch").expect("it exists").contains("prev_comm"));
    }

    #[test]
    fn what_is_not_there_is_an_error_or_empty() {
        let Some(tracefs) = tracefs() else { return };
        let error = tracefs.event_id("sched", "no_such_event").expect_err("it does not exist");
        assert!(error.hint().is_some_and(|hint| hint.contains("skep list")), "{error}");
        assert!(tracefs.event_id("..", "trace").is_err());
        assert!(tracefs.event_format("sched/sched_switch", "x").is_err());
        assert_eq!(tracefs.events("no_such_category", "*").expect("empty"), []);
        assert_eq!(tracefs.events("sched", "no_such_event").expect("empty"), []);
        assert_eq!(tracefs.events("..", "*").expect("empty"), []);
    }
}
