//! What the administrator set that decides what BPF may do.

use std::os::fd::AsFd;

use crate::directory;

/// The lockdown mode: `none`, `integrity` or `confidentiality`. `None` if the kernel has no
/// lockdown, or if securityfs is neither mounted nor ours to open.
pub fn lockdown() -> Option<String> {
    selected(&security_file("lockdown")?).map(str::to_owned)
}

/// The active security modules, comma-separated, in their order.
pub fn active_lsms() -> Option<String> {
    security_file("lsm").map(|text| text.trim().to_owned())
}

/// A file of securityfs, mounted or not.
fn security_file(name: &str) -> Option<String> {
    std::fs::read_to_string(format!("/sys/kernel/security/{name}")).ok().or_else(|| {
        let root = directory::mount_detached("securityfs").ok()?;
        directory::read_at(root.as_fd(), name).ok()
    })
}

/// The choice in brackets: `none [integrity] confidentiality`.
fn selected(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once('[')?;
    let (choice, _) = rest.split_once(']')?;
    Some(choice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_is_in_brackets() {
        assert_eq!(selected("none [integrity] confidentiality\n"), Some("integrity"));
        assert_eq!(selected("none\n"), None);
        assert_eq!(selected("[x"), None);
    }
}
