//! Which files a plugin may read.
//!
//! Keeps true: a path is judged by where it really leads; whoever is refused learns nothing about
//! files that he may not see.

use std::path::{Path, PathBuf};

use narthex_extension::FileAccess;

use crate::bindings::files::{ErrorCode, FileError};
use crate::host::file_error;

use super::root::{Root, normal};
use super::{Permits, glob, yaml_string};

impl Permits {
    /// Where `path` really lies, if the plugin may read that.
    pub(crate) fn resolve(&self, path: &str) -> Result<PathBuf, FileError> {
        let path = absolute(path)?;
        match self.root.real(&path) {
            Ok(real) => {
                self.check(&path, &real)?;
                Ok(self.root.on_disk(&real))
            }
            // Whether something is there is itself a fact about what may not be seen.
            Err(error) => match self.refusal(&self.root.place(&path)) {
                None => Err(crate::host::files::io_error(&error)),
                Some(refusal) => Err(refusal),
            },
        }
    }

    /// The path, if the plugin may read what lies just there: where it holds no symbolic link, no
    /// more is to be judged.
    pub(crate) fn plain(&self, path: &str) -> Option<PathBuf> {
        let written_out = path.strip_prefix('/')?.split('/');
        let is_plain = |name: &str| !name.is_empty() && name != "." && name != "..";
        let covered = |list: &[FileAccess]| list.iter().any(|file| covers(&file.path, path));
        let declared = covered(&self.wants.files) || covered(&self.optional.files);
        let plain = declared
            && covered(&self.grants.files)
            && !path.contains('\0')
            && written_out.clone().all(is_plain)
            && !written_out.clone().next_back().is_some_and(is_secret);
        plain.then(|| PathBuf::from(path))
    }

    /// As [`Permits::resolve`] for what need not be there: the folder that it lies in is judged,
    /// as far as it is there.
    pub(crate) fn resolve_place(&self, path: &str) -> Result<PathBuf, FileError> {
        let path = absolute(path)?;
        self.check(&path, &self.root.place(&path))?;
        Ok(path)
    }

    /// Whether the plugin may see the symbolic link at `path` itself: the folder is judged, not
    /// where the link leads.
    pub(crate) fn resolve_link(&self, path: &str) -> Result<PathBuf, FileError> {
        let path = absolute(path)?;
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(file_error(ErrorCode::Invalid, "not a symbolic link"));
        };
        match self.root.real(folder) {
            Ok(folder) => {
                let real = folder.join(name);
                self.check(&path, &real)?;
                Ok(self.root.on_disk(&real))
            }
            Err(error) => match self.refusal(&self.root.place(&path)) {
                None => Err(crate::host::files::io_error(&error)),
                Some(refusal) => Err(refusal),
            },
        }
    }

    fn check(&self, path: &Path, real: &Path) -> Result<(), FileError> {
        let Some(refusal) = self.refusal(real) else {
            return secrets(real);
        };
        // Where a link leads is told only to those who may see the link.
        if real != path && self.refusal(&normal(path)).is_none() {
            return Err(FileError {
                message: format!("it leads to {}, and {}", real.display(), refusal.message),
                ..refusal
            });
        }
        Err(self.refusal(&normal(path)).unwrap_or(refusal))
    }

    fn refusal(&self, path: &Path) -> Option<FileError> {
        let plugin = &self.plugin;
        let declared = || self.wants.files.iter().chain(&self.optional.files);
        if !self.any_reaches(declared, path) {
            return Some(file_error(
                ErrorCode::NotGranted,
                &format!(
                    "plugin {plugin} does not declare that it reads {}",
                    path.display()
                ),
            ));
        }
        if !self.any_reaches(|| self.grants.files.iter(), path) {
            let shown = path.display().to_string();
            let line = self.grant_line(&format!("files: [{}]", yaml_string(&shown)));
            return Some(file_error(
                ErrorCode::NotGranted,
                &format!("reading {shown} is not granted; in narthex.yml: {line}"),
            ));
        }
        None
    }

    /// Whether one of the patterns, as it is written or where it leads, covers the path.
    fn any_reaches<'a, I>(&self, patterns: impl Fn() -> I, path: &Path) -> bool
    where
        I: Iterator<Item = &'a FileAccess>,
    {
        let Some(text) = path.to_str() else {
            return false;
        };
        // Granting a symbolic link grants what it leads to, and so does granting what lies below it.
        let leads = |pattern: &str| {
            let led = self.root.place(Path::new(pattern));
            led.to_str().is_some_and(|led| covers(led, text))
        };
        patterns().any(|f| covers(&f.path, text)) || patterns().any(|f| leads(&f.path))
    }
}

/// Whether something may lie below both patterns, as they are written or where they lead.
pub(super) fn patterns_meet(one: &str, other: &str) -> bool {
    let meet = |one: &str, other: &str| covers(one, other) || covers(other, one);
    let machine = Root::default();
    let led = |pattern: &str| {
        let led = machine.place(Path::new(pattern));
        led.to_string_lossy().into_owned()
    };
    meet(one, other) || meet(&led(one), &led(other))
}

/// Whether `path` is what `pattern` names or lies below it.
pub(super) fn covers(pattern: &str, path: &str) -> bool {
    let mut path = segments(path);
    segments(pattern).all(|pattern| path.next().is_some_and(|name| glob(pattern, name)))
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|s| !s.is_empty() && *s != ".")
}

fn absolute(path: &str) -> Result<PathBuf, FileError> {
    let invalid = |what: &str| Err(file_error(ErrorCode::Invalid, what));
    if path.contains('\0') {
        return invalid("the path contains a zero byte");
    }
    let path = PathBuf::from(path);
    match path.is_absolute() {
        true => Ok(path),
        false => invalid("the path is not absolute"),
    }
}

/// Whoever may read /proc may still not read what the agent itself holds: its passwords are in its
/// environment and memory.
fn secrets(real: &Path) -> Result<(), FileError> {
    let mut names = real.components().skip(1).map(|c| c.as_os_str());
    let own = names.next().is_some_and(|name| name == "proc")
        && names
            .next()
            .is_some_and(|name| name == std::process::id().to_string().as_str());
    let name = real.file_name().and_then(|name| name.to_str());
    if own && name.is_some_and(is_secret) {
        return Err(file_error(
            ErrorCode::PermissionDenied,
            "the agent's own memory and environment are never granted",
        ));
    }
    Ok(())
}

fn is_secret(name: &str) -> bool {
    matches!(name, "environ" | "mem" | "auxv")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::super::tests::permits;
    use super::*;

    #[test]
    fn patterns_cover_what_lies_below() {
        for (pattern, path, expected) in [
            ("/proc", "/proc", true),
            ("/proc", "/proc/1/stat", true),
            ("/proc", "/process", false),
            ("/proc/", "/proc/stat", true),
            ("/", "/etc/passwd", true),
            ("/proc/*/stat", "/proc/1/stat", true),
            ("/proc/*/stat", "/proc/1/2/stat", false),
            ("/proc/*/stat", "/proc/1", false),
            ("/etc/*.d", "/etc/conf.d/x", true),
            ("/etc/a*b*c", "/etc/aXbYc", true),
            ("/etc/a*b*c", "/etc/aXcYb", false),
            ("/etc/*", "/etc", false),
        ] {
            assert_eq!(covers(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn an_empty_list_means_nothing() {
        for (wants, grants) in [(vec![], vec!["/"]), (vec!["/"], vec![]), (vec![], vec![])] {
            let error = permits(&wants, &grants)
                .resolve("/etc/hostname")
                .unwrap_err();
            assert_eq!(error.code, ErrorCode::NotGranted, "{wants:?} {grants:?}");
        }
        assert!(permits(&["/"], &["/"]).resolve("/etc").is_ok());
    }

    #[test]
    fn paths_are_judged_by_where_they_lead() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let at = |name: &str| root.join(name).to_str().unwrap().to_owned();
        fs::create_dir_all(root.join("open/below")).unwrap();
        fs::create_dir(root.join("closed")).unwrap();
        fs::write(root.join("open/a"), "a").unwrap();
        fs::write(root.join("closed/secret"), "s").unwrap();
        symlink(root.join("closed/secret"), root.join("open/out")).unwrap();
        symlink("a", root.join("open/in")).unwrap();
        symlink(root.join("open"), root.join("alias")).unwrap();
        symlink("/nowhere/at/all", root.join("open/dangling")).unwrap();
        let permits = permits(&["/"], &[&at("open")]);
        for (path, expected) in [
            ("open/a", None),
            ("open", None),
            ("open/below", None),
            ("open/in", None),
            // Seen through an alias it is still the granted file.
            ("alias/a", None),
            ("open/below/../a", None),
            ("open/missing", Some(ErrorCode::NotFound)),
            ("open/dangling", Some(ErrorCode::NotFound)),
            ("open/out", Some(ErrorCode::NotGranted)),
            ("open/../closed/secret", Some(ErrorCode::NotGranted)),
            ("closed/secret", Some(ErrorCode::NotGranted)),
            // Not there, but that is not for the plugin to know.
            ("closed/missing", Some(ErrorCode::NotGranted)),
            ("open/../closed/missing", Some(ErrorCode::NotGranted)),
        ] {
            let code = permits.resolve(&at(path)).err().map(|error| error.code);
            assert_eq!(code, expected, "{path}");
        }
        let message = permits.resolve(&at("open/out")).unwrap_err().message;
        assert!(message.starts_with("it leads to "), "{message}");
        let message = permits.resolve(&at("closed/secret")).unwrap_err().message;
        let secret = at("closed/secret");
        assert_eq!(
            message,
            format!(
                "reading {secret} is not granted; in narthex.yml: plugins: {{ grants: {{ p: {{ \
                 files: [{secret}] }} }} }}"
            )
        );
        assert_eq!(
            permits.resolve("relative").unwrap_err().code,
            ErrorCode::Invalid
        );
        assert_eq!(
            permits.resolve_link(&at("open/out")).unwrap(),
            root.join("open/out")
        );
        for (path, allowed) in [("open/new/*.json", true), ("closed/*", false)] {
            assert_eq!(permits.resolve_place(&at(path)).is_ok(), allowed, "{path}");
        }
    }

    #[test]
    fn granting_a_link_grants_what_it_leads_to() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::write(root.join("target"), "t").unwrap();
        symlink("target", root.join("link")).unwrap();
        let link = root.join("link").to_str().unwrap().to_owned();
        let permits = permits(&[&link], &[&link]);
        assert_eq!(permits.resolve(&link).unwrap(), root.join("target"));
    }

    #[test]
    fn wants_and_grants_meet_where_they_lead() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let at = |name: &str| root.join(name).to_str().unwrap().to_owned();
        fs::create_dir_all(root.join("run/app")).unwrap();
        fs::write(root.join("run/app/f"), "f").unwrap();
        fs::create_dir(root.join("var")).unwrap();
        symlink("../run", root.join("var/run")).unwrap();
        // As /var/run leads to /run; either may be what stands in a manifest or in a grant.
        for (want, grant) in [
            ("var/run/app", "run/app"),
            ("run/app", "var/run/app"),
            ("var/run/*", "run/app"),
            ("run/app/f", "var/run"),
        ] {
            let permits = permits(&[&at(want)], &[&at(grant)]);
            assert!(permits.missing().is_empty(), "{want} {grant}");
            for way in ["var/run/app/f", "run/app/f"] {
                let real = permits.resolve(&at(way));
                assert_eq!(
                    real.unwrap(),
                    root.join("run/app/f"),
                    "{want} {grant} {way}"
                );
            }
        }
        let permits = permits(&[&at("var/run/app")], &[&at("var/run/app")]);
        for (path, expected) in [
            ("run/app/missing", ErrorCode::NotFound),
            ("var/run/app/missing", ErrorCode::NotFound),
            ("run/other", ErrorCode::NotGranted),
        ] {
            let error = permits.resolve(&at(path)).unwrap_err();
            assert_eq!(error.code, expected, "{path}");
        }
        assert!(permits.resolve_place(&at("run/app/*.json")).is_ok());
    }

    #[test]
    fn what_is_plain_needs_no_longer_way() {
        let permits = permits(&["/proc", "/etc"], &["/proc", "/run"]);
        for (path, expected) in [
            ("/proc/stat", true),
            ("/proc", true),
            ("/etc/hostname", false),
            ("/run/x", false),
            ("/proc/../etc/shadow", false),
            ("/proc/./stat", false),
            ("/proc//stat", false),
            ("/proc/stat/", false),
            ("proc/stat", false),
            ("/proc/1/environ", false),
            ("/proc/a\0b", false),
        ] {
            assert_eq!(permits.plain(path).is_some(), expected, "{path}");
        }
    }

    #[test]
    fn the_agents_own_secrets_stay_secret() {
        let permits = permits(&["/"], &["/"]);
        for path in [
            "/proc/self/environ",
            "/proc/self/mem",
            "/proc/thread-self/environ",
        ] {
            let error = permits.resolve(path).unwrap_err();
            assert_eq!(error.code, ErrorCode::PermissionDenied, "{path}");
        }
        assert!(permits.resolve("/proc/self/stat").is_ok());
    }
}
