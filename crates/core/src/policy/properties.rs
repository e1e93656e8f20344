//! What must hold for all policies and requests.

use std::sync::Arc;

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

/// A statement as policies of identities have them.
fn any_own_statement() -> impl Strategy<Value = serde_json::Value> {
    any_statement().prop_map(|mut statement| {
        if let Some(members) = statement.as_object_mut() {
            members.retain(|name, _| !name.ends_with("Principal"));
        }
        statement
    })
}

fn document(statements: &[serde_json::Value]) -> Document {
    let text = serde_json::json!({"Version": "2012-10-17", "Statement": statements}).to_string();
    Document::parse(&text).unwrap()
}

fn any_policy() -> impl Strategy<Value = NamedPolicy> {
    prop::collection::vec(any_own_statement(), 1..4)
        .prop_map(|statements| NamedPolicy { name: "p".into(), document: Arc::new(document(&statements)) })
}

fn any_policies() -> impl Strategy<Value = Vec<NamedPolicy>> {
    prop::collection::vec(any_policy(), 0..3)
}

/// All that bears on a request.
#[derive(Clone, Debug)]
struct World {
    request: Request,
    rights: Rights,
    resource: Option<(bool, Document)>,
}

fn any_world() -> impl Strategy<Value = World> {
    let rights = (
        any::<bool>(),
        any_policies(),
        prop::option::of(any_policy()),
        prop::option::of(any_policies()),
        prop::collection::vec(any_policies(), 0..3),
    )
        .prop_map(|(unrestricted, identity, boundary, session, control)| Rights {
            unrestricted,
            identity,
            boundary,
            session,
            control,
            ..Rights::default()
        });
    let resource = prop::collection::vec(any_statement(), 1..4);
    let resource = prop::option::of((any::<bool>(), resource.prop_map(|statements| document(&statements))));
    (any_request(), rights, resource).prop_map(|(request, rights, resource)| World {
        request,
        rights,
        resource,
    })
}

impl World {
    fn verdict(&self) -> Verdict {
        let resource = self.resource.as_ref().map(|(must_allow, document)| AttachedPolicy {
            owner: ACCOUNT,
            document: Some(document),
            must_allow: *must_allow,
        });
        decide(&Question { request: &self.request, rights: &self.rights, resource })
    }

    fn policies(&mut self) -> Vec<&mut Document> {
        let rights = &mut self.rights;
        let named = rights.identity.iter_mut().chain(&mut rights.boundary);
        let named =
            named.chain(rights.session.iter_mut().flatten()).chain(rights.control.iter_mut().flatten());
        let documents = named.map(|policy| Arc::make_mut(&mut policy.document));
        documents.chain(self.resource.iter_mut().map(|(_, document)| document)).collect()
    }

    /// The policy that a verdict names.
    fn named(&self, kind: PolicyKind) -> Vec<&Document> {
        let rights = &self.rights;
        let named: Vec<&NamedPolicy> = match kind {
            PolicyKind::Identity => rights.identity.iter().collect(),
            PolicyKind::Boundary => rights.boundary.iter().collect(),
            PolicyKind::Session => rights.session.iter().flatten().collect(),
            PolicyKind::Control => rights.control.iter().flatten().collect(),
            PolicyKind::Resource => return self.resource.iter().map(|(_, document)| document).collect(),
        };
        named.into_iter().map(|policy| &*policy.document).collect()
    }
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

    #[test]
    fn no_deny_that_is_added_and_no_allow_that_is_taken_away_grants(
        world in any_world(), denial in any_own_statement()
    ) {
        let allowed = world.verdict().allowed;
        let policy_count = world.clone().policies().len();
        for at in 0..policy_count {
            let mut more = world.clone();
            let is_resource = at == policy_count - 1 && world.resource.is_some();
            let mut denial = denial.clone();
            denial["Effect"] = "Deny".into();
            if is_resource {
                denial["Principal"] = "*".into();
            }
            more.policies()[at].statements.extend(document(&[denial]).statements);
            prop_assert!(allowed || !more.verdict().allowed, "a Deny granted: {more:?}");
            let statement_count = world.clone().policies()[at].statements.len();
            for statement in 0..statement_count {
                let mut fewer = world.clone();
                if fewer.policies()[at].statements.remove(statement).effect == Effect::Allow {
                    prop_assert!(allowed || !fewer.verdict().allowed, "an absent Allow granted: {fewer:?}");
                }
            }
        }
    }

    #[test]
    fn boundaries_sessions_and_control_policies_never_grant(
        world in any_world(), policy in any_policy(), policies in any_policies()
    ) {
        let with_limits = |change: &dyn Fn(&mut Rights)| {
            let mut limited = world.clone();
            change(&mut limited.rights);
            limited.verdict().allowed
        };
        let level = |rights: &mut Rights| rights.control.push(policies.clone());
        prop_assert!(world.verdict().allowed || !with_limits(&level));
        let boundary = |rights: &mut Rights| rights.boundary = Some(policy.clone());
        let unbounded = |rights: &mut Rights| rights.boundary = None;
        prop_assert!(with_limits(&unbounded) || !with_limits(&boundary));
        let session = |rights: &mut Rights| rights.session = Some(policies.clone());
        let without_session = |rights: &mut Rights| rights.session = None;
        prop_assert!(with_limits(&without_session) || !with_limits(&session));
    }

    #[test]
    fn the_order_of_policies_levels_and_statements_does_not_matter(world in any_world()) {
        let mut reversed = world.clone();
        reversed.policies().into_iter().for_each(|document| document.statements.reverse());
        reversed.rights.identity.reverse();
        reversed.rights.session.iter_mut().for_each(|policies| policies.reverse());
        reversed.rights.control.iter_mut().for_each(|level| level.reverse());
        reversed.rights.control.reverse();
        prop_assert_eq!(world.verdict().allowed, reversed.verdict().allowed);
    }

    #[test]
    fn every_verdict_names_a_statement_that_says_so(world in any_world()) {
        let verdict = world.verdict();
        let (by, effect) = match &verdict.reason {
            Reason::Allowed(by) => (by, Effect::Allow),
            Reason::Denied(by) => (by, Effect::Deny),
            Reason::Unrestricted => {
                prop_assert!(verdict.allowed && world.rights.unrestricted);
                return Ok(());
            }
            Reason::NotAllowed(_) => {
                prop_assert!(!verdict.allowed);
                return Ok(());
            }
        };
        prop_assert_eq!(verdict.allowed, effect == Effect::Allow);
        let said = world.named(by.kind).into_iter().any(|document| {
            document.statements.get(by.statement).is_some_and(|statement| statement.effect == effect)
        });
        prop_assert!(said, "{by:?}");
    }
}
