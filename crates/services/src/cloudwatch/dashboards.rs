//! Dashboards: kept and given back; nothing here draws them.

use cairn_core::{AccountId, Timestamp};
use cairn_store::Table;
use cairn_store::catalog::{Key, prefix_end};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::CloudWatch;
use super::error::{Failure, fail, invalid_value};
use crate::Caller;

/// Dashboards by account and name: they are of no region.
const DASHBOARDS: Table<Dashboard> = Table::new("cloudwatch.dashboard", 1);
/// Characters of a name.
const NAME_CHARS_MAX: usize = 255;
/// Bytes of a body.
const BODY_SIZE_BYTES_MAX: usize = 1024 * 1024;
/// Dashboards of a page.
const DASHBOARDS_ON_PAGE: usize = 1000;
/// Dashboards of an account.
const DASHBOARDS_MAX: usize = 5000;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Dashboard {
    name: String,
    body: String,
    modified: Timestamp,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutDashboard {
    dashboard_name: String,
    dashboard_body: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetDashboard {
    dashboard_name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeleteDashboards {
    dashboard_names: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListDashboards {
    dashboard_name_prefix: Option<String>,
    next_token: Option<String>,
}

fn row(account: &AccountId, name: &str) -> Vec<u8> {
    Key::new().text(account.as_str()).text(name).bytes().to_vec()
}

fn arn(account: &AccountId, name: &str) -> String {
    format!("arn:aws:cloudwatch::{account}:dashboard/{name}")
}

fn not_found(name: &str) -> Failure {
    cairn_wire::AwsError::with_status(404, "ResourceNotFound", format!("Dashboard {name} does not exist"))
        .into()
}

impl CloudWatch {
    pub(super) async fn put_dashboard(&self, caller: &Caller, input: PutDashboard) -> Result<Value, Failure> {
        let PutDashboard { dashboard_name: name, dashboard_body: body } = input;
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.chars().all(is_name) {
            return Err(fail(
                "InvalidParameterInput",
                format!("The value {name} for field DashboardName is invalid."),
            ));
        }
        let is_object = serde_json::from_str::<Value>(&body).is_ok_and(|value| value.is_object());
        if !is_object || body.len() > BODY_SIZE_BYTES_MAX {
            return Err(fail("InvalidParameterInput", "The field DashboardBody must be a valid JSON object"));
        }
        let (account, modified) = (caller.account.clone(), caller.now);
        self.catalog
            .write(move |tx| {
                let row = row(&account, &name);
                let all = Key::new().text(account.as_str());
                if DASHBOARDS.get(tx, &row)?.is_none()
                    && DASHBOARDS.count_prefix(tx, all.bytes(), DASHBOARDS_MAX)? >= DASHBOARDS_MAX
                {
                    return Err(fail("LimitExceeded", "The maximum limit of dashboards is reached."));
                }
                let made = Dashboard { name: name.clone(), body: body.clone(), modified };
                Ok(DASHBOARDS.put(tx, &row, &made)?)
            })
            .await?;
        Ok(json!({ "DashboardValidationMessages": [] }))
    }

    pub(super) async fn get_dashboard(&self, caller: &Caller, input: GetDashboard) -> Result<Value, Failure> {
        let name = input.dashboard_name;
        let row = row(&caller.account, &name);
        let found =
            self.catalog.read(move |tx| DASHBOARDS.get(tx, &row)).await?.ok_or_else(|| not_found(&name))?;
        Ok(json!({
            "DashboardArn": arn(&caller.account, &name),
            "DashboardBody": found.body,
            "DashboardName": name,
        }))
    }

    /// All of them or none, as AWS does.
    pub(super) async fn delete_dashboards(
        &self,
        caller: &Caller,
        input: DeleteDashboards,
    ) -> Result<Value, Failure> {
        let account = caller.account.clone();
        self.catalog
            .write(move |tx| {
                for name in &input.dashboard_names {
                    if !DASHBOARDS.delete(tx, &row(&account, name))? {
                        return Err(not_found(name));
                    }
                }
                Ok(())
            })
            .await?;
        Ok(json!({}))
    }

    pub(super) async fn list_dashboards(
        &self,
        caller: &Caller,
        input: ListDashboards,
    ) -> Result<Value, Failure> {
        let account = &caller.account;
        let prefix = Key::new()
            .text(account.as_str())
            .text_prefix(input.dashboard_name_prefix.as_deref().unwrap_or_default());
        let start = match input.next_token.as_deref().filter(|token| !token.is_empty()) {
            Some(after) => [row(account, after), vec![0]].concat(),
            None => prefix.bytes().to_vec(),
        };
        if !start.starts_with(prefix.bytes()) {
            return Err(invalid_value("The parameter NextToken is invalid."));
        }
        let found = self
            .catalog
            .read(move |tx| {
                DASHBOARDS.scan(tx, &start, prefix_end(prefix.bytes()).as_deref(), DASHBOARDS_ON_PAGE + 1)
            })
            .await?;
        let entries: Vec<Value> = found
            .iter()
            .take(DASHBOARDS_ON_PAGE)
            .map(|(_, dashboard)| {
                json!({
                    "DashboardName": dashboard.name,
                    "DashboardArn": arn(account, &dashboard.name),
                    "LastModified": dashboard.modified.seconds(),
                    "Size": dashboard.body.len(),
                })
            })
            .collect();
        let mut reply = json!({ "DashboardEntries": entries });
        if found.len() > DASHBOARDS_ON_PAGE {
            reply["NextToken"] = found[DASHBOARDS_ON_PAGE - 1].1.name.as_str().into();
        }
        Ok(reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_as_it_was_once_written() {
        crate::golden::check::<Dashboard>(r#"{"name":"d","body":"{}","modified":1}"#);
    }
}
