//! Policies: any text is refused or decides, and its decisions keep to the rules of all policies.

use cairn_core::policy::{Document, Effect, Outcome, Request, Requester, evaluate};

const DENY_ALL: &str = r#"{"Statement":{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}}"#;

fn requests() -> Vec<Request> {
    let user = Requester::Identity {
        account: "111122223333".into(),
        arn: "arn:aws:iam::111122223333:user/alice".into(),
        id: "AIDAJDPLRKLG7UEXAMPLE".into(),
        issuer: None,
    };
    let context: Vec<(String, Vec<String>)> = [
        ("aws:username", "alice"),
        ("aws:SourceArn", "arn:aws:cloudtrail:us-east-1:111122223333:trail/t"),
        ("aws:SourceIp", "203.0.113.7"),
        ("aws:CurrentTime", "2026-11-21T10:00:00Z"),
        ("aws:SecureTransport", "true"),
        ("s3:x-amz-acl", "bucket-owner-full-control"),
        ("s3:max-keys", "7"),
    ]
    .map(|(key, value)| (key.to_owned(), vec![value.to_owned()]))
    .into();
    let request = |requester: &Requester, action: &str, resource: &str| Request {
        requester: requester.clone(),
        action: action.into(),
        resource: resource.into(),
        context: context.clone(),
    };
    vec![
        request(&user, "s3:GetObject", "arn:aws:s3:::b/alice/é"),
        request(
            &Requester::Service("cloudtrail.amazonaws.com".into()),
            "s3:PutObject",
            "arn:aws:s3:::b/AWSLogs/x",
        ),
        Request { context: Vec::new(), ..request(&Requester::Anonymous, "sns:Publish", "*") },
    ]
}

/// One document.
///
/// # Panics
/// Where a decision names no statement or a wrong one, the order of statements matters, or a Deny of all does not win.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let mut reversed = document.clone();
    reversed.statements.reverse();
    let mut denied = document.clone();
    let shut = Document::parse(DENY_ALL).expect("a policy");
    denied.statements.extend(shut.statements);
    for request in requests() {
        let decision = evaluate(&document, &request);
        let by = decision.statement.map(|at| &document.statements[at]);
        let expected = match decision.outcome {
            Outcome::Allow => Some(Effect::Allow),
            Outcome::ExplicitDeny => Some(Effect::Deny),
            Outcome::Neutral => None,
        };
        assert_eq!(by.map(|statement| statement.effect), expected);
        assert_eq!(by.and_then(|statement| statement.sid.clone()), decision.sid);
        assert_eq!(evaluate(&reversed, &request).outcome, decision.outcome, "the order matters");
        assert_eq!(evaluate(&denied, &request).outcome, Outcome::ExplicitDeny);
    }
}
