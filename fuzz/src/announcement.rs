//! What the processing library reads: messages that announce log files, and the events of those.

use cairn_processing::{Event, FileKind, Notification};

/// One text that may be a message, a key or an event.
///
/// # Panics
/// Where a message names no file although it says so, or something of an event is lost.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = FileKind::of(text);
    if let Notification::Files(files) = Notification::parse(text) {
        for file in files {
            let _ = (file.kind(), file.account_id());
        }
    }
    let Ok(event) = Event::parse(text) else { return };
    assert_eq!(event.text(), text, "the text is the record's");
    let value: serde_json::Value = match serde_json::from_str(text) {
        Ok(value) => value,
        // A number or a nesting that is beyond a tree is kept as text.
        Err(_) => return,
    };
    let members = value.as_object().expect("an event is an object");
    if let Some(name) = members.get("eventName") {
        let is_typed = event.event_name.as_deref() == name.as_str();
        assert!(is_typed || event.other.contains_key("eventName") || name.is_null(), "the name is lost");
    }
    for name in event.other.keys() {
        assert!(members.contains_key(name), "{name} is made up");
    }
}
