//! Templates in a receiver's fields and in the labels of routes.

use std::cell::RefCell;
use std::collections::BTreeMap;

use narthex_template::alertmanager_functions as functions;
use narthex_template::{Param, TemplateSet, Time, Value};

use crate::payload::{AlertData, Data};

/// Expands texts over one notification's data. Labels of the route are expanded when they are asked
/// for, as they may name each other.
pub(crate) struct Expander<'a> {
    data: &'a Data,
    route_labels: &'a BTreeMap<String, String>,
    now_ms: i64,
    /// The labels that are being expanded, outermost first.
    under_way: RefCell<Vec<String>>,
}

impl<'a> Expander<'a> {
    pub(crate) fn new(
        data: &'a Data,
        route_labels: &'a BTreeMap<String, String>,
        now_ms: i64,
    ) -> Expander<'a> {
        Expander {
            data,
            route_labels,
            now_ms,
            under_way: RefCell::new(Vec::new()),
        }
    }

    /// All labels of the route.
    pub(crate) fn route_labels(&self) -> Result<BTreeMap<String, String>, String> {
        let names = self.route_labels.keys();
        names
            .map(|name| Ok((name.clone(), self.route_label(name)?)))
            .collect()
    }

    /// `what` names the field in messages.
    pub(crate) fn expand(&self, what: &str, text: &str) -> Result<String, String> {
        if !text.contains("{{") {
            return Ok(text.to_owned());
        }
        let mut templates = TemplateSet::default();
        let parsed = templates.parse(what, text, &functions::is_function);
        parsed.map_err(|e| e.to_string())?;
        let mut available = functions::functions(self.now_ms);
        available.add("routeLabels", &[Param::String], |args| {
            let name = args.first().and_then(Value::as_str).unwrap_or_default();
            self.route_label(name).map(Value::string)
        });
        let expanded = templates.execute(what, &root(self.data), &available);
        expanded.map_err(|e| e.to_string())
    }

    fn route_label(&self, name: &str) -> Result<String, String> {
        let Some(text) = self.route_labels.get(name) else {
            return Ok(String::new());
        };
        if self.under_way.borrow().iter().any(|other| other == name) {
            let way = self.under_way.borrow().join(" -> ");
            return Err(format!("route labels refer to each other: {way} -> {name}"));
        }
        self.under_way.borrow_mut().push(name.to_owned());
        let expanded = self.expand(name, text);
        self.under_way.borrow_mut().pop();
        expanded
    }
}

/// The dot of a notification template.
fn root(data: &Data) -> Value {
    let alerts = data.alerts.iter().map(alert).collect();
    let fields = vec![
        ("Receiver", Value::string(data.receiver.as_str())),
        ("Status", Value::string(data.status)),
        ("Alerts", functions::alerts(alerts)),
        (
            "NotificationReason",
            Value::string(data.notification_reason),
        ),
        ("GroupLabels", label_values(&data.group_labels)),
        ("CommonLabels", label_values(&data.common_labels)),
        ("CommonAnnotations", map_values(&data.common_annotations)),
        ("RouteLabels", map_values(&data.route_labels)),
        ("ExternalURL", Value::string(data.external_url.as_str())),
    ];
    Value::structure("template.Data", fields, None)
}

fn alert(alert: &AlertData) -> Value {
    let time = |ms: Option<i64>| {
        let time = ms.and_then(Time::from_unix_ms);
        Value::Time(time.unwrap_or_else(Time::zero))
    };
    let fields = vec![
        ("Status", Value::string(alert.status)),
        ("Labels", label_values(&alert.labels)),
        ("Annotations", map_values(&alert.annotations)),
        ("StartsAt", time(Some(alert.starts_at_ms))),
        ("EndsAt", time(alert.ends_at_ms)),
        ("GeneratorURL", Value::string(alert.generator_url.as_str())),
        ("Fingerprint", Value::string(alert.fingerprint.as_str())),
    ];
    Value::structure("template.Alert", fields, None)
}

fn label_values(labels: &narthex_model::Labels) -> Value {
    functions::key_values(labels.iter().map(|label| (&*label.name, &*label.value)))
}

fn map_values(map: &BTreeMap<String, String>) -> Value {
    functions::key_values(map.iter().map(|(k, v)| (k.as_str(), v.as_str())))
}
