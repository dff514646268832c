//! Where the machine's files lie.
//!
//! An agent in a container sees the machine's /proc, /sys and / somewhere else; the options
//! `path.*` say where.

use std::cell::RefCell;
use std::rc::Rc;

use narthex_plugin_sdk::ConfigError;

use crate::failure::Failure;
use crate::options::Options;
use crate::text::read;

#[derive(Debug)]
pub(crate) struct Machine {
    procfs: String,
    sysfs: String,
    rootfs: String,
    udev_data: String,
    /// What /proc/stat says in this collection: the kernel takes long to write it, and two
    /// collectors read it.
    stat: RefCell<Option<Rc<str>>>,
}

impl Machine {
    pub(crate) fn new(options: &Options) -> Result<Self, ConfigError> {
        let path = |name: &'static str, default: &str| -> Result<String, ConfigError> {
            let path = options.text(name)?.unwrap_or(default);
            match path.starts_with('/') {
                true => Ok(path.trim_end_matches('/').to_owned()),
                false => Err(ConfigError::new(
                    name,
                    format!("expected an absolute path, not {path:?}"),
                )),
            }
        };
        Ok(Machine {
            procfs: path("path.procfs", "/proc")?,
            sysfs: path("path.sysfs", "/sys")?,
            rootfs: path("path.rootfs", "/")?,
            udev_data: path("path.udev.data", "/run/udev/data")?,
            stat: RefCell::default(),
        })
    }

    /// Begins a collection.
    pub(crate) fn forget(&self) {
        self.stat.take();
    }

    /// The text of /proc/stat.
    pub(crate) fn stat(&self) -> Result<Rc<str>, Failure> {
        if let Some(text) = &*self.stat.borrow() {
            return Ok(text.clone());
        }
        let text: Rc<str> = read(&self.proc("stat"))?.into();
        self.stat.replace(Some(text.clone()));
        Ok(text)
    }

    /// A path below /proc, as `net/dev`.
    pub(crate) fn proc(&self, path: &str) -> String {
        join(&self.procfs, path)
    }

    /// A path below /sys.
    pub(crate) fn sys(&self, path: &str) -> String {
        join(&self.sysfs, path)
    }

    /// A path below /, as `etc/os-release`.
    pub(crate) fn root(&self, path: &str) -> String {
        join(&self.rootfs, path)
    }

    pub(crate) fn udev(&self, name: &str) -> String {
        join(&self.udev_data, name)
    }

    /// The mount point as the machine itself names it, if it lies on the machine at all.
    pub(crate) fn without_root<'a>(&self, mount_point: &'a str) -> &'a str {
        match mount_point.strip_prefix(&self.rootfs) {
            Some("") => "/",
            Some(below) if below.starts_with('/') => below,
            _ => mount_point,
        }
    }
}

fn join(folder: &str, path: &str) -> String {
    let mut joined = String::with_capacity(folder.len() + 1 + path.len());
    joined.push_str(folder);
    joined.push('/');
    joined.push_str(path);
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lie_where_the_options_say() {
        let machine = |json: &str| -> Result<Machine, ConfigError> {
            let config = narthex_plugin_sdk::config::parse(json)?;
            Machine::new(&Options::new(config)?)
        };
        let plain = machine("{}").unwrap();
        assert_eq!(plain.proc("net/dev"), "/proc/net/dev");
        assert_eq!(plain.root("etc/os-release"), "/etc/os-release");
        assert_eq!(plain.without_root("/"), "/");
        assert_eq!(plain.without_root("/home"), "/home");
        let moved = machine(r#"{"path": {"rootfs": "/host/", "sysfs": "/host/sys"}}"#).unwrap();
        assert_eq!(moved.sys("block"), "/host/sys/block");
        assert_eq!(moved.root("etc/os-release"), "/host/etc/os-release");
        for (mount_point, expected) in [
            ("/host", "/"),
            ("/host/home", "/home"),
            ("/hostile", "/hostile"),
            ("/", "/"),
        ] {
            assert_eq!(moved.without_root(mount_point), expected, "{mount_point}");
        }
        let error = machine(r#"{"path.procfs": "proc"}"#).unwrap_err();
        assert_eq!(
            error.to_string(),
            "path.procfs: expected an absolute path, not \"proc\""
        );
    }
}
