//! Small facts about the machine: cgroups, the pid namespace, users.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Inode of the initial pid namespace (`PROC_PID_INIT_INO` of `include/linux/proc_ns.h`).
const INITIAL_PID_NAMESPACE: u64 = 0xefff_fffc;

/// Device and inode of our pid namespace, as `bpf_get_ns_current_pid_tgid` takes
/// them; `None` in the initial one, where pids are the kernel's own.
pub fn pid_namespace() -> Option<(u64, u64)> {
    let status = std::fs::metadata("/proc/self/ns/pid").ok()?;
    (status.ino() != INITIAL_PID_NAMESPACE).then(|| (status.dev(), status.ino()))
}

/// Where the cgroup2 hierarchy is mounted.
pub fn cgroup2_mount() -> Option<PathBuf> {
    mount_of(&std::fs::read_to_string("/proc/self/mountinfo").ok()?, "cgroup2")
}

/// `36 35 98:0 / /mnt rw,noatime master:1 - ext3 /dev/root rw`: of the line with this type, the fifth word.
fn mount_of(mountinfo: &str, kind: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        (file_system.split(' ').next() == Some(kind)).then_some(())?;
        Some(PathBuf::from(mount.split(' ').nth(4)?.replace("\\040", " ")))
    })
}

/// The id of a cgroup, which is its directory's inode: an absolute path, or
/// one below the cgroup2 mount.
pub fn cgroup_id(path: &str) -> Result<u64, Error> {
    let asked = || format!("find the cgroup {path:?}");
    let directory = if path.starts_with('/') && Path::new(path).is_dir() {
        PathBuf::from(path)
    } else {
        let mount = cgroup2_mount().ok_or_else(|| Error::Refused {
            asked: asked(),
            reason: "no cgroup2 hierarchy is mounted".into(),
            hint: Some("mount it: mount -t cgroup2 none /sys/fs/cgroup".into()),
        })?;
        mount.join(path.trim_start_matches('/'))
    };
    match std::fs::metadata(&directory) {
        Ok(status) if status.is_dir() => Ok(status.ino()),
        Ok(_) => Err(Error::refused(asked(), "not a directory")),
        Err(error) => Err(Error::io(asked(), &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_by_type() {
        let text =
            "21 1 0:20 / /sys rw - sysfs sysfs rw\n30 21 0:26 / /sys/fs/cg\\0402 rw shared:4 - cgroup2 cgroup2 rw\n";
        assert_eq!(mount_of(text, "cgroup2"), Some(PathBuf::from("/sys/fs/cg 2")));
        assert_eq!(mount_of(text, "bpf"), None);
        assert_eq!(mount_of("damaged - \n - cgroup2", "cgroup2"), None);
    }

    #[test]
    fn a_cgroup_is_a_directory() {
        assert_eq!(cgroup_id("/proc").expect("a directory"), std::fs::metadata("/proc").expect("it is there").ino());
        assert!(cgroup_id("no/such/group").is_err());
    }
}
