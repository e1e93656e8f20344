//! Tables of policies and requests.

use super::*;

pub(super) const ACCOUNT: &str = "111122223333";

pub(super) fn user(account: &str, name: &str) -> Requester {
    Requester::Identity {
        account: account.into(),
        arn: format!("arn:aws:iam::{account}:user/{name}"),
        id: format!("AIDAEXAMPLE{}", name.to_uppercase()),
        issuer: None,
    }
}

pub(super) fn root(account: &str) -> Requester {
    Requester::Identity {
        account: account.into(),
        arn: format!("arn:aws:iam::{account}:root"),
        id: account.into(),
        issuer: None,
    }
}

pub(super) fn service(name: &str) -> Requester {
    Requester::Service(name.into())
}

fn get(requester: Requester) -> Request {
    Request {
        requester,
        action: "s3:GetObject".into(),
        resource: "arn:aws:s3:::b/k".into(),
        context: Vec::new(),
    }
}

pub(super) fn with(context: &[(&str, &[&str])]) -> Request {
    let mut request = get(user(ACCOUNT, "alice"));
    request.context = context
        .iter()
        .map(|(key, values)| ((*key).to_owned(), values.iter().map(|value| (*value).to_owned()).collect()))
        .collect();
    request
}

/// The outcome of a policy with one statement, given by its members besides Effect, `*` standing in for the rest.
fn outcome(effect: &str, members: &str, request: &Request) -> Outcome {
    let mut text = format!(r#"{{"Version":"2012-10-17","Statement":{{"Effect":"{effect}",{members}"#);
    for (name, not_name) in
        [("Principal", "NotPrincipal"), ("Action", "NotAction"), ("Resource", "NotResource")]
    {
        if !members.contains(&format!("\"{name}\"")) && !members.contains(&format!("\"{not_name}\"")) {
            text.push_str(&format!(r#","{name}":"*""#));
        }
    }
    text.push_str("}}");
    evaluate(&Document::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}")), request).outcome
}

fn allows(members: &str, request: &Request) -> bool {
    outcome("Allow", members, request) == Outcome::Allow
}

fn check_condition(condition: &str, context: &[(&str, &[&str])], expected: bool) {
    assert_eq!(
        allows(&format!(r#""Condition":{condition}"#), &with(context)),
        expected,
        "{condition} {context:?}"
    );
}

#[test]
fn principals_are_accounts_users_services_and_everyone() {
    let alice = || user(ACCOUNT, "alice");
    for (principal, requester, expected) in [
        (r#""*""#, Requester::Anonymous, true),
        (r#"{"AWS":"*"}"#, Requester::Anonymous, true),
        (r#""*""#, service("cloudtrail.amazonaws.com"), true),
        (r#"{"AWS":"111122223333"}"#, alice(), true),
        (r#"{"AWS":"arn:aws:iam::111122223333:root"}"#, alice(), true),
        (r#"{"AWS":["444455556666","arn:aws:iam::111122223333:root"]}"#, root(ACCOUNT), true),
        (r#"{"AWS":"444455556666"}"#, alice(), false),
        (r#"{"AWS":"arn:aws:iam::111122223333:user/alice"}"#, alice(), true),
        (r#"{"AWS":"arn:aws:iam::111122223333:user/Alice"}"#, alice(), false),
        (r#"{"AWS":"arn:aws:iam::111122223333:user/bob"}"#, alice(), false),
        (r#"{"AWS":"AIDAEXAMPLEALICE"}"#, alice(), true),
        (r#"{"AWS":"111122223333"}"#, Requester::Anonymous, false),
        (r#"{"Service":"cloudtrail.amazonaws.com"}"#, service("cloudtrail.amazonaws.com"), true),
        (r#"{"Service":["config.amazonaws.com"]}"#, service("cloudtrail.amazonaws.com"), false),
        (r#"{"Service":"cloudtrail.amazonaws.com"}"#, alice(), false),
        (r#"{"AWS":"111122223333"}"#, service("cloudtrail.amazonaws.com"), false),
        (
            r#"{"CanonicalUser":"79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"}"#,
            alice(),
            false,
        ),
        (r#"{"CanonicalUser":"79a5","AWS":"111122223333"}"#, alice(), true),
    ] {
        for (effect, yes) in [("Allow", Outcome::Allow), ("Deny", Outcome::ExplicitDeny)] {
            let found = outcome(effect, &format!(r#""Principal":{principal}"#), &get(requester.clone()));
            assert_eq!(found == yes, expected, "{effect} {principal} {requester:?}");
        }
    }
}

#[test]
fn not_principal_is_read_strictly() {
    let exempt_alice =
        r#""NotPrincipal":{"AWS":["arn:aws:iam::111122223333:root","arn:aws:iam::111122223333:user/alice"]}"#;
    for (requester, expected) in [
        (user(ACCOUNT, "alice"), Outcome::Neutral),
        (root(ACCOUNT), Outcome::Neutral),
        (user(ACCOUNT, "bob"), Outcome::ExplicitDeny),
        (user("444455556666", "alice"), Outcome::ExplicitDeny),
        (Requester::Anonymous, Outcome::ExplicitDeny),
        (service("cloudtrail.amazonaws.com"), Outcome::ExplicitDeny),
    ] {
        assert_eq!(outcome("Deny", exempt_alice, &get(requester.clone())), expected, "{requester:?}");
    }
    let but_the_account = r#""NotPrincipal":{"AWS":"111122223333"}"#;
    assert_eq!(outcome("Allow", but_the_account, &get(user(ACCOUNT, "alice"))), Outcome::Neutral);
    assert_eq!(outcome("Allow", but_the_account, &get(user("444455556666", "x"))), Outcome::Allow);
}

#[test]
fn actions_ignore_case_and_resources_do_not() {
    let request = get(root(ACCOUNT));
    for (members, expected) in [
        (r#""Action":"s3:GetObject""#, true),
        (r#""Action":"S3:getobject""#, true),
        (r#""Action":["s3:Put*","s3:get*"]"#, true),
        (r#""Action":"s3:Get""#, false),
        (r#""Action":"s3:Ge?Object""#, true),
        (r#""NotAction":"s3:GET*""#, false),
        (r#""NotAction":"s3:Put*""#, true),
        (r#""Resource":"arn:aws:s3:::b/*""#, true),
        (r#""Resource":"arn:aws:s3:::B/*""#, false),
        (r#""Resource":"arn:aws:s3:::b""#, false),
        (r#""Resource":"arn:aws:s3:::?/k""#, true),
        (r#""Resource":"arn:aws:s3*""#, true),
        (r#""NotResource":"arn:aws:s3:::b/*""#, false),
        (r#""NotResource":["arn:aws:s3:::c","arn:aws:s3:::d/*"]"#, true),
    ] {
        assert_eq!(allows(members, &request), expected, "{members}");
    }
}

#[test]
fn wildcards_of_a_full_arn_do_not_reach_over_its_colons() {
    let mut request = get(root(ACCOUNT));
    request.resource = "arn:aws:s3:::other/a:b:mine/k".into();
    assert!(!allows(r#""Resource":"arn:aws:s3:*:*:mine/*""#, &request));
    assert!(allows(r#""Resource":"arn:aws:s3:::other/*""#, &request));
    let key = &[("aws:SourceArn", &["arn:aws:cloudtrail:eu-west-1:111122223333:trail/t"][..])][..];
    for (value, expected) in [
        ("arn:aws:cloudtrail:*:111122223333:trail/*", true),
        ("arn:aws:cloudtrail:*:trail/t", false),
        ("arn:aws:cloudtrail:*", false),
        ("arn:aws:*:trail/t", false),
        ("*", true),
        ("arn:aws:cloudtrail:eu-west-?:111122223333:trail/t", true),
        ("arn:aws:cloudtrail:eu-west-1:444455556666:trail/t", false),
    ] {
        check_condition(&format!(r#"{{"ArnLike":{{"aws:SourceArn":"{value}"}}}}"#), key, expected);
        check_condition(&format!(r#"{{"ArnEquals":{{"aws:SourceArn":"{value}"}}}}"#), key, expected);
        check_condition(&format!(r#"{{"ArnNotLike":{{"aws:SourceArn":"{value}"}}}}"#), key, !expected);
    }
    check_condition(r#"{"StringLike":{"aws:SourceArn":"arn:aws:cloudtrail:*:trail/t"}}"#, key, true);
    check_condition(r#"{"StringEquals":{"aws:SourceArn":"arn:aws:cloudtrail:*"}}"#, key, false);
}

#[test]
fn every_operator_compares_its_type() {
    for (operator, wanted, found, expected) in [
        ("StringEquals", r#"["x","a"]"#, "a", true),
        ("StringEquals", r#""A""#, "a", false),
        ("StringNotEquals", r#"["x","a"]"#, "a", false),
        ("StringNotEquals", r#"["x","y"]"#, "a", true),
        ("StringEqualsIgnoreCase", r#""ÄB""#, "äb", true),
        ("StringNotEqualsIgnoreCase", r#""AB""#, "ab", false),
        ("StringLike", r#""a*c?""#, "abbcd", true),
        ("StringNotLike", r#""a*""#, "abc", false),
        ("NumericEquals", "10", "10.0", true),
        ("NumericNotEquals", r#""10""#, "11", true),
        ("NumericLessThan", "10", "9", true),
        ("NumericLessThan", "10", "10", false),
        ("NumericLessThanEquals", "10", "10", true),
        ("NumericGreaterThan", "10", "9.5", false),
        ("NumericGreaterThanEquals", "-1", "-1", true),
        ("NumericEquals", "1", "one", false),
        ("DateGreaterThan", r#""2026-11-20""#, "2026-11-20T00:00:01Z", true),
        ("DateLessThan", r#""2026-11-20T00:00:00Z""#, "2026-11-20T00:00:00Z", false),
        ("DateLessThanEquals", r#""2026-11-20T00:00:00Z""#, "2026-11-20T00:00:00Z", true),
        ("DateGreaterThanEquals", "1795281866", "2026-11-21T17:24:26Z", true),
        ("DateEquals", r#""2026-11-21T17:24:26Z""#, "1795281866", true),
        ("DateNotEquals", r#""2026-11-21T17:24:26Z""#, "1795281866", false),
        ("Bool", "true", "true", true),
        ("Bool", r#""true""#, "TRUE", true),
        ("Bool", r#""false""#, "true", false),
        ("Bool", r#""false""#, "no", false),
        ("BinaryEquals", r#""QmluYXJ5""#, "QmluYXJ5", true),
        ("BinaryEquals", r#""QmluYXJ5""#, "QmluYXJ6", false),
        ("IpAddress", r#""203.0.113.0/24""#, "203.0.113.9", true),
        ("IpAddress", r#""203.0.113.7/24""#, "203.0.113.9", true),
        ("IpAddress", r#"["10.0.0.0/8","203.0.113.9"]"#, "203.0.113.9", true),
        ("IpAddress", r#""203.0.113.0/24""#, "203.0.114.1", false),
        ("IpAddress", r#""0.0.0.0/0""#, "203.0.114.1", true),
        ("IpAddress", r#""0.0.0.0/0""#, "2001:db8::1", false),
        ("IpAddress", r#""203.0.113.0/24""#, "::ffff:203.0.113.9", true),
        ("IpAddress", r#""2001:db8::/32""#, "2001:db8:1::1", true),
        ("NotIpAddress", r#""203.0.113.0/24""#, "203.0.113.9", false),
        ("NotIpAddress", r#""203.0.113.0/24""#, "198.51.100.1", true),
        ("Null", r#""true""#, "a", false),
        ("Null", "false", "a", true),
    ] {
        check_condition(&format!(r#"{{"{operator}":{{"k:K":{wanted}}}}}"#), &[("K:k", &[found])], expected);
    }
}

#[test]
fn a_missing_key_fails_positive_and_satisfies_negated_operators() {
    for (operator, value, expected) in [
        ("StringEquals", "a", false),
        ("StringNotEquals", "a", true),
        ("StringNotLike", "a", true),
        ("NumericEquals", "1", false),
        ("NotIpAddress", "10.0.0.0/8", true),
        ("ArnNotLike", "*", true),
        ("Bool", "false", false),
        ("StringEqualsIfExists", "a", true),
        ("StringNotEqualsIfExists", "a", true),
        ("BoolIfExists", "true", true),
        ("ForAllValues:StringEquals", "a", true),
        ("ForAllValues:StringNotEquals", "a", true),
        ("ForAnyValue:StringEquals", "a", false),
        ("ForAnyValue:StringNotEquals", "a", false),
        ("ForAnyValue:StringEqualsIfExists", "a", true),
        ("Null", "true", true),
        ("Null", "false", false),
    ] {
        let condition = format!(r#"{{"{operator}":{{"k:k":"{value}"}}}}"#);
        check_condition(&condition, &[], expected);
        check_condition(&condition, &[("k:k", &[])], expected);
    }
    check_condition(r#"{"StringEqualsIfExists":{"k:k":"a"}}"#, &[("k:k", &["b"])], false);
    check_condition(r#"{"StringEquals":{"k:k":[]}}"#, &[("k:k", &["b"])], false);
}

#[test]
fn quantifiers_range_over_the_values_of_the_request() {
    for (operator, found, expected) in [
        ("ForAllValues:StringEquals", &["a", "b"][..], true),
        ("ForAllValues:StringEquals", &["a", "c"], false),
        ("ForAnyValue:StringEquals", &["c", "b"], true),
        ("ForAnyValue:StringEquals", &["c", "d"], false),
        ("ForAllValues:StringNotEquals", &["c", "d"], true),
        ("ForAllValues:StringNotEquals", &["c", "a"], false),
        ("ForAnyValue:StringNotEquals", &["c", "a"], true),
        ("ForAnyValue:StringNotEquals", &["a", "b"], false),
        ("StringEquals", &["c", "a"], true),
        ("StringNotEquals", &["c", "a"], false),
    ] {
        let condition = format!(r#"{{"{operator}":{{"aws:TagKeys":["a","b"]}}}}"#);
        check_condition(&condition, &[("aws:TagKeys", found)], expected);
    }
}

#[test]
fn all_keys_and_operators_must_hold() {
    let condition = r#"{"StringEquals":{"s3:x-amz-acl":"bucket-owner-full-control","aws:SourceAccount":["1","2"]},
        "Bool":{"aws:SecureTransport":"true"}}"#;
    let full = [
        ("s3:x-amz-acl", &["bucket-owner-full-control"][..]),
        ("aws:sourceaccount", &["2"]),
        ("aws:securetransport", &["true"]),
    ];
    check_condition(condition, &full, true);
    for missing in 0..full.len() {
        let mut rest = full.to_vec();
        rest.remove(missing);
        check_condition(condition, &rest, false);
    }
}

#[test]
fn variables_are_replaced_by_literal_values() {
    let named = |name: &str| with(&[("aws:username", &[name])]);
    let mut request = named("alice");
    request.resource = "arn:aws:s3:::b/alice/k".into();
    assert!(allows(r#""Resource":"arn:aws:s3:::b/${aws:username}/*""#, &request));
    assert!(allows(r#""Resource":"arn:aws:s3:::b/${AWS:UserName}/*""#, &request));
    request.context[0].1 = vec!["*".into()];
    assert!(!allows(r#""Resource":"arn:aws:s3:::b/${aws:username}/*""#, &request));
    request.context.clear();
    assert!(!allows(r#""Resource":"arn:aws:s3:::b/${aws:username}/*""#, &request));
    let unknown = r#""NotResource":"arn:aws:s3:::b/${aws:username}/*""#;
    assert_eq!(outcome("Allow", unknown, &request), Outcome::Neutral);
    assert_eq!(outcome("Deny", unknown, &request), Outcome::ExplicitDeny);
    assert!(allows(r#""Resource":"arn:aws:s3:::b/${aws:username, 'alice'}/*""#, &request));
    request.resource = "arn:aws:s3:::b/${x".into();
    assert!(allows(r#""Resource":"arn:aws:s3:::b/${$}{x""#, &request));
    assert!(allows(r#""Resource":"arn:aws:s3:::b/${x""#, &request));

    check_condition(
        r#"{"StringEquals":{"k:k":"${aws:username}"}}"#,
        &[("k:k", &["bob"]), ("aws:username", &["bob"])],
        true,
    );
    check_condition(r#"{"StringEquals":{"k:k":"${aws:username}"}}"#, &[("k:k", &["bob"])], false);
    check_condition(r#"{"StringNotEquals":{"k:k":"${aws:username}"}}"#, &[("k:k", &["bob"])], true);
    check_condition(r#"{"StringLike":{"k:k":"a${*}*"}}"#, &[("k:k", &["a*b"])], true);
    check_condition(r#"{"StringLike":{"k:k":"a${*}*"}}"#, &[("k:k", &["aXb"])], false);
    check_condition(
        r#"{"StringLike":{"k:k":"${aws:TagKeys}"}}"#,
        &[("k:k", &["a"]), ("aws:TagKeys", &["a", "a"])],
        false,
    );
}

#[test]
fn only_version_2012_has_variables_and_the_version_may_be_absent() {
    let statement = r#""Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"arn:aws:s3:::${aws:username}"}]"#;
    let mut request = with(&[("aws:username", &["alice"])]);
    for (version, resource, expected) in [
        (r#""Version":"2012-10-17","#, "arn:aws:s3:::alice", Outcome::Allow),
        (r#""Version":"2008-10-17","#, "arn:aws:s3:::alice", Outcome::Neutral),
        ("", "arn:aws:s3:::alice", Outcome::Neutral),
        ("", "arn:aws:s3:::${aws:username}", Outcome::Allow),
    ] {
        request.resource = resource.into();
        let document = Document::parse(&format!("{{{version}{statement}}}")).unwrap();
        assert_eq!(evaluate(&document, &request).outcome, expected, "{version} {resource}");
    }
}

#[test]
fn a_decision_names_its_statement_and_deny_wins() {
    let document = Document::parse(
        r#"{"Statement":[
            {"Sid":"Open","Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"},
            {"Sid":"Shut","Effect":"Deny","Principal":{"AWS":"111122223333"},"Action":"s3:Put*","Resource":"*"}]}"#,
    )
    .unwrap();
    let mut request = get(user(ACCOUNT, "alice"));
    let expected = Decision { outcome: Outcome::Allow, statement: Some(0), sid: Some("Open".into()) };
    assert_eq!(evaluate(&document, &request), expected);
    request.action = "s3:PutObject".into();
    let expected = Decision { outcome: Outcome::ExplicitDeny, statement: Some(1), sid: Some("Shut".into()) };
    assert_eq!(evaluate(&document, &request), expected);
    request.action = "sns:Publish".into();
    assert_eq!(
        evaluate(&document, &request),
        Decision { outcome: Outcome::Neutral, statement: None, sid: None }
    );
}

#[test]
fn the_policy_of_cloudtrails_guide_lets_only_its_trail_write() {
    let document = Document::parse(
        r#"{"Version":"2012-10-17","Statement":[
          {"Sid":"AWSCloudTrailAclCheck20150319","Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},
           "Action":"s3:GetBucketAcl","Resource":"arn:aws:s3:::logs",
           "Condition":{"StringEquals":{"aws:SourceArn":"arn:aws:cloudtrail:us-east-1:111122223333:trail/t"}}},
          {"Sid":"AWSCloudTrailWrite20150319","Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},
           "Action":"s3:PutObject","Resource":"arn:aws:s3:::logs/pre/AWSLogs/111122223333/*",
           "Condition":{"StringEquals":{"s3:x-amz-acl":"bucket-owner-full-control",
             "aws:SourceArn":"arn:aws:cloudtrail:us-east-1:111122223333:trail/t"}}}]}"#,
    )
    .unwrap();
    let put = |key: &str, trail: &str| Request {
        requester: service("cloudtrail.amazonaws.com"),
        action: "s3:PutObject".into(),
        resource: format!("arn:aws:s3:::logs/{key}"),
        context: vec![
            ("s3:x-amz-acl".into(), vec!["bucket-owner-full-control".into()]),
            (
                "aws:SourceArn".into(),
                vec![format!("arn:aws:cloudtrail:us-east-1:111122223333:trail/{trail}")],
            ),
        ],
    };
    let key = "pre/AWSLogs/111122223333/CloudTrail/us-east-1/2026/11/20/f.json.gz";
    assert_eq!(evaluate(&document, &put(key, "t")).outcome, Outcome::Allow);
    assert_eq!(evaluate(&document, &put(key, "u")).outcome, Outcome::Neutral);
    assert_eq!(evaluate(&document, &put("AWSLogs/111122223333/x", "t")).outcome, Outcome::Neutral);
    let mut no_acl = put(key, "t");
    no_acl.context.remove(0);
    assert_eq!(evaluate(&document, &no_acl).outcome, Outcome::Neutral);
}

#[test]
fn a_statement_without_principal_applies_to_nobody() {
    let document =
        Document::parse(r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#).unwrap();
    assert_eq!(evaluate(&document, &get(root(ACCOUNT))).outcome, Outcome::Neutral);
}

#[test]
fn what_is_not_a_policy_is_refused_when_parsed() {
    let statement = |members: &str| format!(r#"{{"Statement":[{{{members}}}]}}"#);
    let long = format!(r#"{{"Id":"{}","Statement":[]}}"#, "x".repeat(document::DOCUMENT_SIZE_BYTES_MAX));
    let deep = "[".repeat(200);
    for text in [
        "",
        "[]",
        "{}",
        deep.as_str(),
        long.as_str(),
        r#"{"Statement":[]}"#,
        r#"{"Version":"2012-10-18","Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}}"#,
        &statement(r#""Principal":"*","Action":"*","Resource":"*""#),
        &statement(r#""Effect":"allow","Principal":"*","Action":"*","Resource":"*""#),
        &statement(r#""Effect":"Allow","Effect":"Deny","Principal":"*","Action":"*","Resource":"*""#),
        &statement(r#""Effect":"Allow","Principal":"*","Resource":"*""#),
        &statement(r#""Effect":"Allow","Principal":"*","Action":"*","NotAction":"s3:*","Resource":"*""#),
        &statement(r#""Effect":"Allow","Principal":"*","NotPrincipal":"*","Action":"*","Resource":"*""#),
        &statement(r#""Effect":"Allow","Principal":"*","Action":[],"Resource":"*""#),
        &statement(r#""Effect":"Allow","Principal":"*","Action":"GetObject","Resource":"*""#),
        &statement(r#""Effect":"Allow","Principal":"*","Action":"*","Resource":"bucket""#),
        &statement(r#""Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Extra":1"#),
        &statement(r#""Effect":"Allow","Principal":"alice","Action":"*","Resource":"*""#),
        &statement(r#""Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/*"},"Action":"*""#),
        &statement(r#""Effect":"Allow","Principal":{"AWS":"alice"},"Action":"*""#),
        &statement(r#""Effect":"Allow","Principal":{"Robot":"*"},"Action":"*""#),
        &statement(r#""Effect":"Allow","Principal":"*","Action":"*","Condition":{"StringIs":{"k":"v"}}"#),
        &statement(
            r#""Effect":"Allow","Principal":"*","Action":"*","Condition":{"NullIfExists":{"k":"true"}}"#,
        ),
        &statement(
            r#""Effect":"Allow","Principal":"*","Action":"*","Condition":{"IpAddress":{"k":"10.0.0.0/33"}}"#,
        ),
        &statement(
            r#""Effect":"Allow","Principal":"*","Action":"*","Condition":{"NumericEquals":{"k":"ten"}}"#,
        ),
        &statement(r#""Effect":"Allow","Principal":"*","Action":"*","Condition":{"StringEquals":"k"}"#),
        &statement(r#""Effect":"Allow","Principal":"*","Action":"*","Condition":{"StringEquals":{"k":{}}}"#),
    ] {
        assert!(Document::parse(text).is_err(), "{text:.200}");
    }
}
