//! What was written, held against the one table: known, in its place, once, and as far as a word tells with a right value.

use super::duration::micros;
use super::fraction::millionths;
use super::table::{OPTIONS, OptionSpec, Scope, ValueKind};
use super::{OptionError, WrittenEmit, WrittenOption};
use crate::config::Property;
use crate::config::nearest::nearest;

/// Options that the table admits in some scopes, each at most once.
pub(super) struct Admitted<'a> {
    written: &'a [WrittenOption],
    scopes: &'a [Scope],
}

impl<'a> Admitted<'a> {
    pub(super) fn hold(
        written: &'a [WrittenOption],
        scopes: &'a [Scope],
    ) -> Result<Admitted<'a>, OptionError> {
        for (place, option) in written.iter().enumerate() {
            let Some(spec) = find(&option.key, scopes) else {
                return Err(unknown(option, scopes));
            };
            if written[..place]
                .iter()
                .any(|before| before.key == option.key)
            {
                return Err(refuse(
                    option,
                    format!("option {} stands twice", option.key),
                    Some("leave one of them out"),
                ));
            }
            hold_value(option, spec)?;
        }
        Ok(Admitted { written, scopes })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &'a WrittenOption> {
        self.written.iter()
    }

    pub(super) fn applies(&self, name: &str) -> bool {
        find(name, self.scopes).is_some()
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a WrittenOption> {
        debug_assert!(
            OPTIONS.iter().any(|spec| spec.name == name),
            "{name} is not in the table"
        );
        self.iter().find(|option| option.key == name)
    }

    pub(super) fn word(&self, name: &str) -> Option<&'a str> {
        self.get(name).map(|option| option.value.as_str())
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.word(name).map(str::to_owned)
    }

    pub(super) fn needed(&self, name: &str) -> Result<&'a WrittenOption, OptionError> {
        self.get(name).ok_or_else(|| OptionError {
            option: name.into(),
            span: None,
            message: format!("a {} needs the option {name}", self.scopes[0].name()),
            hint: Some(format!("add {name} = '..' to WITH")),
        })
    }

    /// Column names fold to lower case unless quoted, as in the rest of SQL.
    pub(super) fn columns(&self, name: &str) -> Result<Option<Vec<String>>, OptionError> {
        let Some(option) = self.get(name) else {
            return Ok(None);
        };
        let mut columns: Vec<String> = Vec::new();
        for written in option.value.split(',').map(str::trim) {
            let quoted = written
                .strip_prefix('"')
                .and_then(|rest| rest.strip_suffix('"'));
            let column = quoted.map_or_else(|| written.to_lowercase(), str::to_owned);
            if column.is_empty() {
                return Err(wrong_value(option, &ValueKind::Columns));
            }
            if columns.contains(&column) {
                let message = format!("option {name} names column {column} twice");
                return Err(refuse(option, message, Some("name it once")));
            }
            columns.push(column);
        }
        Ok(Some(columns))
    }

    /// `kafka.*`; planning reads no file, so that what refers to one, or to a variable, stays a reference.
    pub(super) fn properties(&self) -> Result<Vec<Property>, OptionError> {
        let mut properties: Vec<Property> = Vec::new();
        for option in self.iter() {
            let Some(name) = option.key.strip_prefix("kafka.") else {
                continue;
            };
            let origin = option.origin.clone();
            let property = match name.strip_suffix(".file") {
                Some(name) => {
                    Property::kept_in(name, &option.value, &format!("kafka.{name}"), origin)
                }
                None => Property::new(name, option.value.as_str(), option.key.as_str(), origin)
                    .map_err(|wrong| {
                        let (wrong, hint) = wrong.split_once("; ").unwrap_or((&wrong, ""));
                        refuse(option, format!("option {} {wrong}", option.key), Some(hint))
                    })?,
            };
            if properties.iter().any(|before| before.name == property.name) {
                let message = format!("option {} stands twice", property.key);
                return Err(refuse(option, message, Some("leave one of them out")));
            }
            properties.push(property);
        }
        Ok(properties)
    }
}

pub(super) fn find(name: &str, scopes: &[Scope]) -> Option<&'static OptionSpec> {
    OPTIONS
        .iter()
        .find(|spec| spec.applies(scopes) && spec.names(name))
}

/// Holds one value against what its option takes, as far as a word tells.
pub(super) fn hold_value(option: &WrittenOption, spec: &OptionSpec) -> Result<(), OptionError> {
    let Some(kind) = spec.kind else {
        return Err(refuse(
            option,
            format!("option {} is not available yet", option.key),
            Some("leave it out"),
        ));
    };
    let value = option.value.as_str();
    let admitted = match kind {
        ValueKind::Choice { now, .. } => now.contains(&value),
        ValueKind::Position { now, .. } => {
            now.contains(&value) || value.starts_with("offsets:") || value.starts_with("timestamp:")
        }
        ValueKind::Duration { or } => or == Some(value) || micros(value).is_some(),
        ValueKind::Fraction => millionths(value).is_some(),
        ValueKind::WatermarkEmit => watermark_emit(value).is_some(),
        ValueKind::Boolean => matches!(value, "true" | "false"),
        ValueKind::Number => !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()),
        ValueKind::Text | ValueKind::Columns | ValueKind::Character => {
            !value.trim().is_empty() || value == "\t"
        }
        ValueKind::AnyText => true,
        ValueKind::Target => ["file:", "kafka:"].iter().any(|kind| {
            let place = value.strip_prefix(kind);
            place.is_some_and(|place| !place.trim().is_empty())
        }),
    };
    if admitted {
        Ok(())
    } else {
        Err(wrong_value(option, &kind))
    }
}

/// Reads `record`, `interval:200ms`, `punctuated:EXPRESSION` and `hybrid:EXPRESSION,200ms`; an expression is only not empty here.
pub(super) fn watermark_emit(value: &str) -> Option<WrittenEmit> {
    let expression = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    if value == "record" {
        return Some(WrittenEmit::default());
    }
    let (kind, rest) = value.split_once(':')?;
    match kind {
        "interval" => Some(WrittenEmit {
            interval_us: Some(micros(rest)?),
            punctuation: None,
        }),
        "punctuated" => Some(WrittenEmit {
            interval_us: None,
            punctuation: Some(expression(rest)?),
        }),
        "hybrid" => {
            // The expression may hold commas, a duration does not.
            let (text, interval) = rest.rsplit_once(',')?;
            Some(WrittenEmit {
                interval_us: Some(micros(interval.trim())?),
                punctuation: Some(expression(text)?),
            })
        }
        _ => None,
    }
}

pub(super) fn wrong_value(option: &WrittenOption, kind: &ValueKind) -> OptionError {
    let (key, value) = (option.key.as_str(), option.value.as_str());
    let allowed = format!("allowed: {}", kind.allowed());
    let later = match kind {
        ValueKind::Choice { later, .. } => later.contains(&value),
        ValueKind::Position { later, .. } => {
            later.contains(&value.split(':').next().unwrap_or(value))
        }
        _ => false,
    };
    if later {
        return refuse(
            option,
            format!("{key} = '{value}' is not available yet"),
            Some(&allowed),
        );
    }
    let hint = match kind {
        ValueKind::Choice { now, .. } | ValueKind::Position { now, .. } => {
            match nearest(value, now.iter().copied()) {
                Some(word) => format!("did you mean '{word}'? {allowed}"),
                None => allowed,
            }
        }
        _ => allowed,
    };
    refuse(
        option,
        format!("option {key} cannot be '{value}'"),
        Some(&hint),
    )
}

pub(super) fn unknown(option: &WrittenOption, scopes: &[Scope]) -> OptionError {
    let key = option.key.as_str();
    if let Some(elsewhere) = OPTIONS.iter().find(|spec| spec.names(key)) {
        let at = elsewhere
            .scopes
            .iter()
            .map(|scope| format!("a {}", scope.name()))
            .collect::<Vec<_>>()
            .join(" or ");
        let message = format!("option {key} does not apply to a {}", scopes[0].name());
        return refuse(option, message, Some(&format!("it is an option of {at}")));
    }
    let known = || {
        OPTIONS
            .iter()
            .filter(|spec| spec.applies(scopes) && spec.kind.is_some())
            .map(|spec| spec.name)
    };
    let hint = match nearest(key, known().filter(|name| !name.ends_with('*'))) {
        Some(name) => format!("did you mean {name}?"),
        None if key.contains('.') && known().any(|name| name == "kafka.*") => {
            format!("a property of librdkafka is written kafka.{key}")
        }
        None => format!(
            "its options: {}",
            known()
                .collect::<Vec<_>>()
                .join(", ")
                .replace('*', "<property>")
        ),
    };
    refuse(
        option,
        format!("unknown option {key} of a {}", scopes[0].name()),
        Some(&hint),
    )
}

pub(super) fn refuse(option: &WrittenOption, message: String, hint: Option<&str>) -> OptionError {
    OptionError {
        option: option.key.clone(),
        span: Some(option.span),
        message,
        hint: hint.map(str::to_owned),
    }
}
