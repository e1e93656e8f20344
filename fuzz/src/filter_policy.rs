//! Filter policies: any text is refused with a reason, or makes a policy that decides on any message, always alike.
//!
//! The input is a policy, a line feed, and a message's body, which stands for an attribute's value as well.

use cairn_core::filter_policy::{FilterPolicy, FilterPolicyScope, MessageAttribute};

/// One policy and one message.
///
/// # Panics
/// Where a refusal has no reason, or a policy decides otherwise the second time it is read.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (policy, body) = text.split_once('\n').unwrap_or((text, text));
    let attributes = [
        MessageAttribute { name: "a", data_type: "String", text: Some(body) },
        MessageAttribute { name: "b", data_type: "String.Array", text: Some(body) },
        MessageAttribute { name: "c", data_type: "Number", text: Some(body) },
        MessageAttribute { name: "d", data_type: "Binary", text: None },
    ];
    for scope in [FilterPolicyScope::MessageAttributes, FilterPolicyScope::MessageBody] {
        match FilterPolicy::parse(policy, scope) {
            Ok(parsed) => {
                let again = FilterPolicy::parse(policy, scope).expect("it was read before");
                assert_eq!(parsed.matches(&attributes, body), again.matches(&attributes, body));
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}
