//! Samples of what crosses the Python border, kept in a file that the Python side is held to as well.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Environment variable that has the file written anew instead of compared.
const WRITE: &str = "MEESHY_WRITE_INTERFACE";

/// Compares the samples with the file, or writes it when asked to.
pub(crate) fn hold_to(path: &Path, samples: &Value) {
    let text = serde_json::to_string_pretty(samples).unwrap() + "\n";
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(path, text).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == text,
        "{} is not what the Rust side speaks now; run this test again with {WRITE}=1, then the Python tests named \
         test_native_interface",
        path.display()
    );
}

/// Every value is there: nothing is null or empty, or the Python side could not be held to what is in it.
pub(crate) fn assert_full(path: &str, value: &Value) {
    match value {
        Value::Null => panic!("{path} is null"),
        Value::String(text) => assert!(!text.is_empty(), "{path} is empty"),
        Value::Array(items) => {
            assert!(!items.is_empty(), "{path} is empty");
            for (index, item) in items.iter().enumerate() {
                assert_full(&format!("{path}[{index}]"), item);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                assert_full(&format!("{path}.{name}"), field);
            }
        }
        _ => {}
    }
}

/// An unknown key is refused by its name, whichever object it stands in; `lenient` names those that ignore it.
pub(crate) fn assert_strict<T: DeserializeOwned + Serialize>(sample: &Value, lenient: &[&str]) {
    let read: T = serde_json::from_value(sample.clone()).unwrap();
    assert_eq!(&serde_json::to_value(&read).unwrap(), sample);
    for path in objects(sample, "") {
        let mut changed = sample.clone();
        let object = changed.pointer_mut(&path).and_then(Value::as_object_mut);
        object
            .unwrap()
            .insert("max_incomming_bps".into(), 1000.into());
        let refusal = serde_json::from_value::<T>(changed)
            .err()
            .map(|e| e.to_string());
        if lenient.iter().any(|part| path.starts_with(part)) {
            assert_eq!(refusal, None, "{path} of {sample}");
        } else {
            let refusal = refusal
                .unwrap_or_else(|| panic!("an unknown key is taken at {path:?} of {sample}"));
            assert!(
                refusal.contains("unknown field `max_incomming_bps`"),
                "{refusal}"
            );
        }
    }
}

/// JSON pointers of all objects in a value, itself first.
fn objects(value: &Value, path: &str) -> Vec<String> {
    let inside: Vec<(String, &Value)> = match value {
        Value::Object(fields) => named(fields),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(n, item)| (n.to_string(), item))
            .collect(),
        _ => Vec::new(),
    };
    let own = value.is_object().then(|| path.to_owned());
    let deeper = inside
        .into_iter()
        .flat_map(|(name, item)| objects(item, &format!("{path}/{name}")));
    own.into_iter().chain(deeper).collect()
}

fn named(fields: &Map<String, Value>) -> Vec<(String, &Value)> {
    fields
        .iter()
        .map(|(name, field)| (name.clone(), field))
        .collect()
}

/// The words serde takes for an enum, sorted, from what it says about one it does not know.
pub(crate) fn words_of<T: DeserializeOwned>(unknown: &Value) -> Vec<String> {
    let refusal = serde_json::from_value::<T>(unknown.clone())
        .err()
        .unwrap()
        .to_string();
    // "unknown variant ``, expected one of `a`, `b`" or "…, expected `a` or `b`"
    let mut words: Vec<String> = refusal
        .split('`')
        .skip(3)
        .step_by(2)
        .map(str::to_owned)
        .collect();
    words.sort();
    words
}
