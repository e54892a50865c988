//! One property of librdkafka as it was configured: its name, its value if that may be seen, and where it was written.
//!
//! Law: what a value is follows from its name and its form alone, in whatever layer it was written: a secret by its name, a
//! reference by `{ file = ".." }` or `${NAME}`. What came by a reference is a secret, but for the addresses of brokers, which
//! every message about them names.

use std::fmt;

use super::origin::Origin;
use super::reference::{Reference, Variables};
use super::secret::{Secret, is_secret_name};

/// The property whose value is shown however it was written.
const ADDRESSES: &str = "bootstrap.servers";

/// One property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// Its name, as librdkafka calls it.
    pub name: String,
    /// Its value.
    pub value: PropertyValue,
    /// The key under which it was written, such as `kafka.consumer.check.crcs`.
    pub key: String,
    /// Where it was written.
    pub origin: Origin,
}

/// The value of a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PropertyValue {
    /// May be seen.
    Open(String),
    /// May not be seen; `shown` is what stands in its place.
    Hidden {
        /// The value.
        secret: Secret,
        /// What is shown instead.
        shown: String,
    },
    /// Has not been read yet.
    Reference(Reference),
}

impl Property {
    /// A property of this name with a value as it was written; the error says what is wrong with that.
    pub fn new(
        name: impl Into<String>,
        value: impl Into<String>,
        key: impl Into<String>,
        origin: Origin,
    ) -> Result<Property, String> {
        let (name, value) = (name.into(), value.into());
        let value = match Reference::of(&value)? {
            Some(reference) => PropertyValue::Reference(reference),
            None if is_secret_name(&name) => hidden(Secret::new(value), None),
            None => PropertyValue::Open(value.replace("$${", "${")),
        };
        Ok(Property {
            name,
            value,
            key: key.into(),
            origin,
        })
    }

    /// A property whose value a file holds.
    pub fn kept_in(name: &str, path: &str, key: &str, origin: Origin) -> Property {
        Property {
            name: name.to_owned(),
            value: PropertyValue::Reference(Reference::File(path.into())),
            key: key.to_owned(),
            origin,
        }
    }

    /// A property of the engine's own.
    pub fn built_in(name: &str, value: &str) -> Property {
        Property {
            name: name.to_owned(),
            value: PropertyValue::Open(value.to_owned()),
            key: format!("kafka.{name}"),
            origin: Origin::Default,
        }
    }

    /// The same with its value read from where it is kept.
    pub fn resolved(mut self, variables: Variables<'_>) -> Result<Property, String> {
        if let PropertyValue::Reference(reference) = &self.value {
            let secret = reference.resolve(variables)?;
            self.value = match self.name == ADDRESSES {
                true => PropertyValue::Open(secret.reveal().to_owned()),
                false => hidden(secret, Some(reference)),
            };
        }
        Ok(self)
    }
}

impl PropertyValue {
    /// The value, for librdkafka alone; `None` where it has not been read yet.
    pub fn revealed(&self) -> Option<&str> {
        match self {
            PropertyValue::Open(value) => Some(value),
            PropertyValue::Hidden { secret, .. } => Some(secret.reveal()),
            PropertyValue::Reference(_) => None,
        }
    }
}

fn hidden(secret: Secret, reference: Option<&Reference>) -> PropertyValue {
    let shown = reference.map_or_else(|| secret.to_string(), Reference::to_string);
    PropertyValue::Hidden { secret, shown }
}

/// What may be shown of it.
impl fmt::Display for PropertyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PropertyValue::Open(value) => f.write_str(value),
            PropertyValue::Hidden { shown, .. } => f.write_str(shown),
            PropertyValue::Reference(reference) => reference.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn property(name: &str, value: &str) -> Property {
        Property::new(name, value, format!("kafka.{name}"), Origin::Default).expect("right")
    }

    #[test]
    fn a_secret_is_hidden_however_it_is_written() {
        let variables = |_: &str| Some(OsString::from("hunter2"));
        for (name, value, shown) in [
            ("sasl.password", "hunter2", "(secret)"),
            ("sasl.password", "${PASSWORD}", "${PASSWORD}"),
            ("sasl.password", "hunter2${PASSWORD}", "(secret)"),
            ("client.id", "${PASSWORD}", "${PASSWORD}"),
            ("client.id", "velo", "velo"),
        ] {
            let resolved = property(name, value)
                .resolved(&variables)
                .expect("it is set");
            assert_eq!(resolved.value.to_string(), shown, "{name} = {value}");
            assert!(!format!("{resolved:?}").contains("hunter2"), "{resolved:?}");
        }
    }

    #[test]
    fn addresses_are_shown() {
        let variables = |_: &str| Some(OsString::from("broker:9092"));
        let resolved = property("bootstrap.servers", "${BROKERS}").resolved(&variables);
        assert_eq!(
            resolved.expect("it is set").value,
            PropertyValue::Open("broker:9092".into())
        );
    }
}
