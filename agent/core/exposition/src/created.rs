//! When counters started: OpenMetrics says it in a line of its own, `…_created`, that follows the
//! samples of a counter, a summary or a histogram.

use narthex_model::MetricType;

use crate::{Format, RawLabels, Series};

const ENDING: &str = "_created";

impl<'a> Series<'a> {
    /// Whether it is of a type whose samples a start can follow.
    pub fn may_have_start(&self) -> bool {
        let counts = matches!(
            self.kind,
            MetricType::Counter | MetricType::Summary | MetricType::Histogram
        );
        counts && self.format == Format::OpenMetrics
    }

    /// Whether it is no sample, but says when the counter of the samples before it started: see
    /// [`Series::starts`] and [`Series::start_ms`].
    pub fn is_created(&self) -> bool {
        let is_likely = || memchr::memmem::find(self.raw(), ENDING.as_bytes()).is_some();
        self.may_have_start() && is_likely() && self.name().is_some_and(|n| n.ends_with(ENDING))
    }

    /// Of a line that [`Series::is_created`]: the time it says, in milliseconds.
    pub fn start_ms(&self) -> i64 {
        (self.value * 1000.0) as i64
    }

    /// Whether this line, which [`Series::is_created`], is of the metric that the sample is part of.
    pub fn starts(&self, sample: &Series<'_>) -> bool {
        let (Some((created, own)), Some((name, others))) = (self.metric(), sample.metric()) else {
            return false;
        };
        let family = created.strip_suffix(ENDING);
        family.is_some_and(|family| name.starts_with(family)) && own == others
    }

    fn name(&self) -> Option<String> {
        let labels = self.labels().ok()?;
        labels.into_iter().next().map(|(_, name)| name.into_owned())
    }

    /// The name, and the labels without that of the bucket or the quantile, sorted.
    fn metric(&self) -> Option<(String, RawLabels<'a>)> {
        let mut labels = self.labels().ok()?.into_iter();
        let (_, name) = labels.next()?;
        let bound = crate::parser::bound_label(self.kind);
        let mut labels: RawLabels<'a> = labels
            .filter(|(name, _)| Some(name.as_ref()) != bound)
            .collect();
        labels.sort_unstable();
        Some((name.into_owned(), labels))
    }
}

#[cfg(test)]
mod tests {
    use crate::{Entry, Format, Series, parse};

    fn series(format: Format, page: &str) -> Vec<Series<'_>> {
        let entries = parse(format, page.as_bytes()).map(Result::unwrap);
        let series = entries.filter_map(|entry| match entry {
            Entry::Series(series) => Some(series),
            _ => None,
        });
        series.collect()
    }

    #[test]
    fn a_line_starts_the_samples_of_its_metric() {
        let page = "# TYPE a histogram\n\
                    a_bucket{x=\"1\",le=\"1.0\"} 1\na_count{x=\"1\"} 1\na_count{x=\"2\"} 1\n\
                    a_created{x=\"1\"} 1.5\n\
                    # TYPE b counter\nb_total{z=\"1\",y=\"2\"} 1\nb_created{y=\"2\",z=\"1\"} 1e3\n\
                    # TYPE c_created gauge\nc_created 2\n# EOF\n";
        let found = series(Format::OpenMetrics, page);
        let created: Vec<usize> = (0..found.len())
            .filter(|at| found[*at].is_created())
            .collect();
        assert_eq!(created, [3, 5]);
        let of = |at: usize| -> Vec<usize> {
            (0..found.len())
                .filter(|other| found[at].starts(&found[*other]))
                .collect()
        };
        assert_eq!((of(3), found[3].start_ms()), (vec![0, 1, 3], 1500));
        assert_eq!((of(5), found[5].start_ms()), (vec![4, 5], 1_000_000));
        // The text format has no such lines.
        let text = "# TYPE a counter\na_created 1\n";
        assert!(!series(Format::Text, text)[0].is_created());
    }

    #[test]
    fn quoted_names_and_odd_numbers() {
        let page = "# TYPE \"a.b\" counter\n{\"a.b_total\",c=\"d\"} 1\n\
                    {\"a.b_created\",c=\"d\"} NaN\n# EOF\n";
        let found = series(Format::OpenMetrics, page);
        assert!(found[1].is_created() && found[1].starts(&found[0]));
        assert_eq!(found[1].start_ms(), 0);
    }
}
