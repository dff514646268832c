//! The table of functions: names, argument types, result types.
//!
//! Knows nothing of what the functions do; the engine has one implementation for each row.

use super::ast::ValueType;
use ValueType::{InstantVector as V, RangeVector as M, Scalar as S, String as T};

#[derive(Debug, PartialEq)]
pub struct Function {
    pub name: &'static str,
    /// The types of the arguments; further arguments of a variadic function have the last type.
    pub args: &'static [ValueType],
    /// 0: exactly `args`. Otherwise the last of `args` may be left out, and −1 lets it occur any
    /// number of times, n > 0 up to n times.
    pub variadic: i32,
    pub returns: ValueType,
    /// Needs the option `experimental_functions`.
    pub experimental: bool,
}

impl Function {
    pub fn min_args(&self) -> usize {
        self.args.len() - usize::from(self.variadic != 0)
    }

    /// None: any number.
    pub fn max_args(&self) -> Option<usize> {
        let repeats = usize::try_from(self.variadic).ok()?;
        Some(self.min_args() + repeats)
    }

    /// The type that argument number `index` must have.
    pub fn arg_type(&self, index: usize) -> Option<ValueType> {
        self.args.get(index).or(self.args.last()).copied()
    }
}

pub fn find(name: &str) -> Option<&'static Function> {
    let at = FUNCTIONS
        .binary_search_by(|function| function.name.cmp(name))
        .ok()?;
    FUNCTIONS.get(at)
}

/// Every function, sorted by name.
pub static FUNCTIONS: &[Function] = &[
    stable("abs", &[V], 0, V),
    stable("absent", &[V], 0, V),
    stable("absent_over_time", &[M], 0, V),
    stable("acos", &[V], 0, V),
    stable("acosh", &[V], 0, V),
    stable("asin", &[V], 0, V),
    stable("asinh", &[V], 0, V),
    stable("atan", &[V], 0, V),
    stable("atanh", &[V], 0, V),
    stable("avg_over_time", &[M], 0, V),
    stable("ceil", &[V], 0, V),
    stable("changes", &[M], 0, V),
    stable("clamp", &[V, S, S], 0, V),
    stable("clamp_max", &[V, S], 0, V),
    stable("clamp_min", &[V, S], 0, V),
    stable("cos", &[V], 0, V),
    stable("cosh", &[V], 0, V),
    stable("count_over_time", &[M], 0, V),
    stable("day_of_month", &[V], 1, V),
    stable("day_of_week", &[V], 1, V),
    stable("day_of_year", &[V], 1, V),
    stable("days_in_month", &[V], 1, V),
    stable("deg", &[V], 0, V),
    stable("delta", &[M], 0, V),
    stable("deriv", &[M], 0, V),
    experimental("double_exponential_smoothing", &[M, S, S], 0, V),
    experimental("end", &[], 0, S),
    stable("exp", &[V], 0, V),
    stable("first_over_time", &[M], 0, V),
    stable("floor", &[V], 0, V),
    stable("histogram_avg", &[V], 0, V),
    stable("histogram_count", &[V], 0, V),
    stable("histogram_fraction", &[S, S, V], 0, V),
    stable("histogram_quantile", &[S, V], 0, V),
    experimental("histogram_quantiles", &[V, T, S, S], 9, V),
    stable("histogram_stddev", &[V], 0, V),
    stable("histogram_stdvar", &[V], 0, V),
    stable("histogram_sum", &[V], 0, V),
    stable("hour", &[V], 1, V),
    stable("idelta", &[M], 0, V),
    stable("increase", &[M], 0, V),
    experimental("info", &[V, V], 1, V),
    stable("irate", &[M], 0, V),
    stable("label_join", &[V, T, T, T], -1, V),
    stable("label_replace", &[V, T, T, T, T], 0, V),
    stable("last_over_time", &[M], 0, V),
    stable("ln", &[V], 0, V),
    stable("log10", &[V], 0, V),
    stable("log2", &[V], 0, V),
    experimental("mad_over_time", &[M], 0, V),
    experimental("max_of", &[S, S], 0, S),
    stable("max_over_time", &[M], 0, V),
    experimental("min_of", &[S, S], 0, S),
    stable("min_over_time", &[M], 0, V),
    stable("minute", &[V], 1, V),
    stable("month", &[V], 1, V),
    stable("pi", &[], 0, S),
    stable("predict_linear", &[M, S], 0, V),
    stable("present_over_time", &[M], 0, V),
    stable("quantile_over_time", &[S, M], 0, V),
    stable("rad", &[V], 0, V),
    experimental("range", &[], 0, S),
    stable("rate", &[M], 0, V),
    stable("resets", &[M], 0, V),
    stable("round", &[V, S], 1, V),
    stable("scalar", &[V], 0, S),
    stable("sgn", &[V], 0, V),
    stable("sin", &[V], 0, V),
    stable("sinh", &[V], 0, V),
    stable("sort", &[V], 0, V),
    experimental("sort_by_label", &[V, T], -1, V),
    experimental("sort_by_label_desc", &[V, T], -1, V),
    stable("sort_desc", &[V], 0, V),
    stable("sqrt", &[V], 0, V),
    experimental("start", &[], 0, S),
    experimental("start_timestamp", &[V], 0, V),
    stable("stddev_over_time", &[M], 0, V),
    stable("stdvar_over_time", &[M], 0, V),
    experimental("step", &[], 0, S),
    stable("sum_over_time", &[M], 0, V),
    stable("tan", &[V], 0, V),
    stable("tanh", &[V], 0, V),
    stable("time", &[], 0, S),
    stable("timestamp", &[V], 0, V),
    experimental("ts_of_first_over_time", &[M], 0, V),
    experimental("ts_of_last_over_time", &[M], 0, V),
    experimental("ts_of_max_over_time", &[M], 0, V),
    experimental("ts_of_min_over_time", &[M], 0, V),
    stable("vector", &[S], 0, V),
    stable("year", &[V], 1, V),
];

const fn stable(
    name: &'static str,
    args: &'static [ValueType],
    variadic: i32,
    returns: ValueType,
) -> Function {
    Function {
        name,
        args,
        variadic,
        returns,
        experimental: false,
    }
}

const fn experimental(
    name: &'static str,
    args: &'static [ValueType],
    variadic: i32,
    returns: ValueType,
) -> Function {
    Function {
        experimental: true,
        ..stable(name, args, variadic, returns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_found_by_its_name() {
        assert_eq!(FUNCTIONS.len(), 90);
        for function in FUNCTIONS {
            assert_eq!(find(function.name), Some(function));
        }
        assert_eq!(find("holt_winters"), None);
    }

    #[test]
    fn counts_of_arguments() {
        for (name, least, most) in [
            ("pi", 0, Some(0)),
            ("rate", 1, Some(1)),
            ("hour", 0, Some(1)),
            ("round", 1, Some(2)),
            ("label_join", 3, None),
            ("sort_by_label", 1, None),
            ("histogram_quantiles", 3, Some(12)),
        ] {
            let function = find(name).unwrap();
            assert_eq!((function.min_args(), function.max_args()), (least, most));
        }
    }
}
