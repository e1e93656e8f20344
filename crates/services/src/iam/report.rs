//! The credential report: a CSV file of all users and how each can sign in.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_core::{AccountId, Timestamp};
use cairn_store::{Table, Tx};
use cairn_wire::{AwsError, Call, Reply};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Iam;
use super::entity::{self, Kind};
use super::failure::{Failure, no_such, not_an_action};
use super::keys::ACCESS_KEYS_PER_USER_MAX;
use super::mfa::devices_of;
use super::password::{PASSWORD_POLICIES, login_of};
use super::state::{ACCOUNTS, AccessKey, Owner, account_key, keys_of};
use crate::Caller;

/// Reports by account.
const REPORTS: Table<Report> = Table::new("iam_credential_report", 1);

/// How long a report is good before another is made, in seconds.
const REPORT_AGE_MAX_S: i64 = 4 * 3600;
const DAY_S: i64 = 86_400;

const HEADER: &str = "user,arn,user_creation_time,password_enabled,password_last_used,password_last_changed,password_next_rotation,mfa_active,access_key_1_active,access_key_1_last_rotated,access_key_1_last_used_date,access_key_1_last_used_region,access_key_1_last_used_service,access_key_2_active,access_key_2_last_rotated,access_key_2_last_used_date,access_key_2_last_used_region,access_key_2_last_used_service,cert_1_active,cert_1_last_rotated,cert_2_active,cert_2_last_rotated";

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Report {
    generated: Timestamp,
    content: String,
}

impl Iam {
    pub(super) async fn report_operation(&self, caller: &Caller, call: &Call) -> Result<Reply, Failure> {
        match call.operation.as_str() {
            "GenerateCredentialReport" => self.generate_report(caller).await,
            "GetCredentialReport" => self.get_report(caller).await,
            other => Err(not_an_action(other)),
        }
    }

    async fn generate_report(&self, caller: &Caller) -> Result<Reply, Failure> {
        self.flush_last_used().await?;
        let (account, now) = (caller.account.clone(), caller.now);
        let is_new = self
            .catalog
            .write(move |tx| {
                let key = account_key(&account);
                if REPORTS.get(tx, key.bytes())?.is_some_and(|report| is_good(&report, now)) {
                    return Ok(false);
                }
                let report = Report { generated: now, content: content(tx, &account)? };
                REPORTS.put(tx, key.bytes(), &report)?;
                Ok::<_, Failure>(true)
            })
            .await?;
        Ok(Reply::of(&if is_new {
            json!({"State": "STARTED", "Description": "No report exists. Starting a new report generation task"})
        } else {
            json!({"State": "COMPLETE"})
        }))
    }

    async fn get_report(&self, caller: &Caller) -> Result<Reply, Failure> {
        let key = account_key(&caller.account);
        let found = self.catalog.read(move |tx| REPORTS.get(tx, key.bytes())).await?;
        let gone = |code: &'static str, message: &str| AwsError::with_status(410, code, message);
        let report =
            found.ok_or_else(|| gone("ReportNotPresent", "No report exists. Generate one first."))?;
        if !is_good(&report, caller.now) {
            return Err(gone("ReportExpired", "The report has expired. Generate another.").into());
        }
        Ok(Reply::of(&json!({
            "Content": STANDARD.encode(report.content),
            "ReportFormat": "text/csv",
            "GeneratedTime": report.generated.seconds(),
        })))
    }
}

fn is_good(report: &Report, now: Timestamp) -> bool {
    now.seconds() - report.generated.seconds() < REPORT_AGE_MAX_S
}

fn content(tx: &mut dyn Tx, account: &AccountId) -> Result<String, Failure> {
    let mut lines = vec![HEADER.to_owned(), root_line(tx, account)?];
    let policy = PASSWORD_POLICIES.get(tx, account_key(account).bytes())?;
    let max_age = policy.and_then(|policy| policy.max_password_age).filter(|days| *days > 0);
    for user in entity::all(tx, Kind::User, account)? {
        let mut cells = vec![user.name.clone(), user.arn(Kind::User, account), time(user.created)];
        match login_of(tx, account, &user)? {
            None => cells.extend(["false", "N/A", "N/A", "N/A"].map(str::to_owned)),
            Some(login) => {
                let next = max_age.map(|days| login.changed.seconds() + i64::from(days) * DAY_S);
                cells.push("true".to_owned());
                cells.push(user.password_last_used.map_or_else(|| "no_information".to_owned(), time));
                cells.push(time(login.changed));
                cells.push(next.map_or_else(|| "N/A".to_owned(), |at| time(Timestamp::from_seconds(at))));
            }
        }
        cells.push((!devices_of(tx, account, &user)?.is_empty()).to_string());
        let keys = keys_of(tx, account, &Owner::User(user.name))?;
        push_keys(&mut cells, &keys);
        lines.push(cells.join(","));
    }
    Ok(lines.join("\n"))
}

fn root_line(tx: &mut dyn Tx, account: &AccountId) -> Result<String, Failure> {
    let found = ACCOUNTS.get(tx, account_key(account).bytes())?;
    let found = found.ok_or_else(|| no_such(format!("The account {account} cannot be found.")))?;
    let arn = format!("arn:aws:iam::{account}:root");
    let mut cells = vec!["<root_account>".to_owned(), arn, time(found.created)];
    cells.extend(
        ["not_supported", "no_information", "not_supported", "not_supported", "false"].map(str::to_owned),
    );
    push_keys(&mut cells, &keys_of(tx, account, &Owner::Root)?);
    Ok(cells.join(","))
}

/// The columns of both access keys, and of the certificates that Cairn does not have.
fn push_keys(cells: &mut Vec<String>, keys: &[AccessKey]) {
    for at in 0..ACCESS_KEYS_PER_USER_MAX {
        let Some(key) = keys.get(at) else {
            cells.extend(["false", "N/A", "N/A", "N/A", "N/A"].map(str::to_owned));
            continue;
        };
        cells.push(key.active.to_string());
        cells.push(time(key.created));
        match &key.last_use {
            None => cells.extend(["N/A", "N/A", "N/A"].map(str::to_owned)),
            Some(last) => cells.extend([time(last.at), last.region.clone(), last.service.clone()]),
        }
    }
    cells.extend(["false", "N/A", "false", "N/A"].map(str::to_owned));
}

/// AWS's reports write the offset out: `2026-11-21T17:24:26+00:00`.
fn time(at: Timestamp) -> String {
    at.iso().replace('Z', "+00:00")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_reports_are_read_as_version_1_wrote_them() {
        let golden = r#"{"generated":1795281866042,"content":"user,arn"}"#;
        let report: Report = serde_json::from_str(golden).unwrap();
        assert_eq!(serde_json::to_string(&report).unwrap(), golden);
    }
}
