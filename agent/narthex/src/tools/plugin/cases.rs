//! A plugin against its recorded cases: what it gives, as text, and what was asked for in vain.

use std::path::{Path, PathBuf};

use anyhow::Context;
use narthex_config::PluginCase;
use narthex_plugin_host::World;
use narthex_plugin_host::replay::Exchange;
use narthex_plugin_host::workbench::{Loaded, Trial};

use super::show;

/// A folder of `fixtures/`.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    pub(crate) case: PluginCase,
}

/// What became of a case.
pub(crate) struct Outcome {
    /// As it is compared with `expected.txt`.
    pub(crate) text: String,
    /// What is not recorded and was asked for.
    pub(crate) unknown: Vec<String>,
    /// Answers from the world, where the recording is being made.
    pub(crate) exchanges: Vec<Exchange>,
}

impl Case {
    pub(crate) fn read(folder: &Path) -> anyhow::Result<Case> {
        let name = folder.file_name().unwrap_or_default();
        Ok(Case {
            name: name.to_string_lossy().into_owned(),
            folder: folder.to_owned(),
            case: narthex_config::plugin_case(folder)?,
        })
    }

    pub(crate) fn expected_file(&self) -> PathBuf {
        self.folder.join("expected.txt")
    }

    /// None where there is no such file yet.
    pub(crate) fn expected(&self) -> anyhow::Result<Option<String>> {
        let path = self.expected_file();
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// The plugin in the recorded world.
    pub(crate) fn trial(&self, plugin: &Loaded) -> anyhow::Result<Trial> {
        let grant = self.case.grant.clone();
        let grant = grant.unwrap_or_else(|| plugin.all_wants().into());
        anyhow::ensure!(
            plugin.missing(&grant).is_empty(),
            "{}: grant: with this the plugin would wait and not run; it wants {}",
            self.folder.join("case.yml").display(),
            plugin.grant_entry(&grant)
        );
        Ok(plugin.trial(grant, Some(self.case.recording.clone())))
    }

    pub(crate) fn run(&self, plugin: &Loaded) -> anyhow::Result<Outcome> {
        let trial = self.trial(plugin)?;
        let mut text = String::new();
        match plugin.about().world {
            World::Exporter => self.collect(&trial, &mut text),
            World::Discovery => self.discover(&trial, &mut text),
        }
        Ok(Outcome {
            text,
            unknown: trial.take_unknown(),
            exchanges: trial.exchanges(),
        })
    }

    fn collect(&self, trial: &Trial, text: &mut String) {
        let mut instance = match trial.exporter(&self.case.config) {
            Ok(instance) => instance,
            Err(error) => return failed(&error, text),
        };
        for number in 0..self.case.collections {
            if number > 0 {
                trial.pass_ms(self.case.interval_ms);
                let after = show::after(number.saturating_mul(self.case.interval_ms));
                text.push_str(&format!("# {after}:\n"));
            }
            let collected = instance.collect();
            show::said(&trial.take_said(), text);
            match collected {
                Ok(families) => show::families(&families, text),
                Err(error) => failed(&error.to_string(), text),
            }
        }
    }

    fn discover(&self, trial: &Trial, text: &mut String) {
        let ended = trial.run(&self.case.config, &self.case.base_directory);
        show::said(&trial.take_said(), text);
        if let Err(error) = ended {
            failed(&error, text);
        }
    }
}

fn failed(error: &str, text: &mut String) {
    text.push_str(&format!("# failed: {}\n", show::one_line(error)));
}
