//! Both grammars of matchers.

use narthex_model::Labels;

use super::*;

/// What a text is read as, in one line; `ERR` where it is refused.
fn read(text: &str, syntax: Syntax) -> String {
    match parse(text, syntax) {
        Ok(parsed) => parsed
            .matchers
            .iter()
            .map(|m| format!("{}{}{}", m.name, m.op.as_str(), m.value))
            .collect::<Vec<_>>()
            .join(" & "),
        Err(_) => "ERR".to_owned(),
    }
}

fn check(syntax: Syntax, table: &[(&str, &str)]) {
    for (text, expected) in table {
        assert_eq!(read(text, syntax), *expected, "{syntax:?}: {text}");
    }
}

#[test]
fn utf8_grammar() {
    check(
        Syntax::Utf8,
        &[
            ("", ""),
            ("{}", ""),
            (",", "ERR"),
            ("{,}", "ERR"),
            ("{", "ERR"),
            ("}", "ERR"),
            ("foo=bar}", "ERR"),
            ("{foo=bar", "ERR"),
            ("{foo=bar,,}", "ERR"),
            ("{foo=bar}", "foo=bar"),
            ("{foo=bar,}", "foo=bar"),
            ("foo=bar", "foo=bar"),
            ("foo=bar,", "foo=bar"),
            ("{ foo = bar }", "foo=bar"),
            ("{foo!=bar}", "foo!=bar"),
            ("{foo=~[a-z]+}", "foo=~[a-z]+"),
            ("{foo!~[a-z]+}", "foo!~[a-z]+"),
            ("{foo=🙂}", "foo=🙂"),
            (r#"{"foo"="\xf0\x9f\x99\x82"}"#, "foo=🙂"),
            (r#"{"foo"="\U0001f642"}"#, "foo=🙂"),
            (r#"{"foo"="\360\237\231\202"}"#, "foo=🙂"),
            (r#"{"foo"="bar"}"#, "foo=bar"),
            (r#"{foo="bar"}"#, "foo=bar"),
            (r#"{"foo"=bar}"#, "foo=bar"),
            (r#"{"foo"=~"\\d+"}"#, r"foo=~\d+"),
            (r#"{foo="bar\n"}"#, "foo=bar\n"),
            (r#"{foo="bar\t"}"#, "foo=bar\t"),
            (r#"{foo="\"bar\""}"#, "foo=\"bar\""),
            (r#"{foo="bar\\"}"#, r"foo=bar\"),
            ("foo=bar,bar!=baz", "foo=bar & bar!=baz"),
            ("{foo=bar,bar!=baz,}", "foo=bar & bar!=baz"),
            (
                r#"{foo="bar",bar!~"[a-zA-Z]+"}"#,
                "foo=bar & bar!~[a-zA-Z]+",
            ),
            (r#"{foo=:"bar"}"#, "ERR"),
            (r#"{foo="bar\w"}"#, "ERR"),
            (r#"{"foo"=~"\d+"}"#, "ERR"),
            (r"{foo=bar\n}", "ERR"),
            (r#"{foo="\xf0\x9f"}"#, "ERR"),
            (r#"{foo="\400"}"#, "ERR"),
            (r#"{foo="\ud800"}"#, "ERR"),
            (r#"{""=bar}"#, "ERR"),
            (r#"{foo="bar}"#, "ERR"),
            ("foo=", "ERR"),
            (r#"foo="""#, "foo="),
            ("foo", "ERR"),
            ("foo!bar", "ERR"),
            ("foo=bar baz=qux", "ERR"),
            ("{foo=bar}}", "ERR"),
            ("{foo=~\"(\"}", "ERR"),
        ],
    );
}

#[test]
fn classic_grammar() {
    check(
        Syntax::Classic,
        &[
            ("", ""),
            ("{}", ""),
            ("{foo='}", "foo='"),
            ("{foo=`}", "foo=`"),
            (r#"{foo=\"}"#, "foo=\""),
            (r"{foo=bar\t}", r"foo=bar\t"),
            (r"{foo=bar\n}", "foo=bar\n"),
            (r"{foo=bar\}", r"foo=bar\"),
            (r"{foo=bar\\}", r"foo=bar\"),
            (
                r#"{foo = "bar", dings != "bums", }"#,
                "foo=bar & dings!=bums",
            ),
            (r#"{foo="bar,quux", job="job1"}"#, "foo=bar,quux & job=job1"),
            (r#"contains_comma !~ "foo,bar","#, "contains_comma!~foo,bar"),
            (
                r#"quote="She said: \"Hi, ladies! That's gender-neutral…\"""#,
                "quote=She said: \"Hi, ladies! That's gender-neutral…\"",
            ),
            (r#"statuscode=~"5..""#, "statuscode=~5.."),
            (
                r#"{foo="bar", baz!~".*quux.*", derp="wat"}"#,
                "foo=bar & baz!~.*quux.* & derp=wat",
            ),
            (r#"contains_quote != "\"""#, "contains_quote!=\""),
            ("tricky=~~~", "tricky=~~~"),
            (r#"trickier==\\=\=\""#, r#"trickier==\=\=""#),
            ("job=", "job="),
            ("{foo=", "foo="),
            ("{foo=,bar=}}", "foo= & bar=}"),
            ("{foo=bar}}", "foo=bar}"),
            ("{foo=bar}},}", "foo=bar}}"),
            ("{foo=}b", "foo=}b"),
            (",", "ERR"),
            ("{,}", "ERR"),
            (r#"job="value"#, "ERR"),
            (r#"job=value""#, "ERR"),
            (r#"foo"bar"#, "ERR"),
            ("invalid-name", "ERR"),
            ("invalid-name=x", "ERR"),
            ("1foo=x", "ERR"),
            (r#"{foo=~"invalid[regexp"}"#, "ERR"),
            (r#""{foo=\"bar"}"#, "ERR"),
            ("{{foo=", "ERR"),
            ("{{foo=}", "ERR"),
        ],
    );
}

#[test]
fn fallback_keeps_the_classic_meaning_and_warns() {
    for (text, expected, warns) in [
        ("foo=bar", "foo=bar", false),
        (
            r#"{name-with-dashes = "bar"}"#,
            "name-with-dashes=bar",
            false,
        ),
        ("foo🙂=bar", "foo🙂=bar", false),
        (r"foo=!bar\n", "foo=!bar\n", true),
        (r#"foo="\xf0\x9f\x99\x82""#, r"foo=\xf0\x9f\x99\x82", true),
        ("foo=", "foo=", true),
        ("foo!bar", "ERR", false),
    ] {
        assert_eq!(read(text, Syntax::Fallback), expected, "{text}");
        let warning = parse(text, Syntax::Fallback).map(|parsed| parsed.warning);
        assert_eq!(matches!(warning, Ok(Some(_))), warns, "{text}");
    }
    let warning = parse(r"foo=!bar\n", Syntax::Fallback).unwrap().warning;
    assert_eq!(
        warning.as_deref(),
        Some(r#"matcher foo=!bar\n is not understood by the UTF-8 grammar; write foo="!bar\n""#)
    );
}

#[test]
fn one_matcher() {
    for (text, expected) in [
        ("foo=bar", Ok("foo=\"bar\"")),
        ("", Err("no matchers")),
        ("{}", Err("unexpected open or close brace: {}")),
        (
            "{foo=bar}",
            Err("unexpected open or close brace: {foo=bar}"),
        ),
        ("foo=bar,baz=qux", Err("expected 1 matcher, found 2")),
        (
            "foo",
            Err("bad matcher format: foo (expected name=\"value\", with =, !=, =~ or !~)"),
        ),
        (
            "foo=~(",
            Err("invalid regular expression \"(\": unclosed group"),
        ),
    ] {
        let result = parse_one(text, Syntax::Fallback);
        let result = result.map(|m| format(&m)).map_err(|e| e.to_string());
        assert_eq!(result, expected.map(str::to_owned).map_err(str::to_owned));
    }
}

#[test]
fn errors_have_a_place() {
    for (text, expected) in [
        (",", "0:1: unexpected ,: expected label name"),
        ("{", "1:1: end of input: expected close brace"),
        ("foo=bar}", "7:8: unexpected }: expected opening brace"),
        (
            "foo bar",
            "4:5: unexpected b: expected an operator such as '=', '!=', '=~' or '!~'",
        ),
        ("foo=\"bar", "4:8: missing end \""),
    ] {
        let error = parse(text, Syntax::Utf8).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn names() {
    for (name, classic, utf8) in [
        ("foo", true, true),
        ("foo_bar1", true, true),
        ("foo🙂", false, true),
        ("foo-bar", false, true),
        ("foo.bar", false, true),
        ("00", false, true),
        ("", false, false),
    ] {
        assert_eq!(is_valid_name(name, Syntax::Classic), classic, "{name}");
        assert_eq!(is_valid_name(name, Syntax::Fallback), utf8, "{name}");
    }
}

#[test]
fn a_missing_label_is_an_empty_one() {
    let none = Labels::empty();
    let abc = Labels::from_pairs([("foo", "abarx")]);
    for (text, labels, expected) in [
        ("foo=\"\"", &none, true),
        ("foo=~\"\"", &none, true),
        ("foo!=\"\"", &none, false),
        ("foo!~\"bar|baz\"", &none, true),
        ("foo=~\"b.r\"", &abc, false),
    ] {
        let matcher = parse_one(text, Syntax::Fallback).unwrap();
        assert_eq!(matcher.matches_labels(labels), expected, "{text}");
    }
}

#[test]
fn canonical_form() {
    let matchers = parse(r#"b=~"x\"y", a!="2", "sp ace"=v, a="1", ü=z"#, Syntax::Utf8);
    assert_eq!(
        format_all(&matchers.unwrap().matchers),
        r#"{a="1",a!="2",b=~"x\"y","sp ace"="v",ü="z"}"#
    );
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "[{}=~!,\"\\\\a-c\\n 🙂']{0,12}") {
        for syntax in [Syntax::Fallback, Syntax::Classic, Syntax::Utf8] {
            let _ = parse(&text, syntax);
            let _ = parse_one(&text, syntax);
        }
    }

    #[test]
    fn the_canonical_form_is_read_back(name in ".{1,6}", value in ".{0,6}", negated: bool) {
        let op = if negated { MatchOp::NotEqual } else { MatchOp::Equal };
        let matcher = Matcher::new(name, op, value).unwrap();
        let text = format_all(std::slice::from_ref(&matcher));
        proptest::prop_assert_eq!(parse(&text, Syntax::Utf8).unwrap().matchers, [matcher]);
    }
}
