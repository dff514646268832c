//! SELinux.

use narthex_plugin_sdk::{Metrics, files};

use crate::descriptor::{Descriptor, gauge};
use crate::failure::Failure;
use crate::machine::Machine;

const ENABLED: Descriptor = gauge(
    "node_selinux_enabled",
    "SELinux is enabled, 1 is true, 0 is false",
);
const CONFIGURED: Descriptor = gauge(
    "node_selinux_config_mode",
    "Configured SELinux enforcement mode",
);
const CURRENT: Descriptor = gauge(
    "node_selinux_current_mode",
    "Current SELinux enforcement mode",
);

/// Never fails: what cannot be read is taken for switched off.
pub(crate) fn collect(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let mount = has_policy(machine).then(|| mount_point(machine));
    let Some(mount) = mount.flatten() else {
        ENABLED.set(metrics, 0.0);
        return Ok(());
    };
    ENABLED.set(metrics, 1.0);
    let configured = files::read_text(&machine.root("etc/selinux/config")).ok();
    CONFIGURED.set(metrics, configured_mode(&configured.unwrap_or_default()));
    let current = files::read_text(&format!("{mount}/enforce"));
    let mode = current.ok().and_then(|text| text.trim().parse().ok());
    CURRENT.set(metrics, mode.unwrap_or(DISABLED));
    Ok(())
}

const DISABLED: f64 = -1.0;

/// Where the kernel's switches are mounted, if they are.
fn mount_point(machine: &Machine) -> Option<String> {
    let mounts = files::read_text(&machine.proc("self/mountinfo")).ok()?;
    let line = mounts.lines().find(|line| {
        let mut after = line.split(" - ").skip(1);
        after
            .next()
            .is_some_and(|after| after.starts_with("selinuxfs "))
    })?;
    Some(line.split(' ').nth(4)?.to_owned())
}

/// Until a policy is loaded every process is the kernel's.
fn has_policy(machine: &Machine) -> bool {
    let context = files::read_text(&machine.proc("self/attr/current"));
    context.is_ok_and(|context| context.trim_end_matches(['\0', '\n']) != "kernel")
}

/// What a line `SELINUX=enforcing` says.
fn configured_mode(text: &str) -> f64 {
    let mut values = text.lines().filter_map(|line| {
        let (key, value) = line.trim().split_once('=')?;
        (key.trim() == "SELINUX").then(|| value.trim())
    });
    match values.next() {
        Some("enforcing") => 1.0,
        Some("permissive") => 0.0,
        _ => DISABLED,
    }
}

#[cfg(test)]
mod tests {
    use narthex_plugin_sdk::{fake, testing};

    use super::*;
    use crate::options::Options;

    fn lines() -> Vec<String> {
        let machine = Machine::new(&Options::new(crate::Config::default()).unwrap()).unwrap();
        let mut metrics = Metrics::new();
        collect(&machine, &mut metrics).unwrap();
        testing::lines(&metrics.finish().unwrap())
    }

    #[test]
    fn tells_whether_it_is_on_and_how() {
        let host = fake::Host::install();
        assert_eq!(lines(), ["node_selinux_enabled 0"]);
        let mounts = "25 1 0:22 / /sys/fs/selinux rw - selinuxfs selinuxfs rw\n";
        host.write("/proc/self/mountinfo", mounts);
        host.write("/proc/self/attr/current", "kernel\0");
        assert_eq!(lines(), ["node_selinux_enabled 0"]);
        host.write("/proc/self/attr/current", "system_u:system_r:init_t:s0\0");
        host.write(
            "/etc/selinux/config",
            "# x\nSELINUX=enforcing\nSELINUXTYPE=targeted\n",
        );
        host.write("/sys/fs/selinux/enforce", "0");
        assert_eq!(
            lines(),
            [
                "node_selinux_enabled 1",
                "node_selinux_config_mode 1",
                "node_selinux_current_mode 0"
            ]
        );
        host.remove("/etc/selinux/config");
        assert!(lines().contains(&"node_selinux_config_mode -1".to_owned()));
    }
}
