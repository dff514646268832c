//! What of the machine the AWS SDK may see: environment variables and files, as they are at the
//! moment.
//!
//! Keeps true: credentials are taken from where AWS's own SDK for Go, and so Prometheus, takes them;
//! what comes later in that order is hidden from the SDK's own chain, whose order differs.

use std::collections::{BTreeMap, HashMap};

use aws_types::os_shim_internal::{Env, Fs};
use narthex_plugin_sdk::{CallError, environment, files};

const ACCESS_KEY: &str = "AWS_ACCESS_KEY_ID";
const SECRET_KEY: &str = "AWS_SECRET_ACCESS_KEY";
const TOKEN_FILE: &str = "AWS_WEB_IDENTITY_TOKEN_FILE";
const CONTAINER_TOKEN_FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
const PROFILE: &str = "AWS_PROFILE";
const CONFIG_FILE: &str = "AWS_CONFIG_FILE";
const CREDENTIALS_FILE: &str = "AWS_SHARED_CREDENTIALS_FILE";

/// Those that AWS's SDKs know and that mean something here.
pub(crate) const VARIABLES: [&str; 28] = [
    ACCESS_KEY,
    SECRET_KEY,
    "AWS_SESSION_TOKEN",
    "AWS_ACCOUNT_ID",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    PROFILE,
    CONFIG_FILE,
    CREDENTIALS_FILE,
    TOKEN_FILE,
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    CONTAINER_TOKEN_FILE,
    "AWS_EC2_METADATA_DISABLED",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_EC2",
    "AWS_ENDPOINT_URL_STS",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_MAX_ATTEMPTS",
    "AWS_RETRY_MODE",
    "HOME",
];

/// Those of which it is told that they are not granted.
const OFTEN_SET: [&str; 8] = [
    ACCESS_KEY,
    SECRET_KEY,
    "AWS_REGION",
    PROFILE,
    TOKEN_FILE,
    "AWS_ROLE_ARN",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "HOME",
];

/// Settings of profiles whose credentials are another program's business, or need a browser.
const UNSUPPORTED: [&str; 4] = [
    "credential_process",
    "sso_session",
    "sso_start_url",
    "login_session",
];

#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    variables: BTreeMap<&'static str, String>,
    files: BTreeMap<String, Vec<u8>>,
    /// Where profiles are looked for, there or not.
    profile_paths: Vec<String>,
    /// What could not be read, in words.
    problems: Vec<String>,
}

impl Surroundings {
    pub(crate) fn read() -> Self {
        let mut surroundings = Surroundings::default();
        surroundings.read_variables();
        for (variable, name) in [(CONFIG_FILE, "config"), (CREDENTIALS_FILE, "credentials")] {
            let path = surroundings.profile_path(variable, name);
            surroundings.profile_paths.extend(path.clone());
            path.into_iter()
                .for_each(|path| surroundings.read_file(path));
        }
        for path in surroundings.token_paths() {
            surroundings.read_file(path);
        }
        surroundings.note_unsupported();
        surroundings
    }

    pub(crate) fn env(&self) -> Env {
        let variables = self.variables.iter();
        let variables: Vec<(&str, &str)> = variables.map(|(k, v)| (*k, v.as_str())).collect();
        Env::from_slice(&variables)
    }

    pub(crate) fn fs(&self) -> Fs {
        Fs::from_map(self.files.clone().into_iter().collect::<HashMap<_, _>>())
    }

    pub(crate) fn problems(&self) -> &[String] {
        &self.problems
    }

    /// What is left for the SDK to find credentials in. A profile that the configuration names comes
    /// first, then keys in the environment, then a web identity, then the profile of the environment.
    pub(crate) fn for_credentials(mut self, profile: Option<&str>) -> Self {
        if profile.is_some() {
            for name in [ACCESS_KEY, SECRET_KEY, TOKEN_FILE] {
                self.variables.remove(name);
            }
        } else if self.has(TOKEN_FILE) && !self.has_keys() {
            for path in &self.profile_paths {
                self.files.remove(path);
            }
            for name in [ACCESS_KEY, SECRET_KEY] {
                self.variables.remove(name);
            }
        }
        self
    }

    /// The profile that the environment names, where credentials are to come from there.
    pub(crate) fn profile(&self) -> Option<&str> {
        let name = self.variables.get(PROFILE).map(String::as_str);
        name.filter(|_| !self.has_keys() && !self.has(TOKEN_FILE))
    }

    /// Whether there is a profile of this name.
    pub(crate) fn has_profile(&self, name: &str) -> bool {
        let headers = self.profile_lines().filter_map(|line| {
            let inner = line.strip_prefix('[')?.split(']').next()?.trim();
            Some(inner.strip_prefix("profile ").map_or(inner, str::trim))
        });
        headers.into_iter().any(|header| header == name)
    }

    fn has(&self, name: &str) -> bool {
        self.variables.contains_key(name)
    }

    fn has_keys(&self) -> bool {
        self.has(ACCESS_KEY) && self.has(SECRET_KEY)
    }

    fn read_variables(&mut self) {
        let mut refused = Vec::new();
        for name in VARIABLES {
            match environment::get(name) {
                Ok(Some(value)) if !value.is_empty() => {
                    self.variables.insert(name, value);
                }
                Ok(_) => {}
                Err(CallError::NotGranted(_)) if OFTEN_SET.contains(&name) => refused.push(name),
                Err(CallError::NotGranted(_)) => {}
                Err(error) => self.problems.push(format!("{name}: {error}")),
            }
        }
        if !refused.is_empty() {
            let names = refused.join(", ");
            let text = format!("these environment variables are not granted: {names}");
            self.problems.push(text);
        }
    }

    /// The file that a variable names, else that of the home directory.
    fn profile_path(&self, variable: &str, name: &str) -> Option<String> {
        let home = self
            .variables
            .get("HOME")
            .map(|home| home.trim_end_matches('/'));
        match (self.variables.get(variable), home) {
            (Some(path), Some(home)) if path.starts_with("~/") => {
                Some(format!("{home}{}", &path[1..]))
            }
            (Some(path), _) => Some(path.clone()),
            (None, Some(home)) => Some(format!("{home}/.aws/{name}")),
            (None, None) => None,
        }
    }

    /// Files with tokens that variables or profiles name.
    fn token_paths(&self) -> Vec<String> {
        let named = [TOKEN_FILE, CONTAINER_TOKEN_FILE].into_iter();
        let named = named.filter_map(|name| self.variables.get(name).cloned());
        let in_profiles = self.profile_lines().filter_map(|line| {
            let (name, path) = line.split_once('=')?;
            (name.trim() == "web_identity_token_file").then(|| path.trim().to_owned())
        });
        named.chain(in_profiles).collect()
    }

    fn note_unsupported(&mut self) {
        let names = self
            .profile_lines()
            .filter_map(|line| line.split('=').next());
        let names: Vec<&str> = names.map(str::trim).collect();
        let unsupported = UNSUPPORTED.iter().find(|name| names.contains(name));
        if let Some(name) = unsupported {
            let why = "as a plugin runs no programs and no browsers";
            self.problems
                .push(format!("profiles with {name} are not understood, {why}"));
        }
    }

    fn profile_lines(&self) -> impl Iterator<Item = &str> {
        let files = self
            .profile_paths
            .iter()
            .filter_map(|path| self.files.get(path));
        let texts = files.filter_map(|content| std::str::from_utf8(content).ok());
        texts.flat_map(|text| text.lines().map(str::trim))
    }

    fn read_file(&mut self, path: String) {
        match files::read(&path) {
            Ok(content) => {
                self.files.insert(path, content);
            }
            Err(error) => self.problems.push(format!("reading {path}: {error}")),
        }
    }
}
