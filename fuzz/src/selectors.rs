//! Selectors: any JSON is refused with a reason, or makes a selection that is kept and shown without loss.
//!
//! The input is a JSON object with the members `EventSelectors` or `AdvancedEventSelectors`, or both.

use cairn_core::Record;
use cairn_core::selector::EventSelection;
use serde_json::Value;

/// Events for the selections to decide on.
const EVENTS: [&str; 3] = [
    r#"{"eventTime":"2026-11-21T10:00:00Z","eventID":"e","awsRegion":"us-east-1","eventSource":"kms.amazonaws.com","eventName":"Decrypt","readOnly":true,"eventCategory":"Management"}"#,
    r#"{"eventTime":"2026-11-21T10:00:00Z","eventID":"e","awsRegion":"us-east-1","eventSource":"s3.amazonaws.com","eventName":"PutObject","readOnly":false,"eventCategory":"Data","managementEvent":false,"userIdentity":{"arn":"arn:aws:iam::1:user/é"},"resources":[{"type":"AWS::S3::Object","ARN":"arn:aws:s3:::one/images/a.png"},{"type":"AWS::S3::Bucket","ARN":"arn:aws:s3:::one"}]}"#,
    r#"{"eventTime":"2026-11-21T10:00:00Z","eventID":"e","awsRegion":"us-east-1","errorCode":"VpceAccessDenied","vpcEndpointId":"vpce-1","eventCategory":"NetworkActivity"}"#,
];

/// Some selections, of both kinds.
#[must_use]
pub fn examples() -> Vec<EventSelection> {
    let texts = [
        r#"{"EventSelectors":[{"ReadWriteType":"WriteOnly","DataResources":[{"Type":"AWS::S3::Object","Values":["arn:aws:s3"]}],"ExcludeManagementEventSources":["kms.amazonaws.com"]}]}"#,
        r#"{"AdvancedEventSelectors":[{"FieldSelectors":[{"Field":"resources.type","Equals":["AWS::S3::Object"]},{"Field":"eventCategory","Equals":["Data"]},{"Field":"resources.ARN","NotStartsWith":["arn:aws:s3:::one/"],"EndsWith":["g"]}]}]}"#,
        r#"{"AdvancedEventSelectors":[{"Name":"n","FieldSelectors":[{"Field":"readOnly","Equals":["true"]},{"Field":"eventCategory","Equals":["Management"]}]}]}"#,
    ];
    let made = texts.iter().filter_map(|text| selection(&serde_json::from_str(text).ok()?)?.ok());
    std::iter::once(EventSelection::default()).chain(made).collect()
}

/// The selection of a request; none where its form is another.
fn selection(request: &Value) -> Option<Result<EventSelection, String>> {
    let member = |name: &str| request.get(name).filter(|member| !member.is_null()).cloned();
    let basic = member("EventSelectors").map(serde_json::from_value).transpose().ok()?;
    let advanced = member("AdvancedEventSelectors").map(serde_json::from_value).transpose().ok()?;
    Some(EventSelection::from_request(basic, advanced).map_err(|error| error.to_string()))
}

/// One request.
///
/// # Panics
/// Where a refusal has no reason, or a selection changes when it is kept, shown or sent again.
pub fn run(data: &[u8]) {
    let Ok(request) = serde_json::from_slice::<Value>(data) else { return };
    let selection_of = selection;
    let selection = match selection(&request) {
        None => return,
        Some(Err(message)) => return assert!(!message.is_empty()),
        Some(Ok(selection)) => selection,
    };
    let kept = serde_json::to_string(&selection).expect("a selection is JSON");
    assert_eq!(serde_json::from_str::<EventSelection>(&kept).ok().as_ref(), Some(&selection), "{kept}");
    let sorted = selection.sorted();
    assert_eq!(sorted.sorted(), sorted);
    assert_eq!(sorted.takes(), selection.takes());
    let shown = match &sorted {
        EventSelection::Basic(selectors) => serde_json::json!({ "EventSelectors": selectors }),
        EventSelection::Advanced(selectors) => serde_json::json!({ "AdvancedEventSelectors": selectors }),
    };
    assert_eq!(selection_of(&shown), Some(Ok(sorted.clone())), "what is shown cannot be sent: {shown}");
    for event in EVENTS {
        let record = Record::trusted(event.into());
        let facts = record.facts().expect("an event");
        assert_eq!(selection.matches(&facts), sorted.matches(&facts), "the order of conditions matters");
    }
}
