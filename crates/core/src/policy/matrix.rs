//! The matrix of policy cases: tables written by hand in `matrix/*.txt`, each row of which is tried in every cell.

use std::collections::HashSet;
use std::sync::Arc;

use super::evaluate::{Reach, reach};
use super::tests::{ACCOUNT, root, service, user, with};
use super::*;

/// The rows of a table: cells without the spaces around them.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split('|').map(str::trim).collect())
}

fn session(account: &str) -> Requester {
    Requester::Identity {
        account: account.into(),
        arn: format!("arn:aws:sts::{account}:assumed-role/reader/alice"),
        id: "AROAEXAMPLEREADER:alice".into(),
        issuer: Some(Issuer {
            arn: format!("arn:aws:iam::{account}:role/ops/reader"),
            id: "AROAEXAMPLEREADER".into(),
        }),
    }
}

fn federated(account: &str) -> Requester {
    Requester::Identity {
        account: account.into(),
        arn: format!("arn:aws:sts::{account}:federated-user/bob"),
        id: format!("{account}:bob"),
        issuer: Some(Issuer {
            arn: format!("arn:aws:iam::{account}:user/alice"),
            id: "AIDAEXAMPLEALICE".into(),
        }),
    }
}

fn parse(text: &str) -> Document {
    Document::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The request of somebody with the context that the tables assume.
fn request(values: &str) -> Request {
    let mut request =
        with(&[("aws:username", &["alice"]), ("aws:PrincipalTag/team", &["red"]), ("k:many", &["a", "b"])]);
    match values {
        "-" => {}
        "()" => request.context.push(("k:k".into(), Vec::new())),
        _ => request.context.push(("k:k".into(), values.split('&').map(str::to_owned).collect())),
    }
    request
}

#[test]
fn conditions_hold_as_the_table_says() {
    let (mut version, mut wants, mut columns) = ("2012-10-17", "", Vec::new());
    let mut case_count = 0;
    for row in rows(include_str!("matrix/conditions.txt")) {
        if let Some(found) = row[0].strip_prefix("version: ") {
            version = found;
        } else if let Some(found) = row[0].strip_prefix("wants: ") {
            wants = found;
        } else if row[0] == "operator" {
            columns = row;
        } else {
            assert_eq!(row.len(), columns.len(), "{row:?}");
            for (values, cell) in columns.iter().zip(&row).skip(1) {
                for (effect, holds) in [("Allow", Outcome::Allow), ("Deny", Outcome::ExplicitDeny)] {
                    let operator = row[0];
                    let text = format!(
                        r#"{{"Version":"{version}","Statement":{{"Effect":"{effect}","Action":"*","Resource":"*","Condition":{{"{operator}":{{"K:k":{wants}}}}}}}}}"#
                    );
                    let found = evaluate_attached(&parse(&text), &request(values)).outcome;
                    let expected = if yes(cell) { holds } else { Outcome::Neutral };
                    assert_eq!(found, expected, "{text} {values}");
                    case_count += 1;
                }
            }
        }
    }
    assert_eq!(case_count, 2 * CONDITION_CELLS);
}

const CONDITION_CELLS: usize = 682;

fn yes(cell: &str) -> bool {
    match cell {
        "y" => true,
        "n" => false,
        other => panic!("{other:?} is neither y nor n"),
    }
}

#[test]
fn actions_and_resources_are_taken_in_as_the_table_says() {
    let (mut element, mut columns) = ("", Vec::new());
    for row in rows(include_str!("matrix/selections.txt")) {
        if let Some(found) = row[0].strip_prefix("element: ") {
            element = found;
        } else if row[0] == "patterns" {
            columns = row;
        } else {
            assert_eq!(row.len(), columns.len(), "{row:?}");
            for (asked, cell) in columns.iter().zip(&row).skip(1) {
                let is_action = element.ends_with("Action");
                let other = if is_action { "Resource" } else { "Action" };
                let text = format!(
                    r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","{element}":{},"{other}":"*"}}}}"#,
                    row[0]
                );
                let mut request = request("-");
                let part = if is_action { &mut request.action } else { &mut request.resource };
                (*asked).clone_into(part);
                let found = evaluate_attached(&parse(&text), &request).outcome == Outcome::Allow;
                assert_eq!(found, yes(cell), "{text} {asked}");
            }
        }
    }
}

/// A user of the same name in another account.
fn stranger() -> Requester {
    let mut other = user("444455556666", "alice");
    if let Requester::Identity { id, .. } = &mut other {
        *id = "AIDAEXAMPLESTRANGER".into();
    }
    other
}

#[test]
fn principals_are_taken_in_as_the_table_says() {
    let requesters = [
        user(ACCOUNT, "alice"),
        root(ACCOUNT),
        session(ACCOUNT),
        federated(ACCOUNT),
        stranger(),
        service("cloudtrail.amazonaws.com"),
        Requester::Federated(format!("arn:aws:iam::{ACCOUNT}:oidc-provider/idp.example")),
        Requester::Anonymous,
    ];
    let mut element = "";
    for row in rows(include_str!("matrix/principals.txt")) {
        if let Some(found) = row[0].strip_prefix("element: ") {
            element = found;
            continue;
        }
        if row[0] == "principal" {
            continue;
        }
        let (name, effect) = element.split_once(" of ").unwrap_or((element, "Allow"));
        let text = format!(
            r#"{{"Statement":{{"Effect":"{effect}","{name}":{},"Action":"*","Resource":"*"}}}}"#,
            row[0]
        );
        let document = parse(&text);
        assert_eq!(row.len(), requesters.len() + 1, "{row:?}");
        for (requester, cell) in requesters.iter().zip(&row[1..]) {
            let found = reach(&document, &Request { requester: requester.clone(), ..request("-") });
            let expected = match *cell {
                "s" | "y" if effect == "Allow" => Some(Reach::Requester),
                "i" => Some(Reach::Issuer),
                "a" => Some(Reach::Account),
                "y" => {
                    assert_eq!(found.unwrap_err().outcome, Outcome::ExplicitDeny, "{text} {requester:?}");
                    continue;
                }
                "-" | "n" => None,
                other => panic!("{other:?} is no cell"),
            };
            assert_eq!(found.ok().map(|(_, reach)| reach), expected, "{text} {requester:?}");
        }
    }
}

/// A way to combine policies; each member is one of the marks of the table.
#[derive(Clone, Copy, Debug)]
struct Combination<'a> {
    requester: &'a str,
    resource: &'a str,
    control: &'a str,
    identity: &'a str,
    boundary: &'a str,
    session: &'a str,
}

impl Combination<'_> {
    fn cells(&self) -> [&str; 6] {
        [self.requester, self.resource, self.control, self.identity, self.boundary, self.session]
    }

    fn requester(&self) -> Requester {
        match self.requester {
            "user" => user(ACCOUNT, "alice"),
            "role" => session(ACCOUNT),
            "federated" => federated(ACCOUNT),
            "root" => root(ACCOUNT),
            "foreign" => user("444455556666", "alice"),
            "service" => service("cloudtrail.amazonaws.com"),
            "nobody" => Requester::Anonymous,
            other => panic!("{other:?} is no requester"),
        }
    }

    /// The Principal of the resource's policy.
    fn named(&self, requester: &Requester) -> String {
        let aws = |name: &str| format!(r#"{{"AWS":"{name}"}}"#);
        match (self.resource.trim_start_matches('k'), requester) {
            ("all" | "!", _) => r#""*""#.to_owned(),
            ("account", Requester::Identity { account, .. }) => aws(account),
            ("account", _) => aws(ACCOUNT),
            ("self", Requester::Identity { arn, .. }) => aws(arn),
            ("self", Requester::Service(name)) => format!(r#"{{"Service":"{name}"}}"#),
            ("self", _) => aws("arn:aws:iam::111122223333:user/alice"),
            ("issuer", Requester::Identity { issuer: Some(issuer), .. }) => aws(&issuer.arn),
            (".", _) => aws("arn:aws:iam::111122223333:user/somebody"),
            other => panic!("{other:?} names nobody"),
        }
    }

    fn verdict(&self) -> String {
        let requester = self.requester();
        let resource = (self.resource != "-").then(|| {
            let effect = if self.resource.ends_with('!') { "Deny" } else { "Allow" };
            let principal = self.named(&requester);
            parse(&format!(
                r#"{{"Statement":{{"Effect":"{effect}","Principal":{principal},"Action":"*","Resource":"*"}}}}"#
            ))
        });
        let rights = Rights {
            unrestricted: self.requester == "root",
            identity: named_policy("identity", self.identity).into_iter().collect(),
            boundary: named_policy("boundary", self.boundary),
            session: named_policy("session", self.session).map(|policy| vec![policy]),
            // Two levels, of which the upper one allows everything.
            control: named_policy("control", self.control)
                .map(|policy| vec![named_policy("control", "+").into_iter().collect(), vec![policy]])
                .unwrap_or_default(),
            ..Rights::default()
        };
        let request = Request { requester, ..request("-") };
        let resource = resource.as_ref().map(|document| AttachedPolicy {
            owner: ACCOUNT,
            document: Some(document),
            must_allow: self.resource.starts_with('k'),
        });
        let verdict = decide(&Question { request: &request, rights: &rights, resource });
        let (allowed, text) = match verdict.reason {
            Reason::Unrestricted => (true, "root".to_owned()),
            Reason::Allowed(by) => (true, format!("by {}", name(by.kind))),
            Reason::Denied(by) => (false, format!("denied {}", name(by.kind))),
            Reason::NotAllowed(kind) => (false, format!("no {}", name(kind))),
        };
        assert_eq!(verdict.allowed, allowed);
        text
    }
}

fn name(kind: PolicyKind) -> &'static str {
    match kind {
        PolicyKind::Identity => "identity",
        PolicyKind::Resource => "resource",
        PolicyKind::Boundary => "boundary",
        PolicyKind::Session => "session",
        PolicyKind::Control => "control",
    }
}

fn named_policy(name: &str, mark: &str) -> Option<NamedPolicy> {
    let (effect, action) = match mark {
        "+" => ("Allow", "s3:Get*"),
        "." => ("Allow", "sns:*"),
        "!" => ("Deny", "*"),
        "-" => return None,
        other => panic!("{other:?} is no mark"),
    };
    let document = parse(&format!(
        r#"{{"Version":"2012-10-17","Statement":{{"Effect":"{effect}","Action":"{action}","Resource":"*"}}}}"#
    ));
    Some(NamedPolicy { name: name.into(), document: Arc::new(document) })
}

fn all_combinations() -> Vec<Combination<'static>> {
    let mut all = Vec::new();
    for requester in ["user", "role", "federated", "root", "foreign", "service", "nobody"] {
        for resource in [
            "-", ".", "self", "issuer", "account", "all", "!", "k.", "kself", "kissuer", "kaccount", "kall",
            "k!",
        ] {
            let has_issuer = matches!(requester, "role" | "federated");
            if (resource.ends_with("issuer") && !has_issuer) || (requester == "foreign" && resource == "-") {
                continue;
            }
            let limits: &[&str] = if requester == "root" { &["-"] } else { &["-", "+", ".", "!"] };
            for control in ["-", "+", ".", "!"] {
                for identity in ["+", ".", "!"] {
                    for boundary in limits {
                        for session in limits {
                            all.push(Combination {
                                requester,
                                resource,
                                control,
                                identity,
                                boundary,
                                session,
                            });
                        }
                    }
                }
            }
        }
    }
    all
}

#[test]
fn all_kinds_of_policies_come_to_what_the_table_says() {
    let table: Vec<_> = rows(include_str!("matrix/layers.txt")).skip(1).collect();
    let mut used = HashSet::new();
    let combinations = all_combinations();
    for combination in &combinations {
        let takes_in = |row: &Vec<&str>| {
            row.iter()
                .zip(combination.cells())
                .all(|(cell, mark)| *cell == "any" || cell.split_whitespace().any(|one| one == mark))
        };
        let row = table.iter().position(takes_in).unwrap_or_else(|| panic!("{combination:?} is in no row"));
        used.insert(row);
        assert_eq!(combination.verdict(), table[row][6], "{combination:?}");
    }
    assert_eq!(combinations.len(), LAYER_COMBINATIONS);
    let unused = table.iter().enumerate().find(|(at, _)| !used.contains(at));
    assert_eq!(unused, None, "a row that nothing needs");
}

const LAYER_COMBINATIONS: usize = 13_380;

#[test]
fn a_verdict_names_the_policy_and_the_statement() {
    let policy = |name: &str, statements: &str| NamedPolicy {
        name: name.into(),
        document: Arc::new(parse(&format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#))),
    };
    let silent = r#"{"Effect":"Allow","Action":"sns:*","Resource":"*"}"#;
    let open = r#"{"Sid":"Open","Effect":"Allow","Action":"s3:*","Resource":"*"}"#;
    let shut = r#"{"Sid":"Shut","Effect":"Deny","Action":"s3:Get*","Resource":"*"}"#;
    let request = request("-");
    let check = |rights: &Rights, expected: Reason| {
        let verdict = decide(&Question { request: &request, rights, resource: None });
        assert_eq!(verdict.reason, expected);
    };
    let by = |kind, policy: &str, statement, sid: Option<&str>| Witness {
        kind,
        policy: Some(policy.into()),
        statement,
        sid: sid.map(str::to_owned),
    };
    let mut rights = Rights {
        identity: vec![policy("quiet", silent), policy("arn:open", &format!("{silent},{open}"))],
        ..Rights::default()
    };
    check(&rights, Reason::Allowed(by(PolicyKind::Identity, "arn:open", 1, Some("Open"))));
    rights.boundary = Some(policy("fence", &format!("{open},{silent},{shut}")));
    check(&rights, Reason::Denied(by(PolicyKind::Boundary, "fence", 2, Some("Shut"))));
    rights.control =
        vec![vec![policy("quiet", silent)], vec![policy("p-1", &shut.replace(r#""Sid":"Shut","#, ""))]];
    check(&rights, Reason::Denied(by(PolicyKind::Control, "p-1", 0, None)));
    rights.control.pop();
    rights.boundary = None;
    check(&rights, Reason::NotAllowed(PolicyKind::Control));
}
