//! What must hold for all policies and requests.

use proptest::prelude::*;

use super::tests::{ACCOUNT, root, service, user, with};
use super::*;

/// One statement out of parts that overlap often.
fn any_statement() -> impl Strategy<Value = serde_json::Value> {
    let effect = prop::sample::select(vec!["Allow", "Deny"]);
    let principal = prop::sample::select(vec![
        serde_json::json!("*"),
        serde_json::json!({"AWS": ACCOUNT}),
        serde_json::json!({"AWS": "arn:aws:iam::111122223333:user/alice"}),
        serde_json::json!({"Service": "cloudtrail.amazonaws.com"}),
    ]);
    let action = prop::sample::select(vec!["*", "s3:*", "s3:GetObject", "S3:Put*"]);
    let resource = prop::sample::select(vec!["*", "arn:aws:s3:::b/*", "arn:aws:s3:::b/${aws:username}"]);
    let operator = prop::sample::select(vec![
        "StringEquals",
        "StringNotLike",
        "ForAllValues:StringLike",
        "ForAnyValue:StringNotEquals",
        "StringEqualsIfExists",
    ]);
    let condition = prop::option::of((operator, prop::sample::select(vec!["alice", "*", "${aws:username}"])));
    (effect, principal, action, resource, condition, any::<[bool; 3]>()).prop_map(
        |(effect, principal, action, resource, condition, not)| {
            let name = |not: bool, name: &str| if not { format!("Not{name}") } else { name.to_owned() };
            let mut statement = serde_json::json!({
                "Effect": effect,
                name(not[0], "Principal"): principal,
                name(not[1], "Action"): action,
                name(not[2], "Resource"): resource,
            });
            if let Some((operator, value)) = condition {
                statement["Condition"] = serde_json::json!({ operator: { "aws:username": value } });
            }
            statement
        },
    )
}

fn any_request() -> impl Strategy<Value = Request> {
    let requester = prop::sample::select(vec![
        user(ACCOUNT, "alice"),
        user(ACCOUNT, "bob"),
        root(ACCOUNT),
        user("444455556666", "alice"),
        service("cloudtrail.amazonaws.com"),
        Requester::Anonymous,
    ]);
    let action = prop::sample::select(vec!["s3:GetObject", "s3:PutObject", "sns:Publish"]);
    let resource = prop::sample::select(vec!["arn:aws:s3:::b/alice", "arn:aws:s3:::c", "*"]);
    let names = prop::collection::vec(prop::sample::select(vec!["alice", "bob", "*"]), 0..3);
    (requester, action, resource, names).prop_map(|(requester, action, resource, names)| Request {
        requester,
        action: action.to_owned(),
        resource: resource.to_owned(),
        context: vec![("aws:username".to_owned(), names.into_iter().map(str::to_owned).collect())],
    })
}

fn outcome_of(statements: &[serde_json::Value], request: &Request) -> Outcome {
    let text = serde_json::json!({"Version": "2012-10-17", "Statement": statements}).to_string();
    evaluate(&Document::parse(&text).unwrap(), request).outcome
}

proptest! {
    #[test]
    fn the_order_of_statements_does_not_matter(
        mut statements in prop::collection::vec(any_statement(), 1..6), request in any_request()
    ) {
        let forwards = outcome_of(&statements, &request);
        statements.reverse();
        prop_assert_eq!(forwards, outcome_of(&statements, &request));
    }

    #[test]
    fn neither_adding_a_deny_nor_removing_an_allow_grants(
        statements in prop::collection::vec(any_statement(), 2..6), request in any_request()
    ) {
        let allowed = |statements: &[serde_json::Value]| {
            !statements.is_empty() && outcome_of(statements, &request) == Outcome::Allow
        };
        for (index, statement) in statements.iter().enumerate() {
            let mut rest = statements.clone();
            rest.remove(index);
            if statement["Effect"] == "Deny" {
                prop_assert!(!allowed(&statements) || allowed(&rest));
            } else {
                prop_assert!(!allowed(&rest) || outcome_of(&statements, &request) == Outcome::Allow);
            }
        }
    }

    #[test]
    fn any_text_is_parsed_or_refused_without_a_panic(text in "[{}\\[\\]\":,*a-zA-Z0-9$ ]{0,80}", key in ".{0,20}") {
        let _ = Document::parse(&text).is_ok();
        let wrapped = serde_json::json!({"Version": "2012-10-17", "Statement": {
            "Effect": "Allow", "Principal": "*", "Action": format!("s3:{key}"), "Resource": format!("arn:{text}"),
            "Condition": {"StringLike": {"k:k": &text}, "ArnLike": {"k:k": &key}, "DateEquals": {"k:k": "2026"}}}});
        if let Ok(document) = Document::parse(&wrapped.to_string()) {
            let decision = evaluate(&document, &with(&[("k:k", &[&key, &text])]));
            prop_assert_eq!(decision.statement.is_none(), decision.outcome == Outcome::Neutral);
        }
    }
}
