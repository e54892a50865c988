//! What librdkafka says of its own properties: their names, whose they are, what they take. It prints a table of them for its
//! documentation, which is read here.
//!
//! Law: librdkafka alone decides whether a property may be set. This is for messages, and for two names of one property.

use std::ffi::CStr;
use std::ptr;

use rdkafka_sys as sys;

/// One property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// Its name.
    pub name: String,
    /// The property of which it is another name.
    pub alias_of: Option<String>,
    /// Whether a client that reads uses it, and one that writes.
    pub reads: bool,
    /// See `reads`.
    pub writes: bool,
    /// What it takes, as librdkafka writes that; empty for any text.
    pub takes: String,
}

/// All properties that librdkafka documents.
pub(super) fn known() -> Vec<Known> {
    table().lines().filter_map(row).collect()
}

/// `name | C/P | takes | default | importance | description`.
fn row(line: &str) -> Option<Known> {
    let mut cells = line.splitn(6, " | ").map(str::trim);
    let [name, side, takes] = [cells.next()?, cells.next()?, cells.next()?];
    let (reads, writes) = match side {
        "*" => (true, true),
        "C" => (true, false),
        "P" => (false, true),
        _ => return None,
    };
    let alias = cells
        .nth(2)
        .and_then(|about| about.strip_prefix("Alias for `"));
    Some(Known {
        name: name.to_owned(),
        alias_of: alias.and_then(|rest| Some(rest.split_once('`')?.0.to_owned())),
        reads,
        writes,
        takes: takes.to_owned(),
    })
}

/// librdkafka's table as it prints it.
fn table() -> String {
    let mut text: *mut std::ffi::c_char = ptr::null_mut();
    let mut length = 0;
    // SAFETY: both places live until the stream is closed, which makes `text` a terminated text that is ours to free.
    unsafe {
        let stream = libc::open_memstream(&mut text, &mut length);
        if stream.is_null() {
            return String::new();
        }
        sys::rd_kafka_conf_properties_show(stream.cast());
        libc::fclose(stream);
        if text.is_null() {
            return String::new();
        }
        let table = CStr::from_ptr(text).to_string_lossy().into_owned();
        libc::free(text.cast());
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Known {
        let mut all = known().into_iter();
        all.find(|known| known.name == name).expect(name)
    }

    #[test]
    fn librdkafka_documents_its_properties() {
        assert!(known().len() > 150, "{}", known().len());
        let servers = named("bootstrap.servers");
        assert!(servers.reads && servers.writes);
        assert!(named("fetch.min.bytes").reads && !named("fetch.min.bytes").writes);
        assert!(named("linger.ms").writes && !named("linger.ms").reads);
        assert_eq!(named("linger.ms").takes, "0 .. 900000");
        assert_eq!(named("check.crcs").takes, "true, false");
    }

    #[test]
    fn another_name_of_a_property_says_of_which() {
        assert_eq!(
            named("sasl.mechanism").alias_of.as_deref(),
            Some("sasl.mechanisms")
        );
        assert_eq!(named("sasl.mechanisms").alias_of, None);
    }
}
