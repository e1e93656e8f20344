//! The operations on login profiles and on the account's password policy.

use std::sync::Arc;

use cairn_core::{AccountId, Principal};
use cairn_wire::{AwsError, Call, Reply};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Iam;
use super::entity::{self, Kind};
use super::failure::{Failure, already_exists, invalid, no_such, not_an_action};
use super::keys::named_or_caller;
use super::password::{
    Login, PASSWORD_POLICIES, PasswordHash, PasswordPolicy, check_password, delete_login, login_of,
    put_login, violation,
};
use super::state::{Owner, account_key};
use crate::Caller;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SetLogin {
    user_name: Option<String>,
    password: Option<String>,
    password_reset_required: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ChangePassword {
    old_password: String,
    new_password: String,
}

impl Iam {
    pub(super) async fn password_operation(&self, caller: &Caller, call: &Call) -> Result<Reply, Failure> {
        match call.operation.as_str() {
            "ChangePassword" => self.change_password(caller, call.input()?).await,
            "CreateLoginProfile" => self.create_login(caller, call.input()?).await,
            "DeleteAccountPasswordPolicy" => self.delete_password_policy(caller).await,
            "DeleteLoginProfile" => self.delete_login(caller, call.input()?).await,
            "GetAccountPasswordPolicy" => self.get_password_policy(caller).await,
            "GetLoginProfile" => self.get_login(caller, call.input()?).await,
            "UpdateAccountPasswordPolicy" => self.update_password_policy(caller, call.input()?).await,
            "UpdateLoginProfile" => self.update_login(caller, call.input()?).await,
            other => Err(not_an_action(other)),
        }
    }

    async fn create_login(&self, caller: &Caller, input: SetLogin) -> Result<Reply, Failure> {
        let name = user_of(caller, input.user_name)?;
        let password = input.password.ok_or_else(|| invalid("A login profile needs a password."))?;
        let policy = self.password_policy(&caller.account).await?;
        check_password(policy.as_ref(), &caller.account, &password)?;
        let hash = self.hash(password).await?;
        let login = Login::new(hash, caller.now, input.password_reset_required.unwrap_or_default());
        let shown = show(&name, &login);
        let account = caller.account.clone();
        self.catalog
            .write(move |tx| {
                let user = entity::existing(tx, Kind::User, &account, &name)?;
                if login_of(tx, &account, &user)?.is_some() {
                    return Err(already_exists(&format!("Login Profile for user {name}")));
                }
                Ok::<_, Failure>(put_login(tx, &account, &user, &login)?)
            })
            .await?;
        Ok(Reply::of(&shown))
    }

    async fn get_login(&self, caller: &Caller, input: SetLogin) -> Result<Reply, Failure> {
        let name = user_of(caller, input.user_name)?;
        let login = self.login(&caller.account, &name).await?;
        Ok(Reply::of(&show(&name, &login)))
    }

    async fn update_login(&self, caller: &Caller, input: SetLogin) -> Result<Reply, Failure> {
        let name = user_of(caller, input.user_name)?;
        let login = self.login(&caller.account, &name).await?;
        let hash = match input.password {
            None => None,
            Some(password) => Some(self.accept_password(&caller.account, login, password).await?),
        };
        let (account, now, reset) = (caller.account.clone(), caller.now, input.password_reset_required);
        self.catalog
            .write(move |tx| {
                let user = entity::existing(tx, Kind::User, &account, &name)?;
                let mut login = login_of(tx, &account, &user)?.ok_or_else(|| no_login(&name))?;
                if let Some(hash) = &hash {
                    login.replace(hash.clone(), now);
                }
                if let Some(reset) = reset {
                    login.reset_required = reset;
                }
                Ok::<_, Failure>(put_login(tx, &account, &user, &login)?)
            })
            .await?;
        Ok(Reply::empty())
    }

    async fn delete_login(&self, caller: &Caller, input: SetLogin) -> Result<Reply, Failure> {
        let (account, name) = (caller.account.clone(), user_of(caller, input.user_name)?);
        self.catalog
            .write(move |tx| {
                let user = entity::existing(tx, Kind::User, &account, &name)?;
                if delete_login(tx, &account, &user)? { Ok(()) } else { Err(no_login(&name)) }
            })
            .await?;
        Ok(Reply::empty())
    }

    async fn change_password(&self, caller: &Caller, input: ChangePassword) -> Result<Reply, Failure> {
        let Principal::IamUser { user_name, .. } = &caller.principal else {
            let message = "Only IAM Users can change their own password";
            return Err(AwsError::with_status(403, "InvalidUserType", message).into());
        };
        let name = user_name.clone();
        let login = self.login(&caller.account, &name).await?;
        let (known, old) = (login.clone(), input.old_password);
        if !on_a_thread(move || known.is_of(&old)).await? {
            return Err(AwsError::with_status(403, "AccessDenied", "The old password was incorrect.").into());
        }
        let hash = self.accept_password(&caller.account, login, input.new_password).await?;
        let (account, now) = (caller.account.clone(), caller.now);
        self.catalog
            .write(move |tx| {
                let user = entity::existing(tx, Kind::User, &account, &name)?;
                let mut login = login_of(tx, &account, &user)?.ok_or_else(|| no_login(&name))?;
                login.replace(hash.clone(), now);
                login.reset_required = false;
                Ok::<_, Failure>(put_login(tx, &account, &user, &login)?)
            })
            .await?;
        Ok(Reply::empty())
    }

    /// The hash of a password that the account's policy takes in place of `login`'s.
    async fn accept_password(
        &self,
        account: &AccountId,
        login: Login,
        password: String,
    ) -> Result<PasswordHash, Failure> {
        let policy = self.password_policy(account).await?;
        check_password(policy.as_ref(), account, &password)?;
        let reuse = policy.map_or(0, |policy| policy.reuse_prevention());
        let candidate = password.clone();
        if reuse > 0 && on_a_thread(move || login.was(&candidate, reuse)).await? {
            return Err(violation("Password does not conform to the account password policy."));
        }
        self.hash(password).await
    }

    async fn hash(&self, password: String) -> Result<PasswordHash, Failure> {
        let entropy = Arc::clone(&self.entropy);
        on_a_thread(move || PasswordHash::new(entropy.as_ref(), &password)).await
    }

    async fn login(&self, account: &AccountId, name: &str) -> Result<Login, Failure> {
        let (account, name) = (account.clone(), name.to_owned());
        self.catalog
            .read(move |tx| {
                let user = entity::existing(tx, Kind::User, &account, &name)?;
                login_of(tx, &account, &user)?.ok_or_else(|| no_login(&name))
            })
            .await
    }

    async fn password_policy(&self, account: &AccountId) -> Result<Option<PasswordPolicy>, Failure> {
        let key = account_key(account);
        Ok(self.catalog.read(move |tx| PASSWORD_POLICIES.get(tx, key.bytes())).await?)
    }

    async fn get_password_policy(&self, caller: &Caller) -> Result<Reply, Failure> {
        let policy = self.password_policy(&caller.account).await?;
        let policy = policy.ok_or_else(|| no_policy(&caller.account))?;
        let mut shown = json!(policy);
        shown["ExpirePasswords"] = policy.max_password_age.is_some_and(|days| days > 0).into();
        Ok(Reply::of(&json!({ "PasswordPolicy": shown })))
    }

    /// What the call does not name is set back: that is how AWS's operation works.
    async fn update_password_policy(&self, caller: &Caller, input: PasswordPolicy) -> Result<Reply, Failure> {
        let key = account_key(&caller.account);
        self.catalog.write(move |tx| PASSWORD_POLICIES.put(tx, key.bytes(), &input)).await?;
        Ok(Reply::empty())
    }

    async fn delete_password_policy(&self, caller: &Caller) -> Result<Reply, Failure> {
        let key = account_key(&caller.account);
        let was_there = self.catalog.write(move |tx| PASSWORD_POLICIES.delete(tx, key.bytes())).await?;
        if was_there { Ok(Reply::empty()) } else { Err(no_policy(&caller.account)) }
    }
}

/// Hashing takes long on purpose; it must not hold up other calls.
async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|error| AwsError::internal(error).into())
}

fn user_of(caller: &Caller, named: Option<String>) -> Result<String, Failure> {
    match named_or_caller(caller, named)? {
        Owner::User(name) => Ok(name),
        Owner::Root => Err(invalid("Must specify userName when calling with non-User credentials")),
    }
}

fn show(name: &str, login: &Login) -> Value {
    json!({"LoginProfile": {
        "UserName": name,
        "CreateDate": login.created.seconds(),
        "PasswordResetRequired": login.reset_required,
    }})
}

fn no_login(name: &str) -> Failure {
    no_such(format!("Login Profile for User {name} cannot be found."))
}

fn no_policy(account: &AccountId) -> Failure {
    no_such(format!("The Password Policy with domain name {account} cannot be found."))
}
