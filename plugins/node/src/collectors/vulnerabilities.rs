//! What the processor's design leaves open, and what the kernel does about it.

use narthex_plugin_sdk::{Metrics, files};

use crate::descriptor::{Descriptor, gauge};
use crate::failure::{At, Failure};
use crate::machine::Machine;
use crate::text::read_many;

const INFO: Descriptor = gauge(
    "node_cpu_vulnerabilities_info",
    "Details of each CPU vulnerability reported by sysfs. The value of the series is an int encoded state of the vulnerability. The same state is stored as a string in the label",
);

pub(crate) fn collect(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let folder = machine.sys("devices/system/cpu/vulnerabilities");
    let entries = match files::entries(&folder) {
        Err(error) if error.is_not_found() => return Ok(()),
        entries => entries.at(&folder)?,
    };
    let path = |name: &str| format!("{folder}/{name}");
    let paths: Vec<String> = entries.iter().map(|entry| path(&entry.name)).collect();
    for ((entry, path), text) in entries.iter().zip(&paths).zip(read_many(&paths)) {
        let text = text.at(path)?;
        let (state, mitigation) = parse(text.trim());
        let values = [entry.name.as_str(), &mitigation, state];
        INFO.add(metrics, ["codename", "mitigation", "state"], values, 1.0);
    }
    Ok(())
}

/// The state, and what is said of it.
fn parse(text: &str) -> (&'static str, String) {
    const STATES: [&str; 4] = ["not affected", "vulnerable", "mitigation", "unknown"];
    let lower = text.to_lowercase();
    match STATES.into_iter().find(|state| lower.starts_with(state)) {
        Some("not affected") => ("not affected", String::new()),
        Some(state) => {
            let words: Vec<&str> = text.split_whitespace().skip(1).collect();
            (state, words.join(" "))
        }
        None => ("unknown", text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_told_apart() {
        for (text, state, mitigation) in [
            ("Not affected", "not affected", ""),
            ("Vulnerable", "vulnerable", ""),
            ("Vulnerable: no microcode", "vulnerable", "no microcode"),
            ("Mitigation: PTI;  SMT off", "mitigation", "PTI; SMT off"),
            (
                "KVM: Mitigation: VMX disabled",
                "unknown",
                "KVM: Mitigation: VMX disabled",
            ),
        ] {
            assert_eq!(parse(text), (state, mitigation.to_owned()));
        }
    }
}
