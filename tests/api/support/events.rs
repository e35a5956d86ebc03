//! Events as another service would post them.

use serde_json::{Value, json};

/// A CloudEvent that states `data` as of now. Tests that care about its `id` or `time` set them on
/// the value.
pub fn event(kind: &str, data: Value) -> Value {
    json!({
        "specversion": "1.0",
        "id": uuid::Uuid::new_v4(),
        "source": "/tests",
        "type": kind,
        "time": jiff::Timestamp::now().to_string(),
        "datacontenttype": "application/json",
        "data": data,
    })
}
