//! The policy simulator: what policies would say of calls that nobody makes.

use std::sync::Arc;

use cairn_core::AccountId;
use cairn_core::policy::{
    AttachedPolicy, Document, NamedPolicy, PolicyKind, Question, Reason, Request, Requester, Rights, Witness,
    decide,
};
use cairn_wire::{Call, Reply};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Iam;
use super::context_keys::{keys_in, spans};
use super::document::check_identity_policy;
use super::entity::{self, Kind};
use super::failure::{Failure, invalid_input, no_such, not_an_action};
use super::groups::groups_of;
use super::page::{PageInput, page};
use super::policy_state;
use crate::Caller;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Simulation {
    policy_source_arn: Option<String>,
    #[serde(default)]
    policy_input_list: Vec<String>,
    #[serde(default)]
    permissions_boundary_policy_input_list: Vec<String>,
    action_names: Vec<String>,
    #[serde(default)]
    resource_arns: Vec<String>,
    resource_policy: Option<String>,
    resource_owner: Option<String>,
    caller_arn: Option<String>,
    #[serde(default)]
    context_entries: Vec<ContextEntry>,
    #[serde(flatten)]
    page: PageInput,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContextEntry {
    context_key_name: String,
    #[serde(default)]
    context_key_values: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContextKeys {
    policy_source_arn: Option<String>,
    #[serde(default)]
    policy_input_list: Vec<String>,
}

/// A policy that is weighed, with what results say of it.
#[derive(Clone)]
struct Source {
    id: String,
    /// `IAM Policy`, or where it is attached: `user`, `group`, `role`.
    kind: &'static str,
    text: String,
}

/// The policies of a user, group or role.
#[derive(Default)]
struct Sources {
    identity: Vec<Source>,
    boundary: Option<Source>,
}

impl Iam {
    pub(super) async fn simulate_operation(&self, caller: &Caller, call: &Call) -> Result<Reply, Failure> {
        match call.operation.as_str() {
            "GetContextKeysForCustomPolicy" | "GetContextKeysForPrincipalPolicy" => {
                self.context_keys(caller, call.input()?).await
            }
            "SimulateCustomPolicy" | "SimulatePrincipalPolicy" => self.simulate(caller, call.input()?).await,
            other => Err(not_an_action(other)),
        }
    }

    async fn context_keys(&self, caller: &Caller, input: ContextKeys) -> Result<Reply, Failure> {
        let sources = self.sources(caller, input.policy_source_arn.as_deref()).await?;
        let given = given("PolicyInputList", input.policy_input_list)?;
        let mut keys: Vec<String> =
            sources.identity.iter().chain(&given).flat_map(|source| keys_in(&source.text)).collect();
        keys.sort_by_key(|key| key.to_lowercase());
        keys.dedup_by_key(|key| key.to_lowercase());
        Ok(Reply::of(&json!({ "ContextKeyNames": keys })))
    }

    async fn simulate(&self, caller: &Caller, input: Simulation) -> Result<Reply, Failure> {
        let mut sources = self.sources(caller, input.policy_source_arn.as_deref()).await?;
        sources.identity.extend(given("PolicyInputList", input.policy_input_list)?);
        let boundaries =
            given("PermissionsBoundaryPolicyInputList", input.permissions_boundary_policy_input_list)?;
        if let Some(boundary) = boundaries.into_iter().next() {
            sources.boundary = Some(boundary);
        }
        let who = input.caller_arn.or(input.policy_source_arn);
        let resource_policy = input.resource_policy.map(|text| Document::parse(&text));
        let resource_policy = resource_policy
            .transpose()
            .map_err(|_| invalid_input("Syntax errors in the resource policy."))?;
        let scene = Scene {
            rights: rights(&sources)?,
            requester: requester(&caller.account, who),
            context: input
                .context_entries
                .into_iter()
                .map(|entry| (entry.context_key_name, entry.context_key_values))
                .collect(),
            owner: input.resource_owner.as_deref().map_or_else(|| caller.account.to_string(), account_of),
            resource_policy,
            sources,
        };
        let all = vec!["*".to_owned()];
        let resources = if input.resource_arns.is_empty() { all } else { input.resource_arns };
        let mut items = Vec::new();
        for action in &input.action_names {
            for resource in &resources {
                items.push((format!("{:06}", items.len()), scene.result(action, resource)));
            }
        }
        Ok(Reply::of(&page("EvaluationResults", items, &input.page)?))
    }

    /// The policies of the user, group or role of this ARN; a user's with those of its groups.
    async fn sources(&self, caller: &Caller, arn: Option<&str>) -> Result<Sources, Failure> {
        let Some(arn) = arn else { return Ok(Sources::default()) };
        let (account, arn) = (caller.account.clone(), arn.to_owned());
        self.catalog
            .read(move |tx| {
                let kind = Kind::ALL.into_iter().find(|kind| arn.starts_with(&kind.arn(&account, "/", "")));
                let kind = kind.ok_or_else(|| invalid_input(format!("Invalid Entity Arn: {arn}")))?;
                let name = arn.rsplit('/').next().unwrap_or_default();
                let found = entity::find(tx, kind, &account, name)?;
                let found = found.filter(|found| found.arn(kind, &account) == arn).ok_or_else(|| {
                    no_such(format!("The {} with name {name} cannot be found.", kind.word()))
                })?;
                let mut sources = Sources::default();
                let groups = groups_of(tx, &account, &found)?;
                let holders =
                    std::iter::once((kind, &found)).chain(groups.iter().map(|group| (Kind::Group, group)));
                for (kind, holder) in holders {
                    for (name, text) in &holder.inline {
                        let id = format!("{}_{}_{name}", kind.word(), holder.name);
                        sources.identity.push(Source { id, kind: kind.word(), text: text.clone() });
                    }
                    for arn in &holder.attached {
                        sources.identity.extend(managed(tx, &account, arn, kind.word())?);
                    }
                }
                if let Some(arn) = &found.boundary {
                    sources.boundary = managed(tx, &account, arn, "IAM Permissions Boundary")?;
                }
                Ok::<_, Failure>(sources)
            })
            .await
    }
}

fn managed(
    tx: &mut dyn cairn_store::Tx,
    account: &AccountId,
    arn: &str,
    kind: &'static str,
) -> Result<Option<Source>, Failure> {
    let found = policy_state::find(tx, account, arn)?;
    Ok(found.map(|policy| Source { id: arn.to_owned(), kind, text: policy.document().to_owned() }))
}

/// The policies that a call brings along.
fn given(list: &str, texts: Vec<String>) -> Result<Vec<Source>, Failure> {
    let source = |(at, text): (usize, String)| {
        check_identity_policy(&text)?;
        Ok(Source { id: format!("{list}.{}", at + 1), kind: "none", text })
    };
    texts.into_iter().enumerate().map(source).collect()
}

fn named(source: &Source) -> Result<NamedPolicy, Failure> {
    let document = Document::parse(&source.text).map_err(|_| invalid_input("Syntax errors in policy."))?;
    Ok(NamedPolicy { name: source.id.clone(), document: Arc::new(document) })
}

fn rights(sources: &Sources) -> Result<Rights, Failure> {
    Ok(Rights {
        identity: sources.identity.iter().map(named).collect::<Result<_, _>>()?,
        boundary: sources.boundary.as_ref().map(named).transpose()?,
        ..Rights::default()
    })
}

fn account_of(arn: &str) -> String {
    arn.split(':').nth(4).unwrap_or(arn).to_owned()
}

fn requester(account: &AccountId, arn: Option<String>) -> Requester {
    let arn = arn.unwrap_or_else(|| format!("arn:aws:iam::{account}:root"));
    Requester::Identity { account: account_of(&arn), arn, id: String::new(), issuer: None }
}

/// All that is the same for every action and resource of a simulation.
struct Scene {
    sources: Sources,
    rights: Rights,
    requester: Requester,
    context: Vec<(String, Vec<String>)>,
    owner: String,
    resource_policy: Option<Document>,
}

impl Scene {
    fn result(&self, action: &str, resource: &str) -> Value {
        let request = Request {
            requester: self.requester.clone(),
            action: action.to_owned(),
            resource: resource.to_owned(),
            context: self.context.clone(),
        };
        let attached = self.resource_policy.as_ref().map(|document| AttachedPolicy {
            owner: &self.owner,
            document: Some(document),
            must_allow: false,
        });
        let verdict = decide(&Question { request: &request, rights: &self.rights, resource: attached });
        let decision = match (&verdict.reason, verdict.allowed) {
            (_, true) => "allowed",
            (Reason::Denied(_), _) => "explicitDeny",
            _ => "implicitDeny",
        };
        let mut result = json!({
            "EvalActionName": action,
            "EvalResourceName": resource,
            "EvalDecision": decision,
            "MatchedStatements": self.matched(&request, &verdict.reason),
            "MissingContextValues": self.missing(),
        });
        if let Some(boundary) = &self.rights.boundary {
            let alone = Rights { identity: vec![boundary.clone()], ..Rights::default() };
            let within = decide(&Question { request: &request, rights: &alone, resource: None }).allowed;
            result["PermissionsBoundaryDecisionDetail"] = json!({"AllowedByPermissionsBoundary": within});
        }
        result
    }

    /// The statement of each policy that speaks of the request, where one decides alone: denials where one denies.
    fn matched(&self, request: &Request, reason: &Reason) -> Vec<Value> {
        let denied = matches!(reason, Reason::Denied(_));
        let mut matched = Vec::new();
        for (source, policy) in self.sources.identity.iter().zip(&self.rights.identity) {
            let alone = Rights { identity: vec![policy.clone()], ..Rights::default() };
            let verdict = decide(&Question { request, rights: &alone, resource: None });
            match &verdict.reason {
                Reason::Denied(by) => matched.push(statement(source, by)),
                Reason::Allowed(by) if !denied => matched.push(statement(source, by)),
                _ => {}
            }
        }
        if let Reason::Denied(by) | Reason::Allowed(by) = reason
            && by.kind == PolicyKind::Resource
        {
            matched.push(json!({"SourcePolicyId": "ResourcePolicy", "SourcePolicyType": "Resource Policy"}));
        }
        matched
    }

    /// The condition keys that the policies ask for and the simulation does not give.
    fn missing(&self) -> Vec<String> {
        let texts = self.sources.identity.iter().chain(&self.sources.boundary).map(|source| &source.text);
        let mut missing: Vec<String> = texts
            .flat_map(|text| keys_in(text))
            .filter(|key| !self.context.iter().any(|(given, _)| given.eq_ignore_ascii_case(key)))
            .collect();
        missing.sort_by_key(|key| key.to_lowercase());
        missing.dedup_by_key(|key| key.to_lowercase());
        missing
    }
}

fn statement(source: &Source, by: &Witness) -> Value {
    let mut shown = json!({"SourcePolicyId": source.id, "SourcePolicyType": source.kind});
    if let Some((start, end)) = spans(&source.text).get(by.statement) {
        shown["StartPosition"] = json!({"Line": start.0, "Column": start.1});
        shown["EndPosition"] = json!({"Line": end.0, "Column": end.1});
    }
    shown
}
