//! Which files a plugin may read.
//!
//! Keeps true: a path is judged by where it really leads; whoever is refused learns nothing about
//! files that he may not see.

use std::path::{Component, Path, PathBuf};

use crate::bindings::files::{ErrorCode, FileError};
use crate::host::file_error;

use super::{Permits, glob};

impl Permits {
    /// Where `path` really lies, if the plugin may read that.
    pub(crate) fn resolve(&self, path: &str) -> Result<PathBuf, FileError> {
        let path = absolute(path)?;
        match path.canonicalize() {
            Ok(real) => {
                self.check(&path, &real)?;
                Ok(real)
            }
            // Whether something is there is itself a fact about what may not be seen.
            Err(error) => match self.refusal(&normal(&path)) {
                None => Err(crate::host::files::io_error(&error)),
                Some(refusal) => Err(refusal),
            },
        }
    }

    /// As [`Permits::resolve`] for what need not be there: the folder that it lies in is judged,
    /// as far as it is there.
    pub(crate) fn resolve_place(&self, path: &str) -> Result<PathBuf, FileError> {
        let path = absolute(path)?;
        let there = path
            .ancestors()
            .find_map(|ancestor| Some((ancestor, ancestor.canonicalize().ok()?)));
        let real = match there {
            Some((ancestor, real)) => match path.strip_prefix(ancestor) {
                Ok(rest) if rest.as_os_str().is_empty() => real,
                Ok(rest) => real.join(rest),
                Err(_) => path.clone(),
            },
            None => path.clone(),
        };
        self.check(&path, &normal(&real))?;
        Ok(path)
    }

    /// Whether the plugin may see the symbolic link at `path` itself: the folder is judged, not
    /// where the link leads.
    pub(crate) fn resolve_link(&self, path: &str) -> Result<PathBuf, FileError> {
        let path = absolute(path)?;
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(file_error(ErrorCode::Invalid, "not a symbolic link"));
        };
        match folder.canonicalize() {
            Ok(folder) => {
                let real = folder.join(name);
                self.check(&path, &real)?;
                Ok(real)
            }
            Err(error) => match self.refusal(&normal(&path)) {
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
        let mut declared = self.wants.files.iter().chain(&self.optional.files);
        if !declared.any(|f| reaches(&f.path, path)) {
            return Some(file_error(
                ErrorCode::NotGranted,
                &format!(
                    "plugin {plugin} does not declare that it reads {}",
                    path.display()
                ),
            ));
        }
        if !self.grants.files.iter().any(|f| reaches(&f.path, path)) {
            return Some(file_error(
                ErrorCode::NotGranted,
                &format!(
                    "reading {0} is not granted: add it, or a folder above it, to \
                     plugins.grants.{plugin}.files",
                    path.display()
                ),
            ));
        }
        None
    }
}

/// Whether `pattern`, as it is written or where it leads, covers the path.
fn reaches(pattern: &str, path: &Path) -> bool {
    let Some(text) = path.to_str() else {
        return false;
    };
    if covers(pattern, text) {
        return true;
    }
    // Granting a symbolic link grants what it leads to.
    match Path::new(pattern).canonicalize() {
        Ok(real) => real.to_str().is_some_and(|real| covers(real, text)),
        Err(_) => false,
    }
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

/// Without `.` and `..`, by text alone: for paths that lead nowhere.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

/// Whoever may read /proc may still not read what the agent itself holds: its passwords are in its
/// environment and memory.
fn secrets(real: &Path) -> Result<(), FileError> {
    let mut names = real.components().skip(1).map(|c| c.as_os_str());
    let own = names.next().is_some_and(|name| name == "proc")
        && names
            .next()
            .is_some_and(|name| name == std::process::id().to_string().as_str());
    let secret = real
        .file_name()
        .is_some_and(|name| name == "environ" || name == "mem" || name == "auxv");
    if own && secret {
        return Err(file_error(
            ErrorCode::PermissionDenied,
            "the agent's own memory and environment are never granted",
        ));
    }
    Ok(())
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
        assert!(message.ends_with("to plugins.grants.p.files"), "{message}");
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
