//! Resource policies: of a function, of a version, of an alias.

use cairn_core::policy::Document;
use cairn_store::Tx;
use cairn_wire::AwsError;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Lambda;
use super::error::{Failure, conflict, invalid, no_function, not_found};
use super::functions::{check_revision, find, function};
use super::name::{LATEST, Named};
use super::state::{POLICIES, Policy};
use crate::Caller;

/// The longest policy, in bytes.
const POLICY_SIZE_BYTES_MAX: usize = 20_480;
/// The domain of services' principals.
const SERVICES: &str = ".amazonaws.com";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AddPermission {
    function_name: String,
    qualifier: Option<String>,
    statement_id: String,
    action: String,
    principal: String,
    source_arn: Option<String>,
    source_account: Option<String>,
    event_source_token: Option<String>,
    #[serde(rename = "PrincipalOrgID")]
    principal_org_id: Option<String>,
    function_url_auth_type: Option<String>,
    revision_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct OnPermission {
    function_name: String,
    qualifier: Option<String>,
    statement_id: Option<String>,
    revision_id: Option<String>,
}

/// The policy of what is named: its own, not the function's where it is a version or an alias.
pub(super) fn policy(tx: &mut dyn Tx, named: &Named) -> Result<Option<Policy>, Failure> {
    Ok(POLICIES.get(tx, row(named).bytes())?)
}

fn row(named: &Named) -> cairn_store::catalog::Key {
    let qualifier = named.qualifier.as_deref().filter(|qualifier| *qualifier != LATEST);
    named.function.row().text(qualifier.unwrap_or_default())
}

impl AddPermission {
    fn statement(&self, arn: &str) -> Result<Value, Failure> {
        let mut equal = Map::new();
        let mut conditions = Map::new();
        if let Some(account) = &self.source_account {
            equal.insert("AWS:SourceAccount".to_owned(), account.as_str().into());
        }
        if let Some(token) = &self.event_source_token {
            equal.insert("lambda:EventSourceToken".to_owned(), token.as_str().into());
        }
        if let Some(organization) = &self.principal_org_id {
            equal.insert("aws:PrincipalOrgID".to_owned(), organization.as_str().into());
        }
        if let Some(kind) = &self.function_url_auth_type {
            equal.insert("lambda:FunctionUrlAuthType".to_owned(), kind.as_str().into());
        }
        if !equal.is_empty() {
            conditions.insert("StringEquals".to_owned(), Value::Object(equal));
        }
        if let Some(arn) = &self.source_arn {
            conditions.insert("ArnLike".to_owned(), json!({"AWS:SourceArn": arn}));
        }
        let mut statement = json!({
            "Sid": self.statement_id,
            "Effect": "Allow",
            "Principal": principal(&self.principal)?,
            "Action": self.action,
            "Resource": arn,
        });
        if !conditions.is_empty() {
            statement["Condition"] = Value::Object(conditions);
        }
        let document = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
        Document::parse(&document).map_err(|error| invalid(error.to_string()))?;
        Ok(statement)
    }
}

fn principal(given: &str) -> Result<Value, Failure> {
    if given == "*" {
        return Ok("*".into());
    }
    if given.ends_with(SERVICES) {
        return Ok(json!({ "Service": given }));
    }
    if given.len() == 12 && given.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(json!({"AWS": format!("arn:aws:iam::{given}:root")}));
    }
    if given.starts_with("arn:aws:") {
        return Ok(json!({ "AWS": given }));
    }
    Err(invalid("The provided principal was invalid. Please check the principal and try again."))
}

impl Lambda {
    pub(super) async fn add_permission(
        &self,
        caller: &Caller,
        input: AddPermission,
    ) -> Result<Value, Failure> {
        let named = Named::parse(&input.function_name, input.qualifier.as_deref(), caller)?;
        if named.qualifier.as_deref() == Some(LATEST) {
            return Err(invalid("We currently do not support adding policies for $LATEST."));
        }
        if !input.action.starts_with("lambda:") {
            return Err(invalid(format!("Action {} is not one of Lambda's", input.action)));
        }
        let statement = input.statement(&named.arn())?;
        let shown = statement.to_string();
        let revision = self.entropy.event_id().to_string();
        self.catalog
            .write(move |tx| {
                find(tx, &named)?;
                let before = policy(tx, &named)?;
                let current = before.as_ref().map_or("", |policy| policy.revision.as_str());
                check_revision(input.revision_id.as_deref(), current)?;
                let mut statements = before.map(|policy| policy.statements).unwrap_or_default();
                if statements.iter().any(|known| known["Sid"] == input.statement_id.as_str()) {
                    return Err(conflict(format!(
                        "The statement id ({}) provided already exists. Please provide a new statement id, or remove the \
                         existing statement.",
                        input.statement_id
                    )));
                }
                statements.push(statement.clone());
                let policy = Policy { statements, revision: revision.clone() };
                if policy.text().len() > POLICY_SIZE_BYTES_MAX {
                    let message = format!("The final policy size is bigger than the limit ({POLICY_SIZE_BYTES_MAX}).");
                    return Err(AwsError::invalid("PolicyLengthExceededException", message).into());
                }
                Ok::<_, Failure>(POLICIES.put(tx, row(&named).bytes(), &policy)?)
            })
            .await?;
        Ok(json!({ "Statement": shown }))
    }

    pub(super) async fn remove_permission(
        &self,
        caller: &Caller,
        input: OnPermission,
    ) -> Result<Value, Failure> {
        let named = Named::parse(&input.function_name, input.qualifier.as_deref(), caller)?;
        let revision = self.entropy.event_id().to_string();
        self.catalog
            .write(move |tx| {
                function(tx, &named)?;
                let mut policy = policy(tx, &named)?.ok_or_else(|| no_policy(&named))?;
                check_revision(input.revision_id.as_deref(), &policy.revision)?;
                let wanted = input.statement_id.as_deref().unwrap_or_default();
                let before = policy.statements.len();
                policy.statements.retain(|statement| statement["Sid"] != wanted);
                if policy.statements.len() == before {
                    return Err(not_found(format!("Statement {wanted} is not found in resource policy.")));
                }
                policy.revision.clone_from(&revision);
                if policy.statements.is_empty() {
                    POLICIES.delete(tx, row(&named).bytes())?;
                } else {
                    POLICIES.put(tx, row(&named).bytes(), &policy)?;
                }
                Ok::<_, Failure>(())
            })
            .await?;
        Ok(json!({}))
    }

    pub(super) async fn get_policy(&self, caller: &Caller, input: OnPermission) -> Result<Value, Failure> {
        let named = Named::parse(&input.function_name, input.qualifier.as_deref(), caller)?;
        let policy = self
            .catalog
            .read(move |tx| {
                find(tx, &named).map_err(|_| no_function(&named))?;
                policy(tx, &named)?.ok_or_else(|| no_policy(&named))
            })
            .await?;
        Ok(json!({"Policy": policy.text(), "RevisionId": policy.revision}))
    }
}

fn no_policy(_named: &Named) -> Failure {
    not_found("The resource you requested does not exist.")
}
