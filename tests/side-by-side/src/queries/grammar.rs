//! Expressions made from a grammar over the families.
//!
//! Where Prometheus has changed since 2.42, the grammar goes around:
//! - Ranges, look-back and subqueries are open on the left since 3.0. No sample is at a whole second
//!   (see `families`); points of subqueries are at whole half minutes, so their ranges end on ten
//!   seconds more, which keeps the border off them, as whole queries are evaluated at seconds 7 and
//!   37 of a minute.
//! - Sums and averages are compensated since 2.54 and 2.55, a rate's factors are multiplied in another
//!   order, and Go's logarithms and powers are not the C library's: what such a function gives is
//!   compared less exactly, and nothing that is made of it is compared, counted, rounded, sorted,
//!   or subtracted, as the last digit would decide there.
//! - `predict_linear` with `@` loses its samples from step to step in 2.42.
//! - `timestamp` of a selector with both `@` and `offset` leaves the offset out, in all versions.
//! - Which of equal values `topk` and `bottomk` take has changed with 2.43.
//! - `atan2` keeps the metric's name in 2.42, so it gets operands without one.
//! - `holt_winters`, native histograms, and labels that only UTF-8 allows are left out.

use crate::queries::families::{FAMILIES, Family, Kind};
use crate::queries::random::Random;

pub(crate) struct Expression {
    pub(crate) text: String,
    /// Whether the digits are determined.
    pub(crate) is_exact: bool,
    /// Whether the order of the elements is.
    pub(crate) is_ordered: bool,
}

pub(crate) fn expression(random: &mut Random) -> Expression {
    let mut grammar = Grammar {
        random,
        is_exact: true,
    };
    let depth = 1 + grammar.random.below(3);
    let (text, is_ordered) = match grammar.random.below(40) {
        0 => (grammar.scalar(depth, true), false),
        1 => (grammar.matrix(Wanted::Any), false),
        2 => (r#"  "some \"text\"" # and a comment"#.to_owned(), false),
        3..5 => {
            let sort = grammar.random.pick(&["sort", "sort_desc"]);
            // An order of equal values is no order.
            (format!("{sort}(load_ratio)"), true)
        }
        5..9 => (grammar.mistake(), false),
        _ => (grammar.vector(depth, false), false),
    };
    Expression {
        text,
        is_exact: grammar.is_exact,
        is_ordered,
    }
}

/// What a selector is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Any,
    Counter,
    /// With values whose sums and squares stay within what a float holds.
    Finite,
    /// With values of which hardly two are equal.
    Different,
}

struct Grammar<'a> {
    random: &'a mut Random,
    is_exact: bool,
}

impl Grammar<'_> {
    /// An instant vector; `exact` asks for digits that are determined.
    fn vector(&mut self, depth: usize, exact: bool) -> String {
        if depth == 0 {
            return self.instant_selector(Wanted::Any);
        }
        match self.random.below(16) {
            0 => self.instant_selector(Wanted::Any),
            1..4 => self.over_time(exact),
            4..7 => self.aggregation(depth, exact),
            7 => self.of_scalar_and_vector(depth, exact),
            8 => self.comparison(depth),
            9 => self.join(depth, exact),
            10 => self.set_operation(depth, exact),
            11 => self.function(depth, exact),
            12 => self.labels_function(depth, exact),
            13 => self.over_subquery(depth, exact),
            14 if exact => self.instant_selector(Wanted::Any),
            14 => self.histogram_quantile(),
            _ => self.rare(depth, exact),
        }
    }

    fn family(&mut self, wanted: Wanted) -> &'static Family {
        loop {
            let family = &FAMILIES[self.random.below(FAMILIES.len())];
            let fits = match wanted {
                Wanted::Any => true,
                Wanted::Counter => matches!(family.kind, Kind::Counter | Kind::Buckets),
                Wanted::Finite => family.kind != Kind::Odd,
                Wanted::Different => family.kind == Kind::Fraction,
            };
            if fits {
                return family;
            }
        }
    }

    fn selector(&mut self, wanted: Wanted) -> String {
        if wanted == Wanted::Any && self.random.happens(5) {
            let names = [
                "node_.*",
                "memory_bytes|up",
                ".*_total",
                "[a-l].+_(bytes|ratio)",
            ];
            let name = self.random.pick(&names);
            return format!(r#"{{__name__=~"{name}",instance!="b:9100"}}"#);
        }
        let family = self.family(wanted);
        self.selector_of(family)
    }

    fn selector_of(&mut self, family: &Family) -> String {
        let mut matchers = Vec::new();
        for (label, values) in family.labels {
            if self.random.happens(25) {
                let value = self.random.pick(values);
                matchers.push(match self.random.below(7) {
                    0 => format!(r#"{label}!="{value}""#),
                    1 => format!(r#"{label}=~"{value}|nothing""#),
                    2 => format!(r#"{label}!~"{}.*""#, self.first_of(value)),
                    3 => format!(
                        r#"{label}=~"(?i:{}).*""#,
                        self.first_of(value).to_uppercase()
                    ),
                    4 => format!(r#"{label}=~".+""#),
                    _ => format!(r#"{label}="{value}""#),
                });
            }
        }
        if self.random.happens(3) {
            matchers.push(r#"none="""#.to_owned());
        }
        match matchers.is_empty() {
            true => family.name.to_owned(),
            false => format!("{}{{{}}}", family.name, matchers.join(",")),
        }
    }

    /// The first character, as a pattern.
    fn first_of(&mut self, value: &str) -> String {
        let first = value.chars().next().unwrap_or('x');
        match first.is_alphanumeric() {
            true => first.to_string(),
            false => format!("[{first}]"),
        }
    }

    fn instant_selector(&mut self, wanted: Wanted) -> String {
        let selector = self.selector(wanted);
        selector + &self.modifiers()
    }

    fn matrix(&mut self, wanted: Wanted) -> String {
        let ranges = ["15s", "1m", "90s", "2m", "5m", "7m", "20m", "1h"];
        let (selector, range) = (self.selector(wanted), self.random.pick(&ranges));
        format!("{selector}[{range}]{}", self.modifiers())
    }

    fn modifiers(&mut self) -> String {
        match self.random.below(14) {
            0 => format!(" offset {}", self.random.pick(&["30s", "5m", "1h", "-2m"])),
            1 => self
                .random
                .pick(&[" @ start()", " @ end()", " @ 1699994017"])
                .to_owned(),
            2 => " @ end() offset 3m".to_owned(),
            _ => String::new(),
        }
    }

    fn over_time(&mut self, exact: bool) -> String {
        let inexact = !exact && self.random.happens(50);
        let matrix = |grammar: &mut Self| grammar.matrix(Wanted::Any);
        if !inexact {
            let names = [
                "count_over_time",
                "last_over_time",
                "min_over_time",
                "max_over_time",
                "changes",
                "resets",
                "present_over_time",
                "idelta",
                "sum_over_time",
                "absent_over_time",
            ];
            // A compensated sum of fractions is the same in both.
            return format!("{}({})", self.random.pick(&names), matrix(self));
        }
        self.is_exact = false;
        match self.random.below(10) {
            0..4 => {
                let name = self.random.pick(&["rate", "increase"]);
                format!("{name}({})", self.matrix(Wanted::Counter))
            }
            4 => format!("irate({})", self.matrix(Wanted::Counter)),
            5 => format!("delta({})", self.matrix(Wanted::Finite)),
            6 => format!("avg_over_time({})", self.matrix(Wanted::Any)),
            7 => {
                let name = self
                    .random
                    .pick(&["stddev_over_time", "stdvar_over_time", "deriv"]);
                format!("{name}({})", self.matrix(Wanted::Finite))
            }
            8 => {
                let quantile = self.random.pick(&["0", "0.25", "0.9", "1", "-1", "2"]);
                format!("quantile_over_time({quantile}, {})", matrix(self))
            }
            _ => {
                let range = self.random.pick(&["2m", "20m"]);
                format!(
                    "predict_linear({}[{range}], 600)",
                    self.selector(Wanted::Finite)
                )
            }
        }
    }

    fn grouping(&mut self) -> String {
        let labels = [
            "instance",
            "path",
            "code",
            "mode",
            "kind",
            "instance, path",
            "le",
            "none",
            "job, instance",
            "",
        ];
        match self.random.below(5) {
            0 => String::new(),
            1..4 => format!(" by ({})", self.random.pick(&labels)),
            _ => format!(" without ({})", self.random.pick(&labels)),
        }
    }

    fn aggregation(&mut self, depth: usize, exact: bool) -> String {
        let grouping = self.grouping();
        let inexact = !exact && self.random.happens(60);
        if inexact {
            self.is_exact = false;
            return match self.random.below(10) {
                0..5 => format!("sum{grouping} ({})", self.vector(depth - 1, false)),
                5..7 => format!("avg{grouping} ({})", self.vector(depth - 1, false)),
                7 => {
                    let name = self.random.pick(&["stddev", "stdvar"]);
                    format!(
                        "{name}{grouping} ({})",
                        self.instant_selector(Wanted::Finite)
                    )
                }
                _ => {
                    let quantile = self.random.pick(&["0.5", "0.9", "0", "1", "3"]);
                    format!(
                        "quantile{grouping} ({quantile}, {})",
                        self.vector(depth - 1, false)
                    )
                }
            };
        }
        match self.random.below(9) {
            0..3 => {
                let name = self.random.pick(&["min", "max"]);
                format!("{name}{grouping} ({})", self.vector(depth - 1, exact))
            }
            3..5 => format!("count{grouping} ({})", self.vector(depth - 1, true)),
            5 => format!("group{grouping} ({})", self.vector(depth - 1, exact)),
            6 => format!(
                "count_values{grouping} (\"value\", {})",
                self.vector(depth - 1, true)
            ),
            _ => {
                let name = self.random.pick(&["topk", "bottomk"]);
                match self.random.happens(60) {
                    true => {
                        let family = self.family(Wanted::Different);
                        let (count, input) =
                            (self.random.pick(&["1", "2", "5"]), self.selector_of(family));
                        format!("{name}{grouping} ({count}, {input})")
                    }
                    false => {
                        let count = self.random.pick(&["-1", "0", "1000"]);
                        format!(
                            "{name}{grouping} ({count}, {})",
                            self.vector(depth - 1, true)
                        )
                    }
                }
            }
        }
    }

    fn scalar(&mut self, depth: usize, exact: bool) -> String {
        match self.random.below(12) {
            0 if depth > 0 => format!("scalar({})", self.vector(depth - 1, exact)),
            1 => "time()".to_owned(),
            2 if !exact => {
                self.is_exact = false;
                "pi()".to_owned()
            }
            3 if depth > 0 => {
                let operator = self.random.pick(&["+", "-", "*", "> bool", "== bool"]);
                let (left, right) = (self.scalar(depth - 1, exact), self.scalar(depth - 1, exact));
                format!("({left} {operator} {right})")
            }
            _ => {
                let numbers = [
                    "0", "1", "2.5", "-3", "1e3", "0x1f", "NaN", "Inf", "-Inf", "100",
                ];
                self.random.pick(&numbers).to_owned()
            }
        }
    }

    fn of_scalar_and_vector(&mut self, depth: usize, exact: bool) -> String {
        let operators: &[&str] = match exact {
            true => &["+", "*", "-", "/"],
            false => &["+", "*", "/", "^"],
        };
        let operator = self.random.pick(operators);
        if operator == "^" {
            self.is_exact = false;
        }
        let (scalar, vector) = (self.scalar(depth - 1, exact), self.vector(depth - 1, exact));
        match self.random.happens(50) {
            true => format!("({scalar} {operator} {vector})"),
            false => format!("({vector} {operator} {scalar})"),
        }
    }

    fn comparison(&mut self, depth: usize) -> String {
        let operator = self.random.pick(&[">", "<", ">=", "<=", "==", "!="]);
        let bool = if self.random.happens(40) { " bool" } else { "" };
        let left = self.vector(depth - 1, true);
        let right = match self.random.happens(70) {
            true => self.scalar(depth - 1, true),
            false => left.clone(),
        };
        match self.random.happens(80) {
            true => format!("({left} {operator}{bool} {right})"),
            false => format!("({right} {operator}{bool} {left})"),
        }
    }

    fn join(&mut self, depth: usize, exact: bool) -> String {
        let operator = match exact {
            true => self.random.pick(&["+", "*", "-", "/", ">", "== bool", "%"]),
            false => self.random.pick(&["+", "*", "/"]),
        };
        let same = self.family(Wanted::Any);
        match self.random.below(7) {
            0 => {
                let many = self.vector(depth - 1, exact);
                format!("({many} * on (instance) group_left (version) build_info)")
            }
            1 => {
                let one = self.selector_of(same);
                format!(
                    "(max by (instance) ({one}) {operator} on (instance) group_right () {})",
                    same.name
                )
            }
            2 => {
                let (many, one) = (self.selector_of(same), same.name);
                let label = same.labels.last().map_or("none", |(label, _)| label);
                format!(
                    "({many} {operator} ignoring ({label}) group_left min without ({label}) ({one}))"
                )
            }
            3 => {
                let (left, right) = (self.selector_of(same), self.selector_of(same));
                format!("({left} {operator} {right})")
            }
            4 => {
                let (left, right) = (self.selector_of(same), self.instant_selector(Wanted::Any));
                let labels = self.random.pick(&["instance", "instance, path", "le", ""]);
                format!("({left} {operator} on ({labels}) {right})")
            }
            5 => {
                let of = |grammar: &mut Self| {
                    let grouping = grammar.grouping();
                    format!("max{grouping} ({})", grammar.vector(depth - 1, exact))
                };
                format!("({} {operator} {})", of(self), of(self))
            }
            _ => {
                let (left, right) = (self.vector(depth - 1, exact), self.vector(depth - 1, exact));
                format!("({left} {operator} {right})")
            }
        }
    }

    fn set_operation(&mut self, depth: usize, exact: bool) -> String {
        let operator = self.random.pick(&["and", "or", "unless"]);
        let matching = ["", "", " on (instance)", " ignoring (path, mode)", " on ()"];
        let matching = self.random.pick(&matching);
        let (left, right) = (self.vector(depth - 1, exact), self.vector(depth - 1, exact));
        format!("({left} {operator}{matching} {right})")
    }

    fn function(&mut self, depth: usize, exact: bool) -> String {
        if !exact && self.random.happens(30) {
            self.is_exact = false;
            let name = self
                .random
                .pick(&["exp", "ln", "log2", "log10", "atan", "tanh", "deg", "rad"]);
            return format!("{name}({})", self.vector(depth - 1, false));
        }
        match self.random.below(6) {
            0 => {
                let names = ["ceil", "floor", "round", "sgn"];
                format!(
                    "{}({})",
                    self.random.pick(&names),
                    self.vector(depth - 1, true)
                )
            }
            1 => {
                let to = self.random.pick(&["5", "0.1", "10", "0"]);
                format!("round({}, {to})", self.vector(depth - 1, true))
            }
            2 => {
                let (least, most) = (self.scalar(0, true), self.scalar(0, true));
                format!("clamp({}, {least}, {most})", self.vector(depth - 1, exact))
            }
            3 => {
                let name = self.random.pick(&["clamp_min", "clamp_max"]);
                let bound = self.scalar(0, true);
                format!("{name}({}, {bound})", self.vector(depth - 1, exact))
            }
            4 => {
                let names = [
                    "minute",
                    "hour",
                    "day_of_week",
                    "day_of_month",
                    "day_of_year",
                    "days_in_month",
                    "month",
                    "year",
                ];
                let name = self.random.pick(&names);
                match self.random.happens(30) {
                    true => format!("{name}()"),
                    false => format!("{name}({})", self.instant_selector(Wanted::Finite)),
                }
            }
            _ => {
                let name = self.random.pick(&["abs", "sqrt", "-", "+"]);
                format!("{name}({})", self.vector(depth - 1, exact))
            }
        }
    }

    fn labels_function(&mut self, depth: usize, exact: bool) -> String {
        let vector = self.vector(depth - 1, exact);
        let target = self.random.pick(&["new", "instance", "path"]);
        let source = self.random.pick(&["instance", "path", "none", "__name__"]);
        match self.random.below(3) {
            0 => format!(r#"label_join({vector}, "{target}", "-", "{source}", "instance")"#),
            _ => {
                let pattern = self
                    .random
                    .pick(&["(.*)", "(.).*", "([a-c]):(9.*)", "", "b.+"]);
                let replacement = self.random.pick(&["$1", "x-$1", "${2}y", "", "$3"]);
                format!(
                    r#"label_replace({vector}, "{target}", "{replacement}", "{source}", "{pattern}")"#
                )
            }
        }
    }

    fn over_subquery(&mut self, depth: usize, exact: bool) -> String {
        let ranges = ["2m10s", "5m10s", "10m10s", "31m40s"];
        let range = self.random.pick(&ranges);
        let step = self.random.pick(&["30s", "1m", "2m", ""]);
        let inexact = !exact && self.random.happens(40);
        let names: &[&str] = match inexact {
            true => &["avg_over_time", "sum_over_time", "quantile_over_time"],
            false => &[
                "max_over_time",
                "min_over_time",
                "count_over_time",
                "last_over_time",
                "changes",
            ],
        };
        let name = self.random.pick(names);
        // The last digit decides whether there is a change.
        let is_inner_exact = exact || matches!(name, "changes" | "count_over_time");
        self.is_exact &= !inexact;
        let inner = self.vector(depth - 1, is_inner_exact);
        let argument = if name == "quantile_over_time" {
            "0.7, "
        } else {
            ""
        };
        format!("{name}({argument}({inner})[{range}:{step}])")
    }

    fn histogram_quantile(&mut self) -> String {
        self.is_exact = false;
        match self.random.below(4) {
            // The ends, where the last digit decides, of whole numbers.
            0 => {
                let quantile = self.random.pick(&["0", "1", "-1", "2", "NaN"]);
                format!(
                    "histogram_quantile({quantile}, {})",
                    self.selector_of(&FAMILIES[8])
                )
            }
            1 => format!(
                "histogram_quantile(0.5, {})",
                self.instant_selector(Wanted::Any)
            ),
            _ => {
                let quantile = self.random.pick(&["0.31", "0.87", "0.993"]);
                let grouping = self
                    .random
                    .pick(&["le", "le, instance", "path, le", "instance"]);
                let buckets = self.selector_of(&FAMILIES[8]);
                format!("histogram_quantile({quantile}, sum by ({grouping}) (rate({buckets}[5m])))")
            }
        }
    }

    fn rare(&mut self, depth: usize, exact: bool) -> String {
        match self.random.below(8) {
            0 if !exact => {
                self.is_exact = false;
                let (left, right) = (self.vector(depth - 1, false), self.scalar(0, false));
                format!("(max by (instance) ({left}) atan2 {right})")
            }
            0 | 1 => format!("absent({})", self.instant_selector(Wanted::Any)),
            2 => {
                let modifiers = self.modifiers();
                format!(r#"absent(nothing{{a="b",c=~"d",e="",a="b"}} {modifiers})"#)
            }
            3 => format!("vector({})", self.scalar(depth - 1, exact)),
            4 => format!("timestamp({})", self.selector(Wanted::Any)),
            5 => {
                let vector = self.vector(depth - 1, true);
                match vector.contains('@') {
                    true => vector,
                    false => format!("timestamp({vector})"),
                }
            }
            6 => {
                let range = self.random.pick(&["5m", "1h"]);
                format!("absent_over_time(nothing[{range}])")
            }
            _ => format!("{} offset 1m", self.selector(Wanted::Any)),
        }
    }

    /// What has to be refused, in the same way.
    fn mistake(&mut self) -> String {
        let mistakes = [
            "sum(",
            "up{",
            "rate(up)",
            r#"1 + "text""#,
            "up[5m",
            "sum by (a (up)",
            "topk(up)",
            "up == == 1",
            "{}",
            r#"{job=""}"#,
            r#"up{job=~"("}"#,
            "up offset",
            "up[5m] + 1",
            "rate(up[5m:])[1m]",
            "sum(up[5m])",
            "count_values(1, up)",
            "label_replace(up, \"a\")",
            "unknown(up)",
            "1 > 2",
            "up and 1",
            "up * on (instance) build_info",
            "up + on () up",
            "up on (job) up",
            "time(1)",
            "http_requests_total / on (instance) group_left up",
            "clamp(up, 1)",
            "up[0s]",
            "up @ now",
            "up group_left up",
            "-",
            "",
            "# nothing",
            "avg(1)",
            "abs({instance=\"a:9100\"})",
            r#"label_replace({__name__=~"up|alone"}, "__name__", "x", "", "")"#,
            "up[1h:0s]",
            "histogram_quantile(up, up)",
            "quantile(\"a\", up)",
            "scalar(1)",
            "bool",
            "up bool up",
            r#"up{a="b" c="d"}"#,
            r#"'a' == 'b'"#,
            "up[5m] @ start() offset 5m + 1",
        ];
        self.random.pick(&mistakes).to_owned()
    }
}
