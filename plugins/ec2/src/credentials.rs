//! Who asks: keys of the configuration, else what AWS's SDKs find by themselves; and the role that
//! is assumed with those.

use aws_config::ConfigLoader;
use aws_config::sts::AssumeRoleProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_ec2::config::{BehaviorVersion, Region, StalledStreamProtectionConfig};
use narthex_plugin_ec2_targets::{Role, Settings};
use narthex_plugin_sdk::Error;

use crate::surroundings::Surroundings;
use crate::world::{Clock, Http, Timer};

/// Named in AWS's logs of who assumed a role.
const SESSION: &str = "narthex";

/// Gives credentials, each time from the surroundings as they then are: files change.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) settings: Settings,
    pub(crate) region: Region,
    pub(crate) http: Http,
}

impl ProvideCredentials for Source {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.credentials())
    }
}

impl Source {
    async fn credentials(&self) -> Result<Credentials, CredentialsError> {
        let surroundings = Surroundings::read();
        match &self.settings.role {
            Some(role) => self.of_role(role, surroundings).await,
            None => self.own(surroundings).await,
        }
    }

    async fn of_role(
        &self,
        role: &Role,
        surroundings: Surroundings,
    ) -> Result<Credentials, CredentialsError> {
        let config = loader(&surroundings, &self.http, self.settings.profile.as_deref());
        let config = config.region(self.region.clone()).no_credentials().load();
        let config = config.await;
        let own = self.own(surroundings).await?;
        let mut provider = AssumeRoleProvider::builder(&role.arn)
            .session_name(SESSION)
            .configure(&config);
        if let Some(id) = &role.external_id {
            provider = provider.external_id(id);
        }
        provider
            .build_from_provider(own)
            .await
            .provide_credentials()
            .await
    }

    async fn own(&self, surroundings: Surroundings) -> Result<Credentials, CredentialsError> {
        if let Some(keys) = &self.settings.keys {
            let (access, secret) = (&keys.access_key, &keys.secret_key);
            return Ok(Credentials::new(
                access,
                secret,
                None,
                None,
                "configuration",
            ));
        }
        let profile = self.settings.profile.as_deref();
        let named = profile.or(surroundings.profile());
        if let Some(name) = named.filter(|name| !surroundings.has_profile(name)) {
            let error = Error::new(format!("there is no profile {name}"));
            return Err(CredentialsError::invalid_configuration(
                explained(&error, &surroundings, &self.http).to_string(),
            ));
        }
        let seen = surroundings.clone().for_credentials(profile);
        let config = loader(&seen, &self.http, profile).region(self.region.clone());
        let config = config.load().await;
        let chain = config.credentials_provider();
        let chain = chain.ok_or_else(|| CredentialsError::unhandled("no chain of providers"))?;
        match chain.provide_credentials().await {
            Ok(credentials) => Ok(credentials),
            Err(error) => {
                let error = explained(&error_text(&error), &surroundings, &self.http);
                Err(CredentialsError::provider_error(error.to_string()))
            }
        }
    }

    pub(crate) fn shared(self) -> SharedCredentialsProvider {
        SharedCredentialsProvider::new(self)
    }
}

/// Reads everything else that environment and profile say, as endpoints and how often to try.
pub(crate) fn loader(
    surroundings: &Surroundings,
    http: &Http,
    profile: Option<&str>,
) -> ConfigLoader {
    let loader = aws_config::defaults(BehaviorVersion::latest())
        .env(surroundings.env())
        .fs(surroundings.fs())
        .http_client(http.clone())
        .sleep_impl(Timer)
        .time_source(Clock)
        // Answers come whole here; whether they come is the timeouts' business.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    match profile {
        Some(name) => loader.profile_name(name),
        None => loader,
    }
}

/// With what the plugin was not allowed, or able, to look at.
pub(crate) fn explained(error: &Error, surroundings: &Surroundings, http: &Http) -> Error {
    let mut text = error.to_string();
    let problems = surroundings.problems().iter().cloned();
    for problem in problems.chain(http.take_refusal()) {
        if !text.contains(&problem) {
            text = format!("{text}; {problem}");
        }
    }
    Error::new(text)
}

/// An error and its causes in one line. The SDK's errors say only half by themselves, and some of
/// them in lists.
pub(crate) fn error_text(error: &dyn std::error::Error) -> Error {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    Error::new(text.replace(":\n  ", ": ").replace("\n  ", "; "))
}
