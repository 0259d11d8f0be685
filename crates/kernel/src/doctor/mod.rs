//! What this kernel and this user can do, and what each lack costs.

mod checks;

use std::fmt::Write;

/// The findings, by section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// As `uname -r` prints it.
    pub kernel: String,
    pub architecture: &'static str,
    pub sections: Vec<Section>,
}

/// Findings about one matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    pub name: &'static str,
    pub items: Vec<Item>,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub name: String,
    pub state: State,
    /// What was found, or why it is not there; may be empty.
    pub detail: String,
    /// What the lack costs and what to do; only where there is a lack.
    pub cost: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Yes,
    No,
    /// This user may not try, or it can't be told.
    NotTried,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::Yes => "yes",
            State::No => "no",
            State::NotTried => "?",
        }
    }
}

/// Tries everything. Takes some tenths of a second: kernels give trampolines and kprobes
/// back slowly.
pub fn report() -> Report {
    Report { kernel: crate::kernel_release(), architecture: std::env::consts::ARCH, sections: checks::sections() }
}

impl Report {
    /// For people: a line a finding, and under each lack what it costs.
    pub fn to_text(&self) -> String {
        let mut out = format!("Linux {} on {}\n", self.kernel, self.architecture);
        for section in &self.sections {
            let _ = write!(out, "\n{}\n", section.name);
            let width = section.items.iter().map(|item| item.name.chars().count()).max().unwrap_or(0);
            for item in &section.items {
                let line = format!("  {:<3}  {:<width$}  {}", item.state.word(), item.name, item.detail);
                let _ = writeln!(out, "{}", line.trim_end());
                if let Some(cost) = item.cost {
                    let _ = writeln!(out, "       {:<width$}  → {cost}", "");
                }
            }
        }
        out
    }

    /// For programs: one JSON object with `kernel`, `architecture` and `sections`; a section has
    /// `name` and `items`; an item `name`, `state` (`yes`, `no`, `not tried`), `detail` and
    /// `cost` (null where nothing is lacking).
    pub fn to_json(&self) -> String {
        let sections: Vec<String> = self.sections.iter().map(section_json).collect();
        format!(
            "{{\"kernel\": {}, \"architecture\": {}, \"sections\": [{}]}}\n",
            json_string(&self.kernel),
            json_string(self.architecture),
            sections.join(", ")
        )
    }
}

fn section_json(section: &Section) -> String {
    let items: Vec<String> = section
        .items
        .iter()
        .map(|item| {
            let state = match item.state {
                State::NotTried => "not tried",
                state => state.word(),
            };
            format!(
                "{{\"name\": {}, \"state\": \"{state}\", \"detail\": {}, \"cost\": {}}}",
                json_string(&item.name),
                json_string(&item.detail),
                item.cost.map_or("null".to_owned(), json_string)
            )
        })
        .collect();
    format!("{{\"name\": {}, \"items\": [{}]}}", json_string(section.name), items.join(", "))
}

/// A string as RFC 8259 has it.
fn json_string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let report = Report {
            kernel: "6.1.0".into(),
            architecture: "x86_64",
            sections: vec![Section {
                name: "Probes",
                items: vec![
                    Item { name: "tracepoint".into(), state: State::Yes, detail: String::new(), cost: None },
                    Item {
                        name: "kprobe".into(),
                        state: State::No,
                        detail: "said \"no\"\n".into(),
                        cost: Some("use a tracepoint"),
                    },
                ],
            }],
        };
        let text = "Linux 6.1.0 on x86_64\n\nProbes\n  yes  tracepoint\n  no   kprobe      said \"no\"\n                   → use a tracepoint\n";
        assert_eq!(report.to_text(), text);
        let json = "{\"kernel\": \"6.1.0\", \"architecture\": \"x86_64\", \"sections\": [{\"name\": \"Probes\", \"items\": [\
            {\"name\": \"tracepoint\", \"state\": \"yes\", \"detail\": \"\", \"cost\": null}, \
            {\"name\": \"kprobe\", \"state\": \"no\", \"detail\": \"said \\\"no\\\"\\n\", \"cost\": \"use a tracepoint\"}]}]}\n";
        assert_eq!(report.to_json(), json);
    }

    #[test]
    fn this_machine_is_reported() {
        let report = report();
        assert!(report.sections.iter().all(|section| !section.items.is_empty()));
        let lacks = report.sections.iter().flat_map(|section| &section.items).filter(|item| item.state == State::No);
        for item in lacks {
            assert!(item.cost.is_some(), "{} is lacking, but not what that costs", item.name);
        }
        eprintln!("{}", report.to_text());
    }
}
