//! What selectors take and what is refused, as tables; basic selectors against their advanced equivalents.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::record::Record;

fn basic(selectors: Value) -> Result<EventSelection, String> {
    let requests = serde_json::from_value(selectors).unwrap();
    EventSelection::from_request(Some(requests), None).map_err(|error| error.to_string())
}

fn advanced(selectors: Value) -> Result<EventSelection, String> {
    let requests = serde_json::from_value(selectors).unwrap();
    EventSelection::from_request(None, Some(requests)).map_err(|error| error.to_string())
}

/// An event with the members that a test is about, over those that every event has.
fn event(members: Value) -> String {
    let mut event = json!({"eventTime": "2026-11-21T10:00:00Z", "eventID": "e", "awsRegion": "us-east-1"});
    event.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    event.to_string()
}

fn taken(selection: &EventSelection, event: &str) -> bool {
    let record = Record::trusted(event.to_owned().into());
    selection.matches(&record.facts().unwrap())
}

fn object_event(name: &str, read_only: bool, arn: &str) -> String {
    event(json!({
        "eventSource": "s3.amazonaws.com", "eventName": name, "readOnly": read_only, "eventCategory": "Data",
        "managementEvent": false, "eventType": "AwsApiCall",
        "resources": [{"type": "AWS::S3::Object", "ARN": arn}, {"type": "AWS::S3::Bucket", "ARN": "arn:aws:s3:::one"}],
    }))
}

fn management_event(source: &str, name: &str, read_only: bool) -> String {
    event(
        json!({"eventSource": source, "eventName": name, "readOnly": read_only, "eventCategory": "Management"}),
    )
}

#[test]
fn basic_selectors_take_what_the_documentation_says() {
    let put_one = object_event("PutObject", false, "arn:aws:s3:::one/images/a.png");
    let get_two = object_event("GetObject", true, "arn:aws:s3:::two/b");
    let list_one = event(json!({"eventCategory": "Data", "readOnly": true, "resources": [
        {"type": "AWS::S3::Object", "ARNPrefix": "arn:aws:s3:::one/"}, {"type": "AWS::S3::Bucket", "ARN": "arn:aws:s3:::one"}]}));
    let function = "arn:aws:lambda:us-west-2:111111111111:function:helloworld";
    let invoke = event(
        json!({"eventCategory": "Data", "readOnly": false, "resources": [{"type": "AWS::Lambda::Function", "ARN": function}]}),
    );
    let invoke2 = event(json!({"eventCategory": "Data", "readOnly": false,
        "resources": [{"type": "AWS::Lambda::Function", "ARN": format!("{function}2")}]}));
    let run = management_event("ec2.amazonaws.com", "RunInstances", false);
    let look = management_event("ec2.amazonaws.com", "GetConsoleOutput", true);
    let decrypt = management_event("kms.amazonaws.com", "Decrypt", true);
    let insight = event(json!({"eventCategory": "Insight"}));
    let s3 = |value: &str| json!([{"IncludeManagementEvents": false, "DataResources": [{"Type": "AWS::S3::Object", "Values": [value]}]}]);
    let lambda = |value: &str| json!([{"IncludeManagementEvents": false, "DataResources": [{"Type": "AWS::Lambda::Function", "Values": [value]}]}]);
    let all = [&put_one, &get_two, &list_one, &invoke, &invoke2, &run, &look, &decrypt, &insight];
    let table = [
        (json!([{}]), vec![&run, &look, &decrypt]),
        (json!([{"ReadWriteType": "WriteOnly"}]), vec![&run]),
        (json!([{"ReadWriteType": "ReadOnly"}]), vec![&look, &decrypt]),
        (json!([{"ExcludeManagementEventSources": ["kms.amazonaws.com"]}]), vec![&run, &look]),
        (json!([{"IncludeManagementEvents": false}]), vec![]),
        (s3("arn:aws:s3"), vec![&put_one, &get_two, &list_one]),
        (s3("arn:aws:s3:::"), vec![&put_one, &get_two, &list_one]),
        (s3("arn:aws:s3:::one/"), vec![&put_one, &list_one]),
        (s3("arn:aws:s3:::one/images"), vec![&put_one]),
        (s3("arn:aws:s3:::one/movies"), vec![]),
        (lambda("arn:aws:lambda"), vec![&invoke, &invoke2]),
        (lambda(function), vec![&invoke]),
    ];
    for (selectors, expected) in table {
        let selection = basic(selectors.clone()).unwrap();
        let found: Vec<_> = all.into_iter().filter(|event| taken(&selection, event)).collect();
        assert_eq!(found, expected, "{selectors}");
    }
}

#[test]
fn advanced_selectors_join_conditions_as_the_documentation_says() {
    let put_one = object_event("PutObject", false, "arn:aws:s3:::one/a");
    let get_one = object_event("GetObject", true, "arn:aws:s3:::one/a");
    let get_two = object_event("GetObject", true, "arn:aws:s3:::two/b");
    let run = management_event("ec2.amazonaws.com", "RunInstances", false);
    let decrypt = management_event("kms.amazonaws.com", "Decrypt", true);
    let denied = event(json!({"eventCategory": "NetworkActivity", "eventSource": "s3.amazonaws.com",
        "errorCode": "VpceAccessDenied", "vpcEndpointId": "vpce-1"}));
    let data = |more: Value| {
        let mut fields = vec![
            json!({"Field": "eventCategory", "Equals": ["Data"]}),
            json!({"Field": "resources.type", "Equals": ["AWS::S3::Object"]}),
        ];
        fields.extend(more.as_array().unwrap().clone());
        json!([{"FieldSelectors": fields}])
    };
    let of = |category: &str, more: Value| {
        let mut fields = vec![json!({"Field": "eventCategory", "Equals": [category]})];
        fields.extend(more.as_array().unwrap().clone());
        json!([{"FieldSelectors": fields}])
    };
    let all = [&put_one, &get_one, &get_two, &run, &decrypt, &denied];
    let table = [
        (of("Management", json!([])), vec![&run, &decrypt]),
        (of("Management", json!([{"Field": "readOnly", "Equals": ["false"]}])), vec![&run]),
        (of("Management", json!([{"Field": "eventSource", "NotEquals": ["kms.amazonaws.com"]}])), vec![&run]),
        (data(json!([])), vec![&put_one, &get_one, &get_two]),
        (data(json!([{"Field": "eventName", "Equals": ["PutObject", "DeleteObject"]}])), vec![&put_one]),
        // Including operators are joined by "or", excluding ones by "and", the groups by "and".
        (
            data(
                json!([{"Field": "eventName", "StartsWith": ["Put"], "EndsWith": ["tObject"], "NotEquals": ["GetObject"]}]),
            ),
            vec![&put_one],
        ),
        (
            data(json!([{"Field": "eventName", "NotStartsWith": ["Put"], "NotEndsWith": ["List"]}])),
            vec![&get_one, &get_two],
        ),
        (
            data(json!([{"Field": "resources.ARN", "StartsWith": ["arn:aws:s3:::one/"]}])),
            vec![&put_one, &get_one],
        ),
        // Type and ARN are about the same resource: the bucket in the event is not an object of another name.
        (data(json!([{"Field": "resources.ARN", "NotStartsWith": ["arn:aws:s3:::one/"]}])), vec![&get_two]),
        // A value that is missing is included by nothing and excluded by nothing.
        (data(json!([{"Field": "userIdentity.arn", "StartsWith": ["arn"]}])), vec![]),
        (
            data(json!([{"Field": "userIdentity.arn", "NotStartsWith": ["arn"]}])),
            vec![&put_one, &get_one, &get_two],
        ),
        (data(json!([{"Field": "sessionCredentialFromConsole", "Equals": ["true"]}])), vec![]),
        (
            of(
                "NetworkActivity",
                json!([{"Field": "eventSource", "Equals": ["s3.amazonaws.com"]},
                {"Field": "errorCode", "Equals": ["VpceAccessDenied"]}, {"Field": "vpcEndpointId", "Equals": ["vpce-1"]}]),
            ),
            vec![&denied],
        ),
    ];
    for (selectors, expected) in table {
        let selection = advanced(selectors.clone()).unwrap();
        let found: Vec<_> = all.into_iter().filter(|event| taken(&selection, event)).collect();
        assert_eq!(found, expected, "{selectors}");
    }
}

#[test]
fn basic_selectors_are_refused_with_the_texts_of_the_real_service() {
    let values =
        |type_: &str, values: Value| basic(json!([{"DataResources": [{"Type": type_, "Values": values}]}]));
    let s3 = |value: &str| values("AWS::S3::Object", json!([value]));
    let many: Vec<_> = (0..251).map(|n| format!("arn:aws:s3:::bucket/{n}")).collect();
    let count = "Specify a valid number of selectors (1 to 5) for your trail";
    let table = [
        (basic(json!([])), count),
        (basic(json!([{}, {}, {}, {}, {}, {}])), count),
        (basic(json!([{"ReadWriteType": "read-only"}])), "Value read-only for ReadWriteType is invalid."),
        (s3("arn:aws:s3:::*"), "Value arn:aws:s3:::* for DataResources.Values is invalid."),
        (s3("arn:aws:s3:::*/*"), "Value arn:aws:s3:::*/* for DataResources.Values is invalid."),
        (s3("arn:aws:s3:::bucket"), "Value arn:aws:s3:::bucket for DataResources.Values is invalid."),
        (
            values("AWS::Lambda::Function", json!(["arn:aws:lambda:*"])),
            "Value arn:aws:lambda:* for DataResources.Values is invalid.",
        ),
        (values("AWS::SQS::Queue", json!([])), "Value AWS::SQS::Queue for DataResources.Type is invalid."),
        (
            values("AWS::S3::Object", json!(many)),
            "Specify a valid number of data resources (1 to 250) for your trail",
        ),
        (
            basic(json!([{"ExcludeManagementEventSources": ["s3.amazonaws.com"]}])),
            "Value s3.amazonaws.com for ExcludeManagementEventSources is invalid.",
        ),
    ];
    for (found, expected) in table {
        assert_eq!(found, Err(expected.to_owned()));
    }
    assert!(s3("arn:aws:s3:::bucket/").is_ok() && s3("arn:aws-us-gov:s3:::bucket/key").is_ok());
}

#[test]
fn advanced_selectors_are_refused_with_the_texts_of_the_real_service() {
    let management = json!({"Field": "eventCategory", "Equals": ["Management"]});
    let data = json!({"Field": "eventCategory", "Equals": ["Data"]});
    let object = json!({"Field": "resources.type", "Equals": ["AWS::S3::Object"]});
    let fields = |fields: Value| advanced(json!([{"FieldSelectors": fields}]));
    let names: Vec<_> = (0..499).map(|n| n.to_string()).collect();
    let table = [
        (advanced(json!([])), "Specify between 1 and 500 selectors for your trail."),
        (fields(json!([])), "The following fields are required: [eventCategory]."),
        (fields(json!([object])), "The following fields are required: [eventCategory]."),
        (fields(json!([data])), "The following fields are required: [resources.type]."),
        (
            fields(json!([data, {"Field": "resources.type", "Equals": ["AWS::NoSuchService::MadeUp"]}])),
            "The resources.type field value is not valid.",
        ),
        (
            fields(json!([management, {"Field": "readOnly", "NotEquals": ["true"]}])),
            "The readOnly field can only use the Equals operator.",
        ),
        (
            fields(json!([management, {"Field": "readOnly", "Equals": ["yes"]}])),
            "The readOnly field value is not valid.",
        ),
        (
            fields(json!([management, {"Field": "resources.ARN", "Equals": ["a"]}])),
            "The following fields are not supported: [resources.ARN].",
        ),
        (
            fields(json!([management, {"Field": "nonsense", "Equals": ["a"]}])),
            "Value nonsense for Field is invalid.",
        ),
        (
            fields(json!([data, object, {"Field": "eventName", "Equals": names}])),
            "Specify up to 500 values for all conditions in all advanced event selectors for your trail.",
        ),
    ];
    for (found, expected) in table {
        assert_eq!(found, Err(expected.to_owned()));
    }
    let both =
        EventSelection::from_request(Some(Vec::new()), Some(Vec::new())).map_err(|error| error.to_string());
    assert_eq!(
        both,
        Err("You can select events by using either EventSelectors or AdvancedEventSelectors, but not both."
            .into())
    );
}

/// The advanced selectors that say what a basic one says.
fn equivalent(selection: &EventSelection) -> EventSelection {
    let EventSelection::Basic(selectors) = selection else {
        panic!("only basic selectors have an equivalent")
    };
    let mut advanced = Vec::new();
    let field = |field: Field, equals: &str| FieldSelector {
        field,
        equals: vec![equals.into()],
        starts_with: vec![],
        ends_with: vec![],
        not_equals: vec![],
        not_starts_with: vec![],
        not_ends_with: vec![],
    };
    for selector in selectors {
        let side: Vec<_> = match selector.read_write_type {
            ReadWriteType::All => vec![],
            ReadWriteType::ReadOnly => vec![field(Field::ReadOnly, "true")],
            ReadWriteType::WriteOnly => vec![field(Field::ReadOnly, "false")],
        };
        if selector.include_management_events {
            let mut fields = vec![field(Field::EventCategory, "Management")];
            fields.extend(side.clone());
            if !selector.exclude_management_event_sources.is_empty() {
                let mut source = field(Field::EventSource, "");
                source.equals.clear();
                source.not_equals = selector.exclude_management_event_sources.clone();
                fields.push(source);
            }
            advanced.push(AdvancedSelector { name: None, field_selectors: fields });
        }
        for resource in &selector.data_resources {
            let mut fields =
                vec![field(Field::EventCategory, "Data"), field(Field::ResourcesType, resource.kind.name())];
            fields.extend(side.clone());
            let mut arn = field(Field::ResourcesArn, "");
            arn.equals.clear();
            arn.starts_with = resource.values.clone();
            fields.push(arn);
            advanced.push(AdvancedSelector { name: None, field_selectors: fields });
        }
    }
    EventSelection::Advanced(advanced)
}

fn selectors() -> impl Strategy<Value = Value> {
    let side = prop::sample::select(vec!["All", "ReadOnly", "WriteOnly"]);
    let source = prop::sample::subsequence(vec!["kms.amazonaws.com", "rdsdata.amazonaws.com"], 0..=2);
    let value = prop::sample::subsequence(
        vec![
            "arn:aws:s3",
            "arn:aws:s3:::one/",
            "arn:aws:s3:::one/images",
            "arn:aws:s3:::mordors3stack-s3bucket-llp2yingx64a/",
        ],
        1..=3,
    );
    let selector = (side, any::<bool>(), source, prop::option::of(value)).prop_map(|(side, management, source, values)| {
        let data: Vec<_> = values.map(|values| json!({"Type": "AWS::S3::Object", "Values": values})).into_iter().collect();
        json!({"ReadWriteType": side, "IncludeManagementEvents": management, "ExcludeManagementEventSources": source, "DataResources": data})
    });
    prop::collection::vec(selector, 1..=5).prop_map(Value::Array)
}

fn events() -> impl Strategy<Value = String> {
    let category = prop::sample::select(vec!["Management", "Data", "NetworkActivity", "Insight"]);
    let source = prop::sample::select(vec!["kms.amazonaws.com", "rdsdata.amazonaws.com", "s3.amazonaws.com"]);
    let arn =
        prop::sample::select(vec!["arn:aws:s3:::one/images/1", "arn:aws:s3:::one/2", "arn:aws:s3:::two/3"]);
    let kind = prop::sample::select(vec!["AWS::S3::Object", "AWS::S3::Bucket"]);
    (category, source, prop::option::of(any::<bool>()), prop::collection::vec((kind, arn), 0..3)).prop_map(
        |(category, source, read_only, resources)| {
            let resources: Vec<_> = resources.into_iter().map(|(kind, arn)| json!({"type": kind, "ARN": arn})).collect();
            event(json!({"eventCategory": category, "eventSource": source, "readOnly": read_only, "resources": resources}))
        },
    )
}

proptest! {
    #[test]
    fn a_basic_selector_and_its_advanced_equivalent_take_the_same_events(selectors in selectors(), event in events()) {
        let selection = basic(selectors).unwrap();
        prop_assert_eq!(taken(&selection, &event), taken(&equivalent(&selection), &event));
    }
}

#[test]
fn basic_selectors_and_their_equivalents_agree_on_recorded_events() {
    let records = recorded_events();
    if records.is_empty() {
        return;
    }
    let sets = [
        json!([{}]),
        json!([{"ReadWriteType": "WriteOnly"}]),
        json!([{"ReadWriteType": "ReadOnly", "ExcludeManagementEventSources": ["kms.amazonaws.com"]}]),
        json!([{"IncludeManagementEvents": false, "DataResources": [{"Type": "AWS::S3::Object", "Values": ["arn:aws:s3"]}]}]),
    ];
    let counts = sets.map(|selectors| {
        let selection = basic(selectors).unwrap();
        let other = equivalent(&selection);
        let mut count = 0;
        for record in &records {
            assert_eq!(taken(&selection, record), taken(&other, record), "{record}");
            count += usize::from(taken(&selection, record));
        }
        count
    });
    // The recorded events are 2,013, of which 9 are object events and the rest management events.
    assert_eq!((records.len(), counts[0], counts[3]), (2013, 2004, 9));
    assert!(counts[1] > 0 && counts[2] > 0 && counts[1] + counts[2] <= counts[0]);
}

/// Every event of `fixtures/events`, as JSON text; none where the fixtures are not there.
fn recorded_events() -> Vec<String> {
    let Some(folder) = cairn_testkit::fixtures("events") else { return Vec::new() };
    let mut records = Vec::new();
    for kind in ["invictus", "otrf", "stratus"] {
        for file in std::fs::read_dir(folder.join(kind)).unwrap() {
            let path = file.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            let bytes = if path.extension().is_some_and(|e| e == "gz") { gunzip(&bytes) } else { bytes };
            for value in serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>() {
                match value.unwrap() {
                    Value::Array(list) => records.extend(list.iter().map(Value::to_string)),
                    mut object if object.get("Records").is_some() => {
                        records.extend(
                            object["Records"].take().as_array().unwrap().iter().map(Value::to_string),
                        );
                    }
                    mut object => {
                        // One set went through Logstash, which moves eventTime to "@timestamp".
                        if object.get("eventTime").is_none() {
                            object["eventTime"] = object["@timestamp"].take();
                        }
                        records.push(object.to_string());
                    }
                }
            }
        }
    }
    records
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let size = u32::from_le_bytes(bytes[bytes.len() - 4..].try_into().unwrap()) as usize;
    let mut plain = vec![0; size];
    libdeflater::Decompressor::new().gzip_decompress(bytes, &mut plain).unwrap();
    plain
}

#[test]
fn selections_are_written_with_awss_members_and_read_back() {
    let new = EventSelection::default();
    let text = serde_json::to_string(&new).unwrap();
    assert_eq!(
        text,
        r#"{"Basic":[{"ReadWriteType":"All","IncludeManagementEvents":true,"DataResources":[],"ExcludeManagementEventSources":[]}]}"#
    );
    assert_eq!(serde_json::from_str::<EventSelection>(&text).unwrap(), new);
    let advanced = r#"{"Advanced":[{"Name":"n","FieldSelectors":[{"Field":"eventCategory","Equals":["Data"]},{"Field":"resources.type","Equals":["AWS::S3::Object"]},{"Field":"resources.ARN","NotStartsWith":["arn:aws:s3:::b/"]}]}]}"#;
    let selection: EventSelection = serde_json::from_str(advanced).unwrap();
    assert_eq!(serde_json::to_string(&selection).unwrap(), advanced);
    assert!(selection.is_custom() && !new.is_custom());
}

#[test]
fn every_field_is_written_by_its_name() {
    for field in Field::ALL {
        assert_eq!(serde_json::to_string(&field).unwrap(), format!("{:?}", field.name()));
    }
}

#[test]
fn the_sorted_selection_orders_fields_as_get_event_selectors_does() {
    let field = |name: &str| format!(r#"{{"Field":"{name}","Equals":["x"]}}"#);
    let text = format!(
        r#"{{"Advanced":[{{"FieldSelectors":[{},{},{}]}}]}}"#,
        field("resources.type"),
        field("resources.ARN"),
        field("eventCategory")
    );
    let selection: EventSelection = serde_json::from_str(&text).unwrap();
    let EventSelection::Advanced(sorted) = selection.sorted() else { panic!("advanced stays advanced") };
    let names: Vec<_> = sorted[0].field_selectors.iter().map(|f| f.field.name()).collect();
    assert_eq!(names, ["eventCategory", "resources.ARN", "resources.type"]);
}
