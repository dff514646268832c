//! Tables of what parses to what, what is refused how, and what no text may do.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::ast::{DurationExpr, ExprKind, SequenceValue};
use super::*;

fn everything(text: &str) -> Result<Expr, ParseError> {
    parse(text, &ParserOptions::everything())
}

fn printed(text: &str) -> String {
    match everything(text) {
        Ok(expr) => expr.to_string(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn good_expressions_and_how_they_are_printed() {
    for (text, expected) in [
        ("foo", "foo"),
        (r#"a:b{c="d",}"#, r#"a:b{c="d"}"#),
        (r#"{"a b"}"#, r#"{__name__="a b"}"#),
        (r#"{"a b", c="d"}"#, r#"{__name__="a b",c="d"}"#),
        ("{`a.b`=~'x|y'}", r#"{"a.b"=~"x|y"}"#),
        (r#"foo{b="2",a="1",a!="3"}"#, r#"foo{a!="3",a="1",b="2"}"#),
        (r#"{__name__="foo"}"#, r#"{__name__="foo"}"#),
        (
            r#"{__name__=~"a",__name__!="ab"}"#,
            r#"{__name__!="ab",__name__=~"a"}"#,
        ),
        ("sum", "sum"),
        (r#"sum{a="b"}"#, r#"sum{a="b"}"#),
        ("offset offset 5m", "offset offset 5m"),
        ("by + without", "by + without"),
        ("start + end", "start + end"),
        ("and and or or unless", "and and or or unless"),
        ("anchored[5m] offset 1m", "anchored[5m] offset 1m"),
        ("fill + fill_left", "fill + fill_left"),
        (
            "foo[5m] offset -1w @ start()",
            "foo[5m] @ start() offset -1w",
        ),
        ("foo @ end() offset 90s", "foo @ end() offset 1m30s"),
        ("foo[300]", "foo[5m]"),
        ("foo[1d2h] @ 5", "foo[1d2h] @ 5.000"),
        ("foo[90s:1.5] @ -1.5", "foo[1m30s:1s500ms] @ -1.500"),
        ("foo[1h:] offset 1y", "foo[1h:] offset 1y"),
        ("rate(foo[5m:1m])[1h:]", "rate(foo[5m:1m])[1h:]"),
        ("foo[step() + 5m * 2 ^ 2]", "foo[step() + 5m * 2 ^ 2]"),
        ("foo[((5m))]", "foo[(5m)]"),
        ("foo[-(1m - 2m)]", "foo[-(1m - 2m)]"),
        (
            "foo[max_of(step(), min_of(range(), 1m)):1m / 2]",
            "foo[max_of(step(), min_of(range(), 1m)):1m / 2]",
        ),
        ("foo offset (5m + 1m)", "foo offset (5m + 1m)"),
        ("foo offset -(step())", "foo offset -(step())"),
        ("foo offset 5m + 3", "foo offset 5m + 3"),
        ("foo offset (5m) * 2", "foo offset (5m) * 2"),
        ("foo offset +5m", "foo offset 5m"),
        ("foo offset 0", "foo"),
        ("foo offset step() + bar", "foo offset step() + bar"),
        ("foo offset --5m", "foo offset 5m"),
        ("foo smoothed", "foo smoothed"),
        ("foo[5m] anchored", "foo[5m] anchored"),
        ("rate(foo[5m] smoothed)", "rate(foo[5m] smoothed)"),
        ("-1 ^ 2", "-1 ^ 2"),
        ("2 ^ -1", "2 ^ -1"),
        ("2 ^ 3 ^ 2", "2 ^ 3 ^ 2"),
        ("(2 ^ 3) ^ 2", "(2 ^ 3) ^ 2"),
        ("- -1", "1"),
        ("-foo ^ 2", "-foo ^ 2"),
        ("1 - -1", "1 - -1"),
        ("a - b - c", "a - b - c"),
        ("a + b * c % d", "a + b * c % d"),
        ("a or b and c", "a or b and c"),
        ("a == b + 1", "a == b + 1"),
        ("a > bool 0", "a > bool 0"),
        ("a </ 5 >/ 3", "a </ 5 >/ 3"),
        ("a atan2 b", "a atan2 b"),
        ("a + on () b", "a + on () b"),
        ("a + ignoring () b", "a + b"),
        (
            r#"a * on(x, "y z") group_left (sum) b"#,
            r#"a * on (x, "y z") group_left (sum) b"#,
        ),
        (
            "a * ignoring (x) group_right b",
            "a * ignoring (x) group_right () b",
        ),
        ("a and on(by) b", "a and on (by) b"),
        ("a + fill(1e6) b", "a + fill (1e+06) b"),
        (
            "a + on(x) fill_right(-2) fill_left(inf) b",
            "a + on (x) fill_left (+Inf) fill_right (-2) b",
        ),
        ("a + fill_left(5m) b", "a + fill_left (300) b"),
        ("sum by () (a)", "sum(a)"),
        ("sum without () (a)", "sum without () (a)"),
        ("SUM(a) BY (b, bool,)", "sum by (b, bool) (a)"),
        (r#"topk by ("x y") (5, a)"#, r#"topk by ("x y") (5, a)"#),
        (
            r#"count_values without (a) ("v", b)"#,
            r#"count_values without (a) ("v", b)"#,
        ),
        ("quantile(0.9, a)", "quantile(0.9, a)"),
        ("limit_ratio(-0.5, a)", "limit_ratio(-0.5, a)"),
        ("rate(foo[5m])", "rate(foo[5m])"),
        ("round(a, 5)", "round(a, 5)"),
        ("hour()", "hour()"),
        ("time() + vector(1)", "time() + vector(1)"),
        (
            r#"label_join(a, "b", ",", "c", "d")"#,
            r#"label_join(a, "b", ",", "c", "d")"#,
        ),
        (r#"info(a, {b="c"})"#, r#"info(a, {b="c"})"#),
        ("info(a, {})", "info(a, {})"),
        (
            r#"histogram_quantiles(a, "q", 0.5, 0.9)"#,
            r#"histogram_quantiles(a, "q", 0.5, 0.9)"#,
        ),
        (
            "start() + end() + step() + range()",
            "start() + end() + step() + range()",
        ),
        ("min_of(1, max_of(2, 3))", "min_of(1, max_of(2, 3))"),
        ("0x1F", "31"),
        ("0755", "493"),
        ("1_000.5", "1000.5"),
        (".5", "0.5"),
        ("5.", "5"),
        ("1e-3", "0.001"),
        ("1e21", "1000000000000000000000"),
        ("+Inf", "+Inf"),
        ("-inf", "-Inf"),
        ("nan", "NaN"),
        ("5m", "5m"),
        ("-90s", "-1m30s"),
        ("1h30m", "1h30m"),
        // Found by the fuzzer: the sign of nothing counts, and a sign before a power is the power's.
        ("-0m", "-0s"),
        ("Inf ^ a", "Inf ^ a"),
        (r#""a\"b\n\u00e9\x41""#, r#""a\"b\néA""#),
        (r#"'it\'s "x"'"#, r#""it's \"x\"""#),
        (r#"`raw\n`"#, r#""raw\\n""#),
        (r#""\u00a0\u200b""#, r#""\u00a0\u200b""#),
        ("foo # comment", "foo"),
        ("(foo)", "(foo)"),
        ("((1))", "((1))"),
        (r##"foo{a="#"} # }"##, r##"foo{a="#"}"##),
        (" foo [ 5m ] ", "foo[5m]"),
        ("foo[5m : 1m]", "foo[5m:1m]"),
        (r#""\xff""#, r#""\xff""#),
        (r#""a\xc5z\ufffd""#, r#""a\xc5z\ufffd""#),
        (r#"{a="b\xc5"}"#, r#"{a="b\ufffd"}"#),
        ("foo offset (5m) + bar", "foo offset (5m) + bar"),
    ] {
        assert_eq!(printed(text), expected, "{text}");
        assert_eq!(printed(expected), expected);
    }
}

#[test]
fn bad_expressions_and_what_is_said() {
    for (text, expected) in [
        (
            "",
            "unknown position: parse error: no expression found in input",
        ),
        (
            "# only a comment",
            "1:1: parse error: no expression found in input",
        ),
        (
            "foo bar",
            r#"1:5: parse error: unexpected identifier "bar""#,
        ),
        ("foo +", "1:6: parse error: unexpected end of input"),
        ("+", "1:2: parse error: unexpected end of input"),
        ("(", "1:2: parse error: unclosed left parenthesis"),
        (")", "1:2: parse error: unexpected right parenthesis ')'"),
        ("foo)", "1:5: parse error: unexpected right parenthesis ')'"),
        ("(foo", "1:5: parse error: unclosed left parenthesis"),
        (
            "foo[",
            "1:5: parse error: unexpected end of input in duration expression",
        ),
        ("foo[5m", "1:7: parse error: unclosed left bracket"),
        ("foo]", "1:4: parse error: unexpected right bracket ']'"),
        (
            "foo[]",
            r#"1:5: parse error: unexpected "]" in subquery or range selector, expected number, duration, step(), or range()"#,
        ),
        ("foo[5m", "1:7: parse error: unclosed left bracket"),
        (
            "foo[a]",
            "1:5: parse error: unexpected character in duration expression: 'a'",
        ),
        (
            "foo[5m a]",
            "1:8: parse error: unexpected character: 'a', expected ':'",
        ),
        ("foo[5m:5m:5m]", "1:10: parse error: unexpected colon ':'"),
        (
            "foo[:5m]",
            "1:6: parse error: unexpected colon before duration in duration expression",
        ),
        ("foo[5m:1m", "1:10: parse error: unclosed left bracket"),
        (
            "foo[5m,]",
            r#"1:7: parse error: unexpected "," in subquery or range, expected ":" or "]""#,
        ),
        (
            "foo[0]",
            "1:5: parse error: duration must be greater than 0",
        ),
        (
            "foo[-5m]",
            "1:5: parse error: duration must be greater than 0",
        ),
        ("foo[5m / 0]", "1:8: parse error: division by zero"),
        ("foo[5m % 0]", "1:8: parse error: modulo by zero"),
        (
            "foo[step]",
            r#"1:9: parse error: unexpected "]" in subquery or range selector, expected number, duration, step(), or range()"#,
        ),
        ("foo[1e12]", "1:5: parse error: duration out of range"),
        (
            "foo[5mm]",
            r#"1:5: parse error: bad number or duration syntax: "5mm""#,
        ),
        (
            "foo{",
            "1:5: parse error: unexpected end of input inside braces",
        ),
        ("foo{}}", "1:6: parse error: unexpected character: '}'"),
        (
            "foo{a}",
            r#"1:6: parse error: unexpected "}" in label matching, expected label matching operator"#,
        ),
        (
            "foo{a=}",
            r#"1:7: parse error: unexpected "}" in label matching, expected string"#,
        ),
        (
            r#"foo{a="b" c="d"}"#,
            r#"1:11: parse error: unexpected identifier "c" in label matching, expected "," or "}""#,
        ),
        (
            "foo{a=b}",
            r#"1:7: parse error: unexpected identifier "b" in label matching, expected string"#,
        ),
        (
            "foo{,}",
            r#"1:5: parse error: unexpected "," in label matching, expected identifier or "}""#,
        ),
        (
            r#"foo{1="a"}"#,
            "1:5: parse error: unexpected character inside braces: '1'",
        ),
        (
            r#"foo{a=="b"}"#,
            r#"1:7: parse error: unexpected "=" in label matching, expected string"#,
        ),
        (
            r#"foo{a!"b"}"#,
            r#"1:6: parse error: unexpected character after '!' inside braces: '"'"#,
        ),
        (
            r#"foo{a="b"}{c="d"}"#,
            r#"1:11: parse error: unexpected "{""#,
        ),
        (
            r#"foo{a=~"("}"#,
            "1:5: parse error: error parsing regexp: unclosed group: `(`",
        ),
        (
            r#"foo{a=~"*"}"#,
            "1:5: parse error: error parsing regexp: repetition operator missing expression: `*`",
        ),
        (
            r#"foo{__name__="bar"}"#,
            r#"1:1: parse error: metric name must not be set twice: "foo" or "bar""#,
        ),
        (
            r#"foo{"bar"}"#,
            r#"1:1: parse error: metric name must not be set twice: "foo" or "bar""#,
        ),
        (
            "{}",
            "1:1: parse error: vector selector must contain at least one non-empty matcher",
        ),
        (
            r#"{a=""}"#,
            "1:1: parse error: vector selector must contain at least one non-empty matcher",
        ),
        (
            r#"{a=~".*",b!="c"}"#,
            "1:1: parse error: vector selector must contain at least one non-empty matcher",
        ),
        (
            r#"{a=~"",b=""}"#,
            "1:1: parse error: vector selector must contain at least one non-empty matcher",
        ),
        (
            "foo offset",
            "1:11: parse error: unexpected end of input in offset, expected number, duration, step(), or range()",
        ),
        (
            "foo offset bar",
            r#"1:12: parse error: unexpected identifier "bar" in offset, expected number, duration, step(), or range()"#,
        ),
        (
            "foo offset 5m offset 5m",
            "1:1: parse error: offset may not be set multiple times",
        ),
        (
            "foo @",
            "1:6: parse error: unexpected end of input in @, expected timestamp",
        ),
        (
            "foo @ bar",
            r#"1:7: parse error: unexpected identifier "bar" in @, expected timestamp"#,
        ),
        (
            "foo @ start",
            "1:12: parse error: unexpected end of input in @, expected timestamp",
        ),
        (
            "foo @ 5 @ 6",
            "1:1: parse error: @ <timestamp> may not be set multiple times",
        ),
        (
            "foo @ inf",
            "1:1: parse error: timestamp out of bounds for @ modifier: +Inf",
        ),
        (
            "foo @ 1e400",
            r#"1:7: parse error: error parsing number: strconv.ParseFloat: parsing "1e400": value out of range"#,
        ),
        (
            "1 offset 5m",
            "1:1: parse error: offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
        ),
        (
            "sum(foo) offset 5m",
            "1:1: parse error: offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
        ),
        (
            r#""a" @ 5"#,
            "1:1: parse error: @ modifier must be preceded by an instant vector selector or range vector selector or a subquery",
        ),
        (
            "foo offset 5m [5m]",
            "1:15: parse error: no offset modifiers allowed before range",
        ),
        (
            "foo @ 5 [5m]",
            "1:9: parse error: no @ modifiers allowed before range",
        ),
        (
            "(foo)[5m]",
            "1:6: parse error: ranges only allowed for vector selectors",
        ),
        (
            "sum(foo)[5m]",
            "1:9: parse error: ranges only allowed for vector selectors",
        ),
        (
            "foo[5m][5m]",
            "1:8: parse error: ranges only allowed for vector selectors",
        ),
        (
            "foo[5m][5m:]",
            "1:1: parse error: subquery is only allowed on instant vector, got matrix instead",
        ),
        (
            "1[5m:]",
            "1:1: parse error: subquery is only allowed on instant vector, got scalar instead",
        ),
        (
            r#""a"[5m:]"#,
            "1:1: parse error: subquery is only allowed on instant vector, got string instead",
        ),
        (
            "1 == 2",
            "1:3: parse error: comparisons between scalars must use BOOL modifier",
        ),
        (
            "1 + bool 2",
            "1:3: parse error: bool modifier can only be used on comparison operators",
        ),
        (
            "foo + bool bar",
            "1:5: parse error: bool modifier can only be used on comparison operators",
        ),
        (
            "1 and foo",
            r#"1:1: parse error: set operator "and" not allowed in binary scalar expression"#,
        ),
        (
            "foo and 1",
            r#"1:1: parse error: set operator "and" not allowed in binary scalar expression"#,
        ),
        (
            "foo and on(a) group_left() bar",
            r#"1:1: parse error: no grouping allowed for "and" operation"#,
        ),
        (
            "foo and fill(1) bar",
            "1:1: parse error: filling in missing series not allowed for set operators",
        ),
        (
            "foo + on(a) 1",
            "1:1: parse error: vector matching only allowed between instant vectors",
        ),
        (
            "foo + fill(1) 1",
            "1:1: parse error: filling in missing series only allowed between instant vectors",
        ),
        (
            "foo + on(a) group_left(a) bar",
            r#"1:5: parse error: label "a" must not occur in ON and GROUP clause at once"#,
        ),
        (
            "foo + group_left bar",
            "1:7: parse error: unexpected <group_left>",
        ),
        (
            "foo + on bar",
            r#"1:10: parse error: unexpected identifier "bar" in grouping opts, expected "(""#,
        ),
        (
            "foo + on(a bar",
            r#"1:12: parse error: unexpected identifier "bar" in grouping opts, expected "," or ")""#,
        ),
        (
            "foo + on(a b) bar",
            r#"1:12: parse error: unexpected identifier "b" in grouping opts, expected "," or ")""#,
        ),
        (
            "foo + on(1) bar",
            r#"1:10: parse error: unexpected number "1" in grouping opts, expected label"#,
        ),
        (
            r#"foo + on("") bar"#,
            r#"1:10: parse error: invalid label name for grouping: """#,
        ),
        (
            "foo + fill(x) bar",
            r#"1:12: parse error: unexpected identifier "x""#,
        ),
        (
            "foo + fill_left(1) fill_left(2) bar",
            r#"1:29: parse error: unexpected "(""#,
        ),
        (
            r#""a" + 1"#,
            "1:1: parse error: binary expression must contain only scalar and instant vector types",
        ),
        (
            "foo[5m] + 1",
            "1:1: parse error: binary expression must contain only scalar and instant vector types",
        ),
        (
            "1 + foo[5m]",
            "1:5: parse error: binary expression must contain only scalar and instant vector types",
        ),
        (
            r#"-"a""#,
            r#"1:1: parse error: unary expression only allowed on expressions of type scalar or instant vector, got "string""#,
        ),
        (
            "-foo[5m]",
            r#"1:1: parse error: unary expression only allowed on expressions of type scalar or instant vector, got "range vector""#,
        ),
        ("  (", "1:4: parse error: unclosed left parenthesis"),
        (
            "sum()",
            "1:1: parse error: no arguments for aggregate expression provided",
        ),
        (
            "sum(foo, bar)",
            "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 1, got 2",
        ),
        (
            "topk(foo)",
            "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 2, got 1",
        ),
        (
            "topk(foo, foo)",
            "1:6: parse error: expected type scalar in aggregation parameter, got instant vector",
        ),
        (
            r#"topk("a", foo)"#,
            "1:6: parse error: expected type scalar in aggregation parameter, got string",
        ),
        (
            "count_values(1, foo)",
            "1:14: parse error: expected type string in aggregation parameter, got scalar",
        ),
        (
            "sum(1)",
            "1:5: parse error: expected type instant vector in aggregation expression, got scalar",
        ),
        (
            "sum(foo[5m])",
            "1:5: parse error: expected type instant vector in aggregation expression, got range vector",
        ),
        (
            "sum by foo",
            r#"1:8: parse error: unexpected identifier "foo" in grouping opts, expected "(""#,
        ),
        (
            "sum by (foo",
            "1:12: parse error: unclosed left parenthesis",
        ),
        (
            "sum by (a) (foo) by (b)",
            "1:18: parse error: unexpected <by>",
        ),
        (
            "sum by (without) (foo)",
            "1:9: parse error: unexpected <without> in grouping opts, expected label",
        ),
        (
            "sum(foo bar)",
            r#"1:9: parse error: unexpected identifier "bar" in aggregation"#,
        ),
        (
            "sum foo",
            r#"1:5: parse error: unexpected identifier "foo""#,
        ),
        (
            "rate()",
            r#"1:1: parse error: expected 1 argument(s) in call to "rate", got 0"#,
        ),
        (
            "rate(foo)",
            r#"1:6: parse error: expected type range vector in call to function "rate", got instant vector"#,
        ),
        (
            "rate(foo[5m], 1)",
            r#"1:1: parse error: expected 1 argument(s) in call to "rate", got 2"#,
        ),
        (
            "rate(foo[5m],)",
            "1:13: parse error: trailing commas not allowed in function call args",
        ),
        (
            "rate(foo[5m] bar)",
            r#"1:14: parse error: unexpected identifier "bar""#,
        ),
        ("rate(, foo)", r#"1:6: parse error: unexpected ",""#),
        (
            "round(foo, 1, 2)",
            r#"1:1: parse error: expected at most 2 argument(s) in call to "round", got 3"#,
        ),
        (
            "label_join(foo)",
            r#"1:1: parse error: expected at least 3 argument(s) in call to "label_join", got 1"#,
        ),
        (
            r#"label_replace(foo, 1, "a", "b", "c")"#,
            r#"1:20: parse error: expected type string in call to function "label_replace", got scalar"#,
        ),
        (
            "vector(foo)",
            r#"1:8: parse error: expected type scalar in call to function "vector", got instant vector"#,
        ),
        (
            "scalar(1)",
            r#"1:8: parse error: expected type instant vector in call to function "scalar", got scalar"#,
        ),
        (
            "time(1)",
            r#"1:1: parse error: expected 0 argument(s) in call to "time", got 1"#,
        ),
        (
            "info(foo, bar)",
            "1:11: parse error: expected label selectors only, got vector selector instead",
        ),
        (
            "info(foo, 1)",
            r#"1:1: parse error: expected type instant vector in call to function "info", got scalar"#,
        ),
        (
            "info(foo, -foo)",
            "1:11: parse error: expected label selectors only",
        ),
        (
            r#"histogram_quantiles(foo, "a")"#,
            r#"1:1: parse error: expected at least 3 argument(s) in call to "histogram_quantiles", got 2"#,
        ),
        (
            "nosuch(foo)",
            r#"1:1: parse error: unknown function with name "nosuch""#,
        ),
        ("a:b(foo)", r#"1:4: parse error: unexpected "(""#),
        ("on", "1:1: parse error: unexpected <on>"),
        ("bool", "1:1: parse error: unexpected <bool>"),
        ("foo == == bar", "1:8: parse error: unexpected <op:==>"),
        ("foo = bar", r#"1:5: parse error: unexpected "=""#),
        (
            "foo =~ bar",
            "1:5: parse error: unexpected character after '=': '~'",
        ),
        (
            "foo ! bar",
            "1:5: parse error: unexpected character after '!': ' '",
        ),
        (
            "foo !~ bar",
            "1:5: parse error: unexpected character after '!': '~'",
        ),
        ("foo $ bar", "1:5: parse error: unexpected character: '$'"),
        ("foo ü", "1:5: parse error: unexpected character: 'ü'"),
        (r#""a"#, "1:1: parse error: unterminated quoted string"),
        (
            r#"'a\q'"#,
            "1:1: parse error: unknown escape sequence U+0071 'q'",
        ),
        (
            r#"'\x4'"#,
            "1:1: parse error: illegal character U+0027 ''' in escape sequence",
        ),
        (
            r#"'\ud800'"#,
            "1:1: parse error: escape sequence is an invalid Unicode code point",
        ),
        ("`a", "1:1: parse error: unterminated raw string"),
        ("5 5", r#"1:3: parse error: unexpected number "5""#),
        (
            "5e",
            r#"1:1: parse error: bad number or duration syntax: "5e""#,
        ),
        (
            "0x",
            r#"1:1: parse error: error parsing number: strconv.ParseFloat: parsing "0x": invalid syntax"#,
        ),
        (
            "1__0",
            r#"1:1: parse error: bad number or duration syntax: "1__""#,
        ),
        (
            "1.2.3",
            r#"1:1: parse error: bad number or duration syntax: "1.2.""#,
        ),
        (
            "1h1d",
            r#"1:1: parse error: not a valid duration string: "1h1d" (expected numbers with the units y, w, d, h, m, s, ms, largest first, as in 1h30m)"#,
        ),
        ("@ 5", "1:1: parse error: unexpected <op:@>"),
        (
            "foo smoothed anchored",
            "1:1: parse error: anchored and smoothed modifiers cannot be used together",
        ),
        (
            "foo[5m:] smoothed",
            "1:1: parse error: smoothed modifier is not supported for subqueries",
        ),
        (
            "(foo) smoothed",
            "1:1: parse error: smoothed modifier not implemented",
        ),
        ("foo &", "1:5: parse error: unexpected character: '&'"),
        (
            "",
            "unknown position: parse error: no expression found in input",
        ),
        (
            "foo + \n  raet(bar[5m])",
            "2:3: parse error: unknown function with name \"raet\" (did you mean \"rate\"?)",
        ),
        (
            "holt_winters(a[5m], 1, 1)",
            "1:1: parse error: unknown function with name \"holt_winters\" (did you mean \"double_exponential_smoothing\"?)",
        ),
        (
            "foo offset (5m) ^ bool 1",
            "1:17: parse error: bool modifier can only be used on comparison operators",
        ),
    ] {
        assert!(everything(text).is_err(), "{text}");
        assert_eq!(printed(text), expected, "{text}");
    }
}

#[test]
fn options_switch_parts_of_the_language_on() {
    let experimental = ParserOptions {
        experimental_functions: true,
        ..ParserOptions::default()
    };
    let plain_durations = ParserOptions {
        duration_expressions: false,
        ..ParserOptions::default()
    };
    let production = ParserOptions::default();
    for (text, options, message) in [
        ("foo[5m * 2] offset -(1m)", production, None),
        (
            "foo[5m * 2]",
            plain_durations,
            Some("experimental duration expression is not enabled"),
        ),
        ("foo offset -5m", plain_durations, None),
        (
            "foo[5m] anchored",
            production,
            Some("anchored modifier is experimental and not enabled"),
        ),
        (
            "foo smoothed",
            production,
            Some("smoothed modifier is experimental and not enabled"),
        ),
        (
            "a + fill(1) b",
            production,
            Some("binop fill modifiers are experimental and not enabled"),
        ),
        ("fill + fill", production, None),
        ("limitk(1, a)", experimental, None),
        (
            "limitk(1, a)",
            production,
            Some(
                "limitk() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
            ),
        ),
        (
            "sort_by_label(a, \"b\")",
            production,
            Some("function \"sort_by_label\" is not enabled"),
        ),
        (
            "step()",
            production,
            Some("function \"step\" is not enabled"),
        ),
        ("step()", experimental, None),
    ] {
        let got = parse(text, &options).err().map(|error| error.message);
        assert_eq!(got.as_deref(), message, "{text}");
    }
}

#[test]
fn long_expressions_are_split_into_lines() {
    let name = "a_metric_with_quite_a_long_name_so_that_it_fills_the_line";
    for (text, expected) in [
        ("a   +   b".to_owned(), "a + b".to_owned()),
        (
            format!("sum by (x) (rate({name}[5m])) / ({name} > bool on (y) {name})"),
            format!(
                "  sum by (x) (rate({name}[5m]))\n/\n  (\n      {name}\n    > bool on (y)\n      {name}\n  )"
            ),
        ),
        (
            format!("topk(5, clamp({name}, 1, 2) and {name})"),
            format!("topk(\n  5,\n    clamp({name}, 1, 2)\n  and\n    {name}\n)"),
        ),
        (
            format!("label_replace(-{name}[5m:1m] offset 1m, \"a\", \"b\", \"{name}\", \"d\")"),
            "1:15: parse error: unary expression only allowed on expressions of type scalar or instant vector, got \"range vector\"".to_owned(),
        ),
        (
            format!("max_over_time(({name} - {name})[1h:5m])"),
            format!("max_over_time(\n  (\n      {name}\n    -\n      {name}\n  )[1h:5m]\n)"),
        ),
        (
            format!("-({name} + {name})"),
            format!("-(\n    {name}\n  +\n    {name}\n)"),
        ),
    ] {
        let got = everything(&text).map_or_else(|e| e.to_string(), |expr| pretty(&expr));
        assert_eq!(got, expected, "{text}");
    }
}

#[test]
fn selectors_for_the_api() {
    for (text, expected) in [
        ("foo", Ok(r#"__name__="foo""#)),
        (r#"foo{a=~"b|c"}"#, Ok(r#"a=~"b|c" __name__="foo""#)),
        (r#"{"x.y","z"!="1"}"#, Ok(r#"__name__="x.y" z!="1""#)),
        (
            "{}",
            Err("1:1: parse error: match[] must contain at least one non-empty matcher"),
        ),
        (
            r#"{a=~".*"}"#,
            Err("1:1: parse error: match[] must contain at least one non-empty matcher"),
        ),
        (
            "foo offset 5m",
            Err("1:5: parse error: unexpected <offset>"),
        ),
        ("foo[5m]", Err("1:4: parse error: unexpected \"[\"")),
        ("1", Err("1:1: parse error: unexpected number \"1\"")),
        (
            "",
            Err("unknown position: parse error: unexpected end of input"),
        ),
    ] {
        let got = parse_selector(text)
            .map(|matchers| {
                let matchers: Vec<String> = matchers.iter().map(Matcher::to_string).collect();
                matchers.join(" ")
            })
            .map_err(|error| error.to_string());
        assert_eq!(
            got,
            expected.map(str::to_owned).map_err(str::to_owned),
            "{text}"
        );
    }
    assert_eq!(
        parse_any_selector("{}").map(|matchers| matchers.len()),
        Ok(0)
    );
}

#[test]
fn metrics_are_label_sets() {
    for (text, expected) in [
        ("foo", Ok(r#"{__name__="foo"}"#)),
        (
            r#"foo{b="1",a='2'}"#,
            Ok(r#"{__name__="foo", a="2", b="1"}"#),
        ),
        (r#"{"x.y"}"#, Ok(r#"{__name__="x.y"}"#)),
        ("{}", Ok("{}")),
        (
            "foo{a!=\"b\"}",
            Err("1:6: parse error: unexpected <op:!=> in label set, expected \"=\""),
        ),
        (
            "foo{a=1}",
            Err("1:7: parse error: unexpected character inside braces: '1'"),
        ),
        (
            "foo bar",
            Err("1:5: parse error: unexpected identifier \"bar\""),
        ),
    ] {
        let got = parse_metric(text)
            .map(|labels| labels.to_string())
            .map_err(|error| error.to_string());
        assert_eq!(
            got,
            expected.map(str::to_owned).map_err(str::to_owned),
            "{text}"
        );
    }
}

#[test]
fn durations_are_evaluated_for_a_query() {
    let minute = 60_000;
    for (text, expected) in [
        ("5m", Ok(5 * minute)),
        ("90.5", Ok(90_500)),
        ("0.001", Ok(1)),
        ("5m + 30", Ok(5 * minute + 30_000)),
        ("step() * 2", Ok(30_000)),
        ("range() / 4", Ok(15 * minute)),
        (
            "min_of(step(), 10s) + max_of(1m, range())",
            Ok(61 * minute - 50_000),
        ),
        ("-(1m - 3m)", Ok(2 * minute)),
        ("2 ^ 3 ^ 1 % 5", Ok(3_000)),
        ("1m / 7", Ok(8_571)),
        ("1m - 2m", Err("duration must be greater than 0")),
        ("1 / (step() - 15)", Err("division by zero")),
        ("1 % (step() - 15)", Err("modulo by zero")),
        ("(0 - 1) ^ 0.5", Err("duration is NaN or infinite")),
        ("1e9 * 1e9", Err("duration is out of range")),
        ("10 ^ 400", Err("duration is NaN or infinite")),
    ] {
        let expr = everything(&format!("foo[{text}]")).unwrap();
        let ExprKind::MatrixSelector(matrix) = &expr.kind else {
            panic!("{expr:?}");
        };
        let got = matrix.range.eval_positive_ms(0, 60 * minute, 15_000);
        assert_eq!(got, expected.map_err(str::to_owned), "{text}");
    }
    // An instant query has no step, whatever it says.
    assert_eq!(DurationExpr::Step.eval_ms(5, 5, 1000), Ok(0));
    assert_eq!(DurationExpr::LiteralMs(-5).eval_ms(0, 0, 0), Ok(-5));
}

fn shown_series(line: &str) -> String {
    let series = match parse_series_description(line) {
        Ok(series) => series,
        Err(error) => return error.to_string(),
    };
    let mut shown = series.labels.to_string();
    for value in &series.values {
        match value {
            SequenceValue::Omitted => shown.push_str(" _"),
            SequenceValue::Value {
                value,
                hint_written,
            } => match value.as_float() {
                Some(float) if narthex_model::is_stale_nan(float) => shown.push_str(" stale"),
                Some(float) => shown.push_str(&format!(" {float}")),
                None => shown.push_str(if *hint_written { " H!" } else { " H" }),
            },
        }
    }
    shown
}

#[test]
fn series_descriptions() {
    for (line, expected) in [
        ("a 1 2.5 -3", r#"{__name__="a"} 1 2.5 -3"#),
        (
            "a{b='c', \"d e\"='f',} 1x2\t5-2x3",
            r#"{__name__="a", b="c", "d e"="f"} 1 1 1 5 3 1 -1"#,
        ),
        (
            "{b='c'} _ _x2 _x0 stale 1e2+.5x1 ",
            r#"{b="c"} _ _ _ stale 100 100.5"#,
        ),
        (
            "a NaN -Inf Infx1",
            r#"1:12: parse error: unexpected "Infx1" in series values, expected number or "stale""#,
        ),
        ("a", r#"{__name__="a"}"#),
        ("{}", "{}"),
        ("a {{}} {{ schema:1 count:2 }}x1", r#"{__name__="a"} H H H"#),
        (
            "a {{count:1 counter_reset_hint:gauge}}",
            r#"{__name__="a"} H!"#,
        ),
        ("a {{count:1}}+{{count:2}}x2", r#"{__name__="a"} H H H"#),
        (
            "a b",
            r#"1:3: parse error: unexpected "b" in series values, expected number or "stale""#,
        ),
        (
            "a{b='c'}1",
            r#"1:9: parse error: unexpected "1" in series values"#,
        ),
        (
            "a{b=~'c'} 1",
            r#"1:4: parse error: unexpected <op:=~> in label set, expected "=""#,
        ),
        (
            "a 1x",
            r#"1:5: parse error: invalid repetition in series values: "" is no count"#,
        ),
        (
            "a 1+2",
            r#"1:6: parse error: unexpected end of input in series values, expected "x""#,
        ),
        (
            "a 1x99999999999",
            "1:1: parse error: a series may have 4000000 values, here are more",
        ),
        (
            "a 1x18446744073709551615",
            r#"1:5: parse error: invalid repetition in series values: "18446744073709551615" is no count"#,
        ),
        (
            "a {{bogus:1}}",
            r#"1:5: parse error: bad histogram descriptor found: "bogus""#,
        ),
        (
            "a {{sum}}",
            "1:5: parse error: missing `:` for histogram descriptor",
        ),
        (
            "a {{sum:1 sum:2}}",
            r#"1:11: parse error: duplicate key "sum" in histogram"#,
        ),
        (
            "a {{schema:99}}",
            "1:12: parse error: histogram has an invalid schema, which must be between -4 and 8 for exponential buckets or -53 for custom buckets, got schema 99",
        ),
        (
            "a {{buckets:[1 2}}",
            r#"1:17: parse error: unexpected '}' in buckets description, expected " " or "]""#,
        ),
        (
            "a {{schema:1}}+{{schema:0}}x1",
            "1:3: parse error: error combining histograms: cannot merge from schema 0 to 1",
        ),
        (
            "a {{",
            "1:5: parse error: histogram description incomplete unexpected: '\u{fffd}'",
        ),
    ] {
        assert_eq!(shown_series(line), expected, "{line}");
    }
}

#[test]
fn histograms_of_series_have_their_fields() {
    let line = "a {{schema:1 sum:4 count:6 z_bucket:1 z_bucket_w:0.5 buckets:[1 2] offset:2 \
                n_buckets:[2] n_offset:-1 counter_reset_hint:reset}}+{{schema:1 z_bucket_w:0.5 \
                buckets:[1 1 1] offset:1}}x1";
    let series = parse_series_description(line).unwrap();
    let histograms: Vec<_> = series
        .values
        .iter()
        .map(|value| match value {
            SequenceValue::Value {
                value: narthex_model::SampleValue::Histogram(h),
                ..
            } => h,
            other => panic!("{other:?}"),
        })
        .collect();
    let [first, second] = histograms.as_slice() else {
        panic!("{histograms:?}");
    };
    assert_eq!(
        (first.schema, first.sum, first.count, first.zero_count),
        (1, 4.0, 6.0, 1.0)
    );
    assert_eq!(
        first.counter_reset,
        narthex_model::histogram::CounterReset::Reset
    );
    assert_eq!(
        (first.negative_spans[0].offset, first.negative_buckets.len()),
        (-1, 1)
    );
    assert_eq!(
        (
            second.positive_spans[0].offset,
            second.positive_spans[0].length
        ),
        (1, 3)
    );
    assert_eq!(second.positive_buckets, [1.0, 2.0, 3.0]);
}

/// Texts that are all nesting: each is refused, and neither reading nor dropping what was read
/// takes more stack than a test's thread has.
#[test]
fn nesting_has_an_end() {
    let deep = 10_000;
    for text in [
        format!("{}a{}", "(".repeat(deep), ")".repeat(deep)),
        "(".repeat(deep),
        format!("{}1", "-".repeat(deep)),
        format!("{}a", "- ".repeat(deep)),
        format!("{}a", "a ^ ".repeat(deep)),
        format!("{}a{}", "abs(".repeat(deep), ")".repeat(deep)),
        format!("{}a{}", "sum by (b) (".repeat(deep), ")".repeat(deep)),
        format!("a{}", "[5m:]".repeat(deep)),
        format!("a[{}5m{}]", "(".repeat(deep), ")".repeat(deep)),
        format!("a[{}5m]", "-".repeat(deep)),
        format!("a[{}5m]", "5m + ".repeat(deep)),
        format!("a offset {}5m{}", "(".repeat(deep), ")".repeat(deep)),
        format!("a[{}1, 2{}]", "min_of(1, ".repeat(deep), ")".repeat(deep)),
    ] {
        let error = everything(&text).unwrap_err();
        let unclosed = error.message.starts_with("unclosed");
        assert!(
            unclosed || error.message.contains("nested too deeply"),
            "{error}"
        );
    }
}

#[test]
fn what_is_nested_less_is_read_printed_and_dropped() {
    let levels = MAX_DEPTH - 2;
    for text in [
        format!("{}a{}", "(".repeat(levels), ")".repeat(levels)),
        // A chain is one level.
        format!("{}a", "a or ".repeat(10_000)),
        format!("{}1", "1 + ".repeat(10_000)),
        format!("sum({}a ^ b)", "a * b or ".repeat(10_000)),
        format!("{}a{}", "abs(".repeat(levels), ")".repeat(levels)),
        format!("a[{}5m]", "5m + ".repeat(levels)),
    ] {
        let expr = everything(&text).unwrap();
        assert_eq!(expr.to_string(), text);
        assert_eq!(everything(&pretty(&expr)).unwrap().to_string(), text);
        drop(expr.clone());
    }
}

/// A margin of more than ten for slow machines; what grows with the square takes hours.
const BOUND: Duration = Duration::from_secs(30);

#[test]
fn long_texts_take_bounded_time() {
    let mega = 1 << 20;
    let quarter = mega / 4;
    let labels: Vec<String> = (0..60_000).map(|i| format!("l{i}")).collect();
    let (ons, includes) = labels.split_at(30_000);
    for (text, good) in [
        (format!("\"{}\"", "x".repeat(mega)), true),
        (format!("\"{}\"", "\\n".repeat(mega / 2)), true),
        (format!("\"{}", "x".repeat(mega)), false),
        (format!("{{a=~\"{}\"}}", "ab|".repeat(mega / 3)), false),
        (format!("{{a=~\"{}\"}}", "[ab]".repeat(mega / 4)), false),
        (
            format!("foo{{a=~\"{}\"}}", "pod-12345|".repeat(mega / 40)),
            true,
        ),
        (format!("{{a=~\"{}\"}}", "(".repeat(mega)), false),
        (
            format!("{{a=~\"{}\"}}", "(a{50}){50}".repeat(mega / 11)),
            false,
        ),
        ("1".repeat(mega), false),
        ("a".repeat(mega), true),
        (format!("{}a", "#".repeat(mega)), false),
        (format!("{{{}}}", "a=\"b\",".repeat(quarter / 6)), true),
        (format!("sum by ({}) (a)", "b,".repeat(quarter / 2)), true),
        (
            format!(
                "a * on ({}) group_left ({}) b",
                ons.join(","),
                includes.join(",")
            ),
            true,
        ),
        (format!("max_of({}1)", "1, ".repeat(quarter / 3)), false),
    ] {
        let start = Instant::now();
        let result = everything(&text);
        let head: String = text.chars().take(40).collect();
        if let Ok(expr) = &result {
            assert!(expr.to_string().len() <= 2 * text.len() && !pretty(expr).is_empty());
        }
        assert!(start.elapsed() < BOUND, "{head} took {:?}", start.elapsed());
        if good {
            assert!(result.is_ok(), "{head}: {}", result.unwrap_err());
        }
    }
}

/// Expressions of any shape; not all of them have right types.
fn any_expression() -> impl Strategy<Value = String> {
    let duration = prop_oneof![
        Just("5m".to_owned()),
        Just("90".to_owned()),
        Just("step() * 2".to_owned()),
        Just("(1h - 1m)".to_owned()),
        Just("max_of(1d, range())".to_owned()),
    ];
    let matcher = prop_oneof![
        Just(r#"a="b""#),
        Just(r#"c!~'d|e'"#),
        Just(r#""f g"=~".+""#),
        Just(r#"__name__!="x""#),
    ];
    let selector = (
        prop_oneof![Just("foo"), Just("sum"), Just("a:b"), Just("")],
        prop::collection::vec(matcher, 0..3),
        prop_oneof![
            Just(""),
            Just(" offset -5m"),
            Just(" @ 5 offset 1h"),
            Just(" @ start()")
        ],
    )
        .prop_map(|(name, matchers, modifier)| {
            format!("{name}{{{}}}{modifier}", matchers.join(","))
        });
    let leaf = prop_oneof![
        4 => selector,
        1 => prop_oneof![Just("1"), Just("-2.5"), Just("5m"), Just("Inf"), Just("\"s\\n\"")]
            .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(6, 40, 3, move |inner| {
        let operator = prop_oneof![
            Just("+"),
            Just("^"),
            Just("*"),
            Just("== bool"),
            Just(">"),
            Just("and"),
            Just("or"),
            Just("- on (a)"),
            Just("/ ignoring (a, b) group_left (c)"),
            Just("</"),
            Just("+ fill (1)"),
        ];
        prop_oneof![
            (inner.clone(), operator, inner.clone()).prop_map(|(l, op, r)| format!("{l} {op} {r}")),
            inner.clone().prop_map(|e| format!("({e})")),
            inner.clone().prop_map(|e| format!("-{e}")),
            inner.clone().prop_map(|e| format!("abs({e})")),
            inner
                .clone()
                .prop_map(|e| format!("sum by (a, \"b c\") ({e})")),
            inner
                .clone()
                .prop_map(|e| format!("topk without () (3, {e})")),
            (inner.clone(), duration.clone()).prop_map(|(e, d)| format!("rate({e}[{d}])")),
            (inner, duration.clone()).prop_map(|(e, d)| format!("max_over_time({e}[{d}:])")),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_printed_parses_to_the_same_print(text in any_expression()) {
        if let Ok(expr) = everything(&text) {
            let once = expr.to_string();
            prop_assert_eq!(&printed(&once), &once);
            prop_assert_eq!(&printed(&pretty(&expr)), &once);
        }
    }

    #[test]
    fn no_text_panics(text in r#"([ -~é\n]|sum|\[5m|offset|\{a=|"\)|by \(){0,40}"#) {
        for error in [
            everything(&text).err(),
            parse_any_selector(&text).err(),
            parse_metric(&text).err(),
            parse_series_description(&text).err(),
        ].into_iter().flatten() {
            prop_assert!(error.span.start <= text.len() && !error.message.is_empty());
        }
    }
}
