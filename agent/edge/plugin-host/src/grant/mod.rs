//! What a plugin may do: what it declared *and* the user granted.
//!
//! Keeps true: the empty list means nothing, on either side; whoever is refused learns whether it was
//! the declaration or the grant that lacked, and which line of `narthex.yml` would add it.

pub(crate) mod address;
mod files;
mod root;
pub(crate) mod url;

use std::collections::BTreeMap;

use ::url::Url;
use narthex_extension::Capabilities;
use narthex_http_client::HttpClientConfig;

use self::files::{covers, patterns_meet};
pub(crate) use self::root::Root;
use self::url::Pattern;

/// One plugin's declaration and grant.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Permits {
    pub(crate) plugin: String,
    pub(crate) wants: Capabilities,
    pub(crate) optional: Capabilities,
    pub(crate) grants: Capabilities,
    /// What is added to requests, by the `url` of the entry in the grants.
    pub(crate) http: BTreeMap<String, HttpClientConfig>,
    /// Where its files lie.
    pub(crate) root: Root,
}

impl Permits {
    /// The wants of which nothing at all is granted. A grant that is narrower than the want is a
    /// decision, not an omission: what lies outside of it is refused call by call.
    pub(crate) fn missing(&self) -> Capabilities {
        let (wants, grants) = (&self.wants, &self.grants);
        Capabilities {
            files: wants
                .files
                .iter()
                .filter(|want| {
                    !grants
                        .files
                        .iter()
                        .any(|grant| patterns_meet(&want.path, &grant.path))
                })
                .cloned()
                .collect(),
            http: wants
                .http
                .iter()
                .filter(|want| {
                    !grants
                        .http
                        .iter()
                        .any(|grant| urls_meet(&want.url, &grant.url))
                })
                .cloned()
                .collect(),
            dns: wants
                .dns
                .iter()
                .filter(|want| !grants.dns.iter().any(|grant| globs_meet(want, grant)))
                .cloned()
                .collect(),
            env: wants
                .env
                .iter()
                .filter(|want| !grants.env.contains(want))
                .cloned()
                .collect(),
            system: wants.system && !grants.system,
            query: wants.query && !grants.query,
        }
    }

    /// The lines of `narthex.yml` that grant all that the plugin wants or could use, besides what
    /// is granted already.
    pub(crate) fn yaml(&self) -> String {
        format!("plugins:\n  grants:\n    {}\n", self.yaml_entry())
    }

    /// The last of these lines.
    pub(crate) fn yaml_entry(&self) -> String {
        let missing = self.missing();
        let sides = [&self.grants, &missing, &self.optional];
        let mut files: [Vec<&str>; 3] =
            sides.map(|side| side.files.iter().map(|file| file.path.as_str()).collect());
        let mut http: [Vec<&str>; 3] =
            sides.map(|side| side.http.iter().map(|http| http.url.as_str()).collect());
        let mut dns: [Vec<&str>; 3] =
            sides.map(|side| side.dns.iter().map(String::as_str).collect());
        // Who can make use of whatever a configuration names needs only what it does name.
        files[2].retain(|path| *path != "/");
        http[2].retain(|url| *url != "*://*");
        dns[2].retain(|name| *name != "*");
        let env = sides.map(|side| side.env.iter().map(String::as_str).collect());
        let lists: [(&str, [Vec<&str>; 3]); 4] =
            [("files", files), ("http", http), ("dns", dns), ("env", env)];
        let mut fields = Vec::new();
        for (name, sides) in lists {
            let mut all: Vec<&str> = Vec::new();
            for text in sides.into_iter().flatten() {
                if !all.iter().any(|there| covers(there, text)) {
                    all.push(text);
                }
            }
            if !all.is_empty() {
                let all: Vec<String> = all.into_iter().map(yaml_string).collect();
                fields.push(format!("{name}: [{}]", all.join(", ")));
            }
        }
        if sides[0].system || self.wants.system || self.optional.system {
            fields.push("system: true".to_owned());
        }
        if sides[0].query || self.wants.query || self.optional.query {
            fields.push("query: true".to_owned());
        }
        format!("{}: {{ {} }}", yaml_string(&self.plugin), fields.join(", "))
    }

    pub(crate) fn environment(&self, name: &str) -> Result<(), String> {
        let plugin = &self.plugin;
        let has = |list: &[String]| list.iter().any(|allowed| allowed == name);
        if !has(&self.wants.env) && !has(&self.optional.env) {
            return Err(format!(
                "plugin {plugin} does not declare that it reads the environment variable {name}"
            ));
        }
        if !has(&self.grants.env) {
            return Err(format!(
                "reading the environment variable {name} is not granted; in narthex.yml: {}",
                self.grant_line(&format!("env: [{}]", yaml_string(name)))
            ));
        }
        Ok(())
    }

    /// Whether the plugin may send a request. Gives what the grant adds to it.
    pub(crate) fn http(
        &self,
        url: &Url,
        method: &str,
    ) -> Result<Option<&HttpClientConfig>, String> {
        let plugin = &self.plugin;
        let shown = url::shown(url);
        if url::climbs(url) {
            return Err(format!(
                "{shown}: a path that climbs by `..` is never granted"
            ));
        }
        let means = |text: &str| Pattern::parse(text).is_some_and(|pattern| pattern.matches(url));
        let mut declared = self.wants.http.iter().chain(&self.optional.http);
        if !declared.any(|want| means(&want.url)) {
            return Err(format!(
                "plugin {plugin} does not declare that it requests {shown}"
            ));
        }
        let special = url::special_host(url);
        let names_it = |text: &str| Pattern::parse(text).is_some_and(|p| p.names_host());
        let grants = || self.grants.http.iter().filter(|grant| means(&grant.url));
        let may_use =
            |methods: &[String]| methods.is_empty() || methods.iter().any(|may| may == method);
        let granted = grants()
            .find(|grant| may_use(&grant.methods) && (special.is_none() || names_it(&grant.url)));
        if let Some(grant) = granted {
            return Ok(self.http.get(&grant.url));
        }
        let line = self.grant_line(&format!("http: [{}]", yaml_string(&shown)));
        Err(match (grants().next(), special) {
            (Some(_), Some(kind)) => format!(
                "{shown} is a {kind} address, which only a grant that names it allows; in \
                 narthex.yml: {line}"
            ),
            (Some(_), None) => format!(
                "requesting {shown} is granted, but not with the method {method}: add it to the \
                 entry's `methods`"
            ),
            (None, _) => format!("requesting {shown} is not granted; in narthex.yml: {line}"),
        })
    }

    /// Whether the plugin may look up a name.
    pub(crate) fn dns(&self, name: &str) -> Result<(), String> {
        let plugin = &self.plugin;
        let asked = name.trim_end_matches('.').to_lowercase();
        let has = |list: &[String]| {
            let mut patterns = list.iter().map(|pattern| pattern.to_lowercase());
            patterns.any(|pattern| glob(pattern.trim_end_matches('.'), &asked))
        };
        if !has(&self.wants.dns) && !has(&self.optional.dns) {
            return Err(format!(
                "plugin {plugin} does not declare that it looks up {name}"
            ));
        }
        if !has(&self.grants.dns) {
            return Err(format!(
                "looking up {name} is not granted; in narthex.yml: {}",
                self.grant_line(&format!("dns: [{}]", yaml_string(&asked)))
            ));
        }
        Ok(())
    }

    pub(crate) fn query(&self) -> Result<(), String> {
        if !self.wants.query && !self.optional.query {
            return Err(format!(
                "plugin {} does not declare that it queries",
                self.plugin
            ));
        }
        if !self.grants.query {
            return Err(format!(
                "queries are not granted; in narthex.yml: {}",
                self.grant_line("query: true")
            ));
        }
        Ok(())
    }

    /// What would add to the grants.
    fn grant_line(&self, entry: &str) -> String {
        let plugin = yaml_string(&self.plugin);
        format!("plugins: {{ grants: {{ {plugin}: {{ {entry} }} }} }}")
    }

    pub(crate) fn system(&self) -> Result<(), String> {
        let plugin = &self.plugin;
        if !self.wants.system && !self.optional.system {
            return Err(format!(
                "plugin {plugin} does not declare that it wants system facts"
            ));
        }
        if !self.grants.system {
            return Err(format!(
                "system facts are not granted; in narthex.yml: {}",
                self.grant_line("system: true")
            ));
        }
        Ok(())
    }
}

/// `*` stands for any run of characters; all else for itself.
fn glob(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut name) = name.strip_prefix(head) else {
        return false;
    };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return name.ends_with(part);
        }
        match name.find(part) {
            Some(at) => name = &name[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// Whether some text fits both patterns.
fn globs_meet(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    // For each place in `other`, whether what follows it meets what follows the place in `one`
    // that was looked at last; from the ends to the beginnings.
    let mut below = vec![false; other.len() + 1];
    for row in (0..=one.len()).rev() {
        let mut meets = vec![false; other.len() + 1];
        for column in (0..=other.len()).rev() {
            meets[column] = match (one.get(row), other.get(column)) {
                (None, None) => true,
                (Some(b'*'), None) => below[column],
                (Some(_), Some(b'*')) | (Some(b'*'), Some(_)) => below[column] || meets[column + 1],
                (None, Some(b'*')) => meets[column + 1],
                (Some(a), Some(b)) => a == b && below[column + 1],
                _ => false,
            };
        }
        below = meets;
    }
    below.first().copied().unwrap_or(false)
}

fn urls_meet(want: &str, grant: &str) -> bool {
    match (Pattern::parse(want), Pattern::parse(grant)) {
        (Some(want), Some(grant)) => want.meets(&grant),
        _ => false,
    }
}

/// As it stands in a flow sequence, quoted only where it has to be.
fn yaml_string(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/' || c == '.')
        && text.chars().all(plain)
    {
        return text.to_owned();
    }
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use narthex_extension::{FileAccess, HttpAccess};

    use super::*;

    fn files(paths: &[&str]) -> Capabilities {
        Capabilities {
            files: paths
                .iter()
                .map(|path| FileAccess {
                    path: (*path).to_owned(),
                })
                .collect(),
            ..Capabilities::default()
        }
    }

    pub(super) fn permits(wants: &[&str], grants: &[&str]) -> Permits {
        Permits {
            plugin: "p".to_owned(),
            wants: files(wants),
            optional: Capabilities::default(),
            grants: files(grants),
            ..Permits::default()
        }
    }

    fn requests(wants: &[&str], grants: &[&str]) -> Permits {
        let http = |urls: &[&str]| Capabilities {
            http: urls.iter().map(|url| access(url)).collect(),
            ..Capabilities::default()
        };
        Permits {
            plugin: "p".to_owned(),
            wants: http(wants),
            grants: http(grants),
            ..Permits::default()
        }
    }

    fn access(url: &str) -> HttpAccess {
        HttpAccess {
            url: url.to_owned(),
            methods: Vec::new(),
        }
    }

    #[test]
    fn requests_need_a_grant_and_special_hosts_one_that_names_them() {
        let any = &["*://*"][..];
        let ask = |permits: &Permits, url: &str| {
            let url = Url::parse(url).unwrap();
            permits.http(&url, "GET").map(|_| ()).unwrap_err_or_empty()
        };
        for (wants, grants, url, expected) in [
            (any, any, "https://a.test/x", ""),
            (
                any,
                &[][..],
                "https://a.test/x?token=1",
                "requesting https://a.test/x is not granted; \
              in narthex.yml: plugins: { grants: { p: { http: [\"https://a.test/x\"] } } }",
            ),
            (
                &[][..],
                any,
                "https://a.test/x",
                "plugin p does not declare that it requests https://a.test/x",
            ),
            (
                any,
                any,
                "http://169.254.169.254/latest",
                "http://169.254.169.254/latest is a link-local address",
            ),
            (
                any,
                any,
                "http://localhost:22/",
                "http://localhost:22/ is a loopback address",
            ),
            (
                any,
                &["*://*", "http://localhost:80"],
                "http://localhost:22/",
                "http://localhost:22/ is a loopback",
            ),
            (any, &["http://localhost:22"], "http://localhost:22/", ""),
            (any, &["http://127.0.0.1:22"], "http://127.0.0.1:22/", ""),
            (
                any,
                &["http://127.0.0.*:22"],
                "http://127.0.0.1:22/",
                "http://127.0.0.1:22/ is a loopback",
            ),
            (
                any,
                &["http://169.254.169.254"],
                "http://169.254.169.254/latest",
                "",
            ),
            (
                any,
                any,
                "https://a.test/v1/..%2fv2",
                "https://a.test/v1/..%2fv2: a path that climbs",
            ),
        ] {
            let said = ask(&requests(wants, grants), url);
            assert!(
                said.starts_with(expected) && said.is_empty() == expected.is_empty(),
                "{url}: {said}"
            );
        }
        let mut permits = requests(any, any);
        permits.grants.http[0].methods = vec!["HEAD".to_owned()];
        let said = ask(&permits, "https://a.test/");
        assert!(said.contains("not with the method GET"), "{said}");
    }

    trait Said {
        fn unwrap_err_or_empty(self) -> String;
    }

    impl Said for Result<(), String> {
        fn unwrap_err_or_empty(self) -> String {
            self.err().unwrap_or_default()
        }
    }

    #[test]
    fn names_are_looked_up_where_both_sides_say_so() {
        let mut permits = Permits {
            plugin: "p".to_owned(),
            ..Permits::default()
        };
        permits.wants.dns = vec!["*".to_owned()];
        let said = permits.dns("a.test.").unwrap_err();
        assert!(
            said.ends_with("plugins: { grants: { p: { dns: [a.test] } } }"),
            "{said}"
        );
        permits.grants.dns = vec!["*.A.test".to_owned()];
        assert_eq!(permits.dns("b.a.test."), Ok(()));
        assert!(permits.dns("a.test").is_err());
        permits.wants.dns.clear();
        assert!(
            permits
                .dns("b.a.test")
                .unwrap_err()
                .contains("does not declare")
        );
    }

    #[test]
    fn globs_meet_where_a_text_fits_both() {
        for (one, other, expected) in [
            ("a", "a", true),
            ("a", "b", false),
            ("*", "", true),
            ("*", "abc", true),
            ("a*", "*b", true),
            ("a*c", "ab*", true),
            ("a*c", "b*", false),
            ("*a*", "bb", false),
            ("", "", true),
            ("a", "", false),
        ] {
            assert_eq!(globs_meet(one, other), expected, "{one} {other}");
            assert_eq!(globs_meet(other, one), expected, "{other} {one}");
        }
    }

    #[test]
    fn missing_grants_come_as_lines_to_paste() {
        let mut permits = permits(&["/proc", "/sys"], &["/proc/stat"]);
        permits.wants.system = true;
        permits.wants.http.push(access("https://a/*"));
        permits.optional = files(&["/run/udev/data", "/sys/block"]);
        let missing = permits.missing();
        assert_eq!(missing.files, files(&["/sys"]).files);
        assert!(missing.system);
        assert_eq!(
            permits.yaml(),
            "plugins:\n  grants:\n    p: { files: [/proc/stat, /sys, /run/udev/data], http: [\"https://a/*\"], \
             system: true }\n"
        );
        permits.grants = permits.wants.clone();
        assert!(permits.missing().is_empty());
    }
}
