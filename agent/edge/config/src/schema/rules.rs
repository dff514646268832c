//! The shape of a rule file. What makes a rule valid is known to `narthex-rules`.

use super::{Kind, Object, TEXT_MAP, count, duration, field, text};

pub(crate) static RULE_FILE: Object =
    Object::new("a rule file", &[&[field("groups", Kind::Objects(&GROUP))]]);

static GROUP: Object = Object::new(
    "a rule group",
    &[&[
        text("name"),
        duration("interval"),
        duration("query_offset"),
        count("limit"),
        field("labels", TEXT_MAP),
        field("rules", Kind::Objects(&RULE)),
    ]],
);

static RULE: Object = Object::new(
    "a rule",
    &[&[
        text("record"),
        text("alert"),
        text("expr"),
        duration("for"),
        duration("keep_firing_for"),
        field("labels", TEXT_MAP),
        field("annotations", TEXT_MAP),
    ]],
);
