//! Settings of the kernel that the configuration names.

use narthex_plugin_sdk::{ConfigError, MetricType, Metrics};

use super::Collector;
use crate::descriptor::{Descriptor, gauge};
use crate::failure::{At, Failure};
use crate::machine::Machine;
use crate::options::Options;
use crate::text::{as_name, number, read};

const INFO: Descriptor = gauge("node_sysctl_info", "sysctl info");

pub(crate) struct Sysctl {
    numbers: Vec<Setting>,
    texts: Vec<Setting>,
}

/// `fs.file-nr`, or `fs.file-nr:total,current,max` with a name for each of its values.
struct Setting {
    name: String,
    keys: Vec<String>,
}

impl Sysctl {
    pub(crate) fn new(options: &Options) -> Result<Self, ConfigError> {
        let settings = |option: &str| -> Result<Vec<Setting>, ConfigError> {
            Ok(options
                .texts(option)?
                .iter()
                .map(|text| Setting::parse(text))
                .collect())
        };
        Ok(Sysctl {
            numbers: settings("collector.sysctl.include")?,
            texts: settings("collector.sysctl.include-info")?,
        })
    }
}

impl Collector for Sysctl {
    fn collect(&mut self, machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
        for setting in &self.numbers {
            let path = setting.path(machine);
            setting.give(&read(&path)?, metrics).at(&path)?;
        }
        for setting in &self.texts {
            let text = read(&setting.path(machine))?;
            for (index, value) in text.split_ascii_whitespace().enumerate() {
                let values = [&index.to_string(), &setting.name, value];
                INFO.add(metrics, ["index", "name", "value"], values, 1.0);
            }
        }
        Ok(())
    }
}

impl Setting {
    fn parse(text: &str) -> Setting {
        let (name, keys) = text.split_once(':').unwrap_or((text, ""));
        let keys = keys.split(',').filter(|key| !key.is_empty());
        Setting {
            name: name.to_owned(),
            keys: keys.map(str::to_owned).collect(),
        }
    }

    fn path(&self, machine: &Machine) -> String {
        machine.proc(&format!("sys/{}", self.name.replace('.', "/")))
    }

    fn give(&self, text: &str, metrics: &mut Metrics) -> Result<(), String> {
        let values: Vec<f64> = text
            .split_ascii_whitespace()
            .map(number)
            .collect::<Result<_, String>>()?;
        let name = format!("node_sysctl_{}", as_name(&self.name));
        let help = format!("sysctl {}", self.name);
        match (values.as_slice(), self.keys.as_slice()) {
            (&[value], []) => metrics.family(&name, &help, MetricType::Unknown).set(value),
            ([], _) => return Err("no values".to_owned()),
            (values, []) => {
                for (index, value) in values.iter().enumerate() {
                    metrics
                        .family(&name, &help, MetricType::Unknown)
                        .labels(["index"])
                        .add([&index.to_string()], *value);
                }
            }
            (values, keys) if values.len() == keys.len() => {
                for (index, (key, value)) in keys.iter().zip(values).enumerate() {
                    let name = format!("{name}_{}", as_name(key));
                    let help = format!("{help}, field {index}");
                    metrics
                        .family(&name, &help, MetricType::Unknown)
                        .set(*value);
                }
            }
            (values, keys) => {
                return Err(format!(
                    "{} values and {} names for them",
                    values.len(),
                    keys.len()
                ));
            }
        }
        Ok(())
    }
}
