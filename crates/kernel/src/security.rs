//! What the administrator set that decides what BPF may do.

/// The lockdown mode: `none`, `integrity` or `confidentiality`. `None` if the kernel has no
/// lockdown or securityfs is not mounted.
pub fn lockdown() -> Option<String> {
    let text = std::fs::read_to_string("/sys/kernel/security/lockdown").ok()?;
    selected(&text).map(str::to_owned)
}

/// The active security modules, comma-separated, in their order.
pub fn active_lsms() -> Option<String> {
    std::fs::read_to_string("/sys/kernel/security/lsm").ok().map(|text| text.trim().to_owned())
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
