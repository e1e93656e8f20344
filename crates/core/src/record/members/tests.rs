//! The facts that are found are those that serde finds.

use proptest::prelude::*;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::*;

type Optional = Option<String>;

/// The facts by serde: slower, and plainly right.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Plain<'a> {
    event_time: String,
    #[serde(rename = "eventID")]
    event_id: String,
    #[serde(default)]
    event_source: String,
    #[serde(default)]
    event_name: String,
    aws_region: String,
    event_type: Optional,
    event_category: Optional,
    management_event: Option<bool>,
    read_only: Option<bool>,
    error_code: Optional,
    recipient_account_id: Optional,
    vpc_endpoint_id: Optional,
    session_credential_from_console: Optional,
    #[serde(default, deserialize_with = "object")]
    user_identity: Option<PlainIdentity>,
    #[serde(default, deserialize_with = "objects")]
    resources: Option<Vec<PlainResource>>,
    #[serde(borrow)]
    request_parameters: Option<&'a RawValue>,
    #[serde(borrow)]
    response_elements: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PlainIdentity {
    #[serde(rename = "type")]
    kind: Optional,
    arn: Optional,
    account_id: Optional,
    access_key_id: Optional,
    user_name: Optional,
    principal_id: Optional,
    invoked_by: Optional,
}

#[derive(Deserialize)]
struct PlainResource {
    #[serde(rename = "type")]
    kind: Optional,
    #[serde(rename = "ARN")]
    arn: Optional,
    #[serde(rename = "ARNPrefix")]
    arn_prefix: Optional,
    #[serde(rename = "accountId")]
    account_id: Optional,
}

/// Serde reads a struct from an array as well; a record's objects are objects.
fn of_object<T: serde::de::DeserializeOwned>(raw: &RawValue) -> Result<T, serde_json::Error> {
    if raw.get().starts_with('{') {
        serde_json::from_str(raw.get())
    } else {
        Err(serde::de::Error::custom("no object"))
    }
}

fn object<'de, D: Deserializer<'de>>(input: D) -> Result<Option<PlainIdentity>, D::Error> {
    let raw = Option::<&RawValue>::deserialize(input)?;
    raw.map(of_object).transpose().map_err(serde::de::Error::custom)
}

fn objects<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Vec<PlainResource>>, D::Error> {
    let raw = Option::<Vec<&RawValue>>::deserialize(input)?;
    let read = raw.map(|raw| raw.into_iter().map(of_object).collect::<Result<_, _>>());
    read.transpose().map_err(serde::de::Error::custom)
}

fn owned(text: Optional) -> Option<Cow<'static, str>> {
    text.map(Cow::Owned)
}

/// The facts that serde finds.
fn plain(text: &str) -> Option<Facts<'_>> {
    if !text.trim_ascii_start().starts_with('{') {
        return None;
    }
    let found: Plain<'_> = serde_json::from_str(text).ok()?;
    let resource = |resource: PlainResource| ResourceFacts {
        kind: owned(resource.kind),
        arn: owned(resource.arn),
        arn_prefix: owned(resource.arn_prefix),
        account_id: owned(resource.account_id),
    };
    Some(Facts {
        event_time: found.event_time.into(),
        event_id: found.event_id.into(),
        event_source: found.event_source.into(),
        event_name: found.event_name.into(),
        aws_region: found.aws_region.into(),
        event_type: owned(found.event_type),
        event_category: owned(found.event_category),
        management_event: found.management_event,
        read_only: found.read_only,
        error_code: owned(found.error_code),
        recipient_account_id: owned(found.recipient_account_id),
        vpc_endpoint_id: owned(found.vpc_endpoint_id),
        session_credential_from_console: owned(found.session_credential_from_console),
        user_identity: found.user_identity.map(|identity| IdentityFacts {
            kind: owned(identity.kind),
            arn: owned(identity.arn),
            account_id: owned(identity.account_id),
            access_key_id: owned(identity.access_key_id),
            user_name: owned(identity.user_name),
            principal_id: owned(identity.principal_id),
            invoked_by: owned(identity.invoked_by),
        }),
        resources: found.resources.map(|resources| resources.into_iter().map(resource).collect()),
        request_parameters: found.request_parameters.map(RawValue::get),
        response_elements: found.response_elements.map(RawValue::get),
    })
}

fn check(text: &str) -> Result<(), TestCaseError> {
    let spans = FactSpans::of(text);
    prop_assert_eq!(spans.as_ref().ok().map(|spans| spans.facts(text)), plain(text), "{} {:?}", text, spans);
    Ok(())
}

const WHOLE: &str = r#" {"eventVersion":"1.11","userIdentity":{"type":"Root","arn":"a\u00e9","accountId":"123456789012","accessKeyId":null,"userName":"u\"","principalId":"p","invokedBy":"i","sessionContext":{"attributes":{"type":"x"}}},"eventTime":"2026-11-20T00:00:00Z","eventID":"e","eventSource":"s","eventName":"n","awsRegion":"r","eventType":"t","eventCategory":"c","managementEvent":true,"readOnly":null,"errorCode":"","recipientAccountId":"1","vpcEndpointId":"v","sessionCredentialFromConsole":"true","resources":[{"type":"T","ARN":"A","ARNPrefix":"P","accountId":"2"},{}, {"x":[]}],"requestParameters": {"eventID":[1,{"a":"\ud800"}]} ,"responseElements":null,"additional":[{"eventID":"no"}]} "#;

#[test]
fn facts_are_found_wherever_they_stand_and_nowhere_else() {
    check(WHOLE).unwrap();
    let spans = FactSpans::of(WHOLE).unwrap();
    assert_eq!(spans.depth(), 4);
    let facts = spans.facts(WHOLE);
    assert_eq!(facts.user_identity.unwrap().arn.unwrap(), "aé");
    assert_eq!(facts.request_parameters.unwrap(), r#"{"eventID":[1,{"a":"\ud800"}]}"#);
    assert_eq!(facts.resources.unwrap().len(), 3);
}

#[test]
fn what_serde_refuses_is_refused() {
    let least = r#"{"eventTime":"","eventID":"","awsRegion":""}"#;
    check(least).unwrap();
    for (from, to) in [
        ("eventTime", "eventtime"),
        ("eventTime", "event\\u0054ime"),
        ("eventTime", "\\ud800"),
        ("\"eventID\":\"\"", "\"eventID\":null"),
        ("\"eventID\":\"\"", "\"eventID\":\"\\ud800\""),
        ("\"eventID\"", "\"eventName\":null,\"eventID\""),
        ("\"eventID\"", "\"awsRegion\":\"\",\"eventID\""),
        ("\"eventID\"", "\"errorCode\":null,\"errorCode\":null,\"eventID\""),
        ("\"eventID\"", "\"x\":1,\"x\":2,\"eventID\""),
        ("\"eventID\"", "\"readOnly\":\"true\",\"eventID\""),
        ("\"eventID\"", "\"readOnly\":nul,\"eventID\""),
        ("\"eventID\"", "\"userIdentity\":[],\"eventID\""),
        ("\"eventID\"", "\"userIdentity\":{\"type\":1},\"eventID\""),
        ("\"eventID\"", "\"resources\":{},\"eventID\""),
        ("\"eventID\"", "\"resources\":[[]],\"eventID\""),
        ("\"eventID\"", "\"resources\":[null],\"eventID\""),
        ("\"eventID\"", "\"resources\":[],\"eventID\""),
        ("}", "}x"),
        ("}", ""),
    ] {
        assert!(least.contains(from), "{from}");
        check(&least.replacen(from, to, 1)).unwrap();
    }
    for text in ["", "[]", "null", "{}", "[\"\",\"\"]"] {
        check(text).unwrap();
    }
}

proptest! {
    #[test]
    fn a_record_with_any_piece_changed_is_read_as_serde_reads_it(
        changes in prop::collection::vec(
            (0_usize..WHOLE.len(), 0_usize..30, prop::sample::select(vec![
                "", "\"", "\\", "{", "}", "[", "]", ",", ":", "null", "1", "\"a\":1,", "é", "\\u0041", "eventID", "\"eventName\":\"x\",",
            ])),
            0..4,
        ),
    ) {
        let mut text = WHOLE.to_owned();
        for (at, length, with) in changes {
            let from = text.floor_char_boundary(at.min(text.len()));
            let to = text.floor_char_boundary((from + length).min(text.len())).max(from);
            text.replace_range(from..to, with);
        }
        check(&text)?;
    }
}
