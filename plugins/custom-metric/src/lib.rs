//! The SDK's example: a gauge with a new random value at every collection. What a plugin needs is
//! all here: a type, its manifest, a collection, the macro, a test.

use narthex_plugin_sdk::{ConfigError, Error, Exporter, Manifest, Metrics, NoConfig, random};

struct CustomMetric;

narthex_plugin_sdk::exporter!(CustomMetric);

impl Exporter for CustomMetric {
    type Config = NoConfig;

    fn manifest() -> Manifest {
        Manifest::new("an example: a gauge with a random value").every_ms(5000)
    }

    fn new(_config: NoConfig) -> Result<Self, ConfigError> {
        Ok(CustomMetric)
    }

    fn collect(&mut self, metrics: &mut Metrics) -> Result<(), Error> {
        metrics
            .gauge("custom_metric_example", "An example custom metric")
            .set(random::below(100) as f64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use narthex_plugin_sdk::{fake, testing};

    use super::*;

    #[test]
    fn gives_a_new_value_each_time() {
        let host = fake::Host::install();
        host.set_random(&[7, 199]);
        let mut plugin: CustomMetric = testing::exporter("{}").unwrap();
        let mut collect = || testing::lines(&testing::collect(&mut plugin).unwrap());
        assert_eq!(collect(), ["custom_metric_example 7"]);
        assert_eq!(collect(), ["custom_metric_example 99"]);
    }

    #[test]
    fn values_lie_from_0_to_99() {
        let _host = fake::Host::install();
        let mut seen = [false; 100];
        for _ in 0..10_000 {
            seen[random::below(100) as usize] = true;
        }
        assert!(seen.iter().all(|seen| *seen));
    }

    #[test]
    fn says_that_there_is_nothing_to_configure() {
        let error = testing::exporter::<CustomMetric>(r#"{"max": 5}"#).err();
        assert!(error.unwrap().to_string().contains("unknown field `max`"));
    }
}
