//! OpenID Connect providers, whose users STS gives roles.

use cairn_core::{AccountId, Timestamp};
use cairn_store::catalog::Key;
use cairn_store::{CatalogError, Table, Tx};
use cairn_wire::{Call, Reply};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Iam;
use super::failure::{Failure, invalid, no_such, not_an_action, over_quota, taken};
use super::state::{Tag, account_key};
use super::tags::check_tags;
use crate::Caller;

/// Providers by account and URL without its scheme.
const PROVIDERS: Table<Provider> = Table::new("iam_oidc_provider", 1);

const CLIENT_IDS_MAX: usize = 100;
const THUMBPRINTS_MAX: usize = 5;
const PROVIDERS_PER_ACCOUNT_MAX: usize = 100;
const THUMBPRINT_CHARS: usize = 40;

/// A provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Provider {
    /// Without `https://`.
    url: String,
    client_ids: Vec<String>,
    thumbprints: Vec<String>,
    created: Timestamp,
    pub(super) tags: Vec<Tag>,
}

/// A provider, for STS.
#[derive(Clone, Debug)]
pub struct OidcProvider {
    /// `arn:aws:iam::111122223333:oidc-provider/idp.example.com`.
    pub arn: String,
    /// The audiences that its tokens may be for.
    pub client_ids: Vec<String>,
    /// SHA-1 fingerprints of certificates that vouch for the provider's server, in hex.
    pub thumbprints: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateProvider {
    url: String,
    #[serde(default, rename = "ClientIDList")]
    client_ids: Vec<String>,
    #[serde(default, rename = "ThumbprintList")]
    thumbprints: Vec<String>,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
struct OneProvider {
    #[serde(rename = "OpenIDConnectProviderArn")]
    arn: String,
    #[serde(rename = "ClientID")]
    client_id: Option<String>,
    #[serde(default, rename = "ThumbprintList")]
    thumbprints: Vec<String>,
}

fn provider_key(account: &AccountId, url: &str) -> Key {
    account_key(account).text(url)
}

/// The ARN of the provider of an issuer, with or without its scheme.
pub(super) fn provider_arn(account: &AccountId, url: &str) -> String {
    let url = url.strip_prefix("https://").unwrap_or(url).trim_end_matches('/');
    format!("arn:aws:iam::{account}:oidc-provider/{url}")
}

pub(super) fn existing(tx: &mut dyn Tx, account: &AccountId, arn: &str) -> Result<Provider, Failure> {
    find(tx, account, arn)?.ok_or_else(|| not_found(arn))
}

pub(super) fn find(
    tx: &mut dyn Tx,
    account: &AccountId,
    arn: &str,
) -> Result<Option<Provider>, CatalogError> {
    let Some(url) = arn.strip_prefix(provider_arn(account, "").as_str()) else { return Ok(None) };
    PROVIDERS.get(tx, provider_key(account, url).bytes())
}

fn not_found(arn: &str) -> Failure {
    no_such(format!("OpenIDConnect Provider not found for arn {arn}"))
}

/// How many providers the account has.
pub(super) fn count(tx: &mut dyn Tx, account: &AccountId) -> Result<usize, CatalogError> {
    PROVIDERS.count_prefix(tx, account_key(account).bytes(), PROVIDERS_PER_ACCOUNT_MAX)
}

impl Iam {
    pub(super) async fn oidc_operation(&self, caller: &Caller, call: &Call) -> Result<Reply, Failure> {
        let operation = call.operation.as_str();
        match operation {
            "CreateOpenIDConnectProvider" => return self.create_provider(caller, call.input()?).await,
            "ListOpenIDConnectProviders" => return self.list_providers(caller).await,
            _ => {}
        }
        let input: OneProvider = call.input()?;
        let id = input.client_id.unwrap_or_default();
        match operation {
            "AddClientIDToOpenIDConnectProvider" => {
                self.change_provider(caller, input.arn, move |provider| {
                    if !provider.client_ids.contains(&id) {
                        provider.client_ids.push(id.clone());
                    }
                    check_lists(&provider.client_ids, &provider.thumbprints)
                })
                .await
            }
            "RemoveClientIDFromOpenIDConnectProvider" => {
                self.change_provider(caller, input.arn, move |provider| {
                    provider.client_ids.retain(|known| *known != id);
                    Ok(())
                })
                .await
            }
            "UpdateOpenIDConnectProviderThumbprint" => {
                self.change_provider(caller, input.arn, move |provider| {
                    provider.thumbprints.clone_from(&input.thumbprints);
                    check_lists(&provider.client_ids, &provider.thumbprints)
                })
                .await
            }
            "GetOpenIDConnectProvider" => {
                let provider = self.oidc(caller, input.arn).await?;
                Ok(Reply::of(&json!({
                    "Url": provider.url,
                    "ClientIDList": provider.client_ids,
                    "ThumbprintList": provider.thumbprints,
                    "CreateDate": provider.created.seconds(),
                    "Tags": provider.tags,
                })))
            }
            "DeleteOpenIDConnectProvider" => self.delete_provider(caller, input.arn).await,
            other => Err(not_an_action(other)),
        }
    }

    pub(super) async fn oidc(&self, caller: &Caller, arn: String) -> Result<Provider, Failure> {
        let account = caller.account.clone();
        self.catalog.read(move |tx| existing(tx, &account, &arn)).await
    }

    async fn create_provider(&self, caller: &Caller, input: CreateProvider) -> Result<Reply, Failure> {
        let url = input.url.strip_prefix("https://").map(|url| url.trim_end_matches('/').to_owned());
        let Some(url) = url.filter(|url| !url.is_empty() && !url.contains(['?', '#', ' '])) else {
            return Err(invalid("Invalid Open ID Connect Provider URL"));
        };
        check_tags(&input.tags, "OpenIdConnectProvider")?;
        check_lists(&input.client_ids, &input.thumbprints)?;
        let arn = provider_arn(&caller.account, &url);
        let account = caller.account.clone();
        let provider = Provider {
            url,
            client_ids: input.client_ids,
            thumbprints: input.thumbprints,
            created: caller.now,
            tags: input.tags.clone(),
        };
        self.catalog
            .write(move |tx| {
                let key = provider_key(&account, &provider.url);
                if PROVIDERS.get(tx, key.bytes())?.is_some() {
                    return Err(taken(format!("Provider with url {} already exists.", provider.url)));
                }
                if count(tx, &account)? >= PROVIDERS_PER_ACCOUNT_MAX {
                    return Err(over_quota("OpenIdConnectProvidersPerAccount", PROVIDERS_PER_ACCOUNT_MAX));
                }
                Ok::<_, Failure>(PROVIDERS.put(tx, key.bytes(), &provider)?)
            })
            .await?;
        let mut reply = json!({ "OpenIDConnectProviderArn": arn });
        if !input.tags.is_empty() {
            reply["Tags"] = json!(input.tags);
        }
        Ok(Reply::of(&reply))
    }

    async fn list_providers(&self, caller: &Caller) -> Result<Reply, Failure> {
        let account = caller.account.clone();
        let found =
            self.catalog.read(move |tx| PROVIDERS.scan_prefix(tx, account_key(&account).bytes())).await?;
        let arns: Vec<_> = found
            .into_iter()
            .map(|(_, provider)| json!({"Arn": provider_arn(&caller.account, &provider.url)}))
            .collect();
        Ok(Reply::of(&json!({ "OpenIDConnectProviderList": arns })))
    }

    /// Deleting one that is not there is no error.
    async fn delete_provider(&self, caller: &Caller, arn: String) -> Result<Reply, Failure> {
        let account = caller.account.clone();
        self.catalog
            .write(move |tx| {
                if let Some(provider) = find(tx, &account, &arn)? {
                    PROVIDERS.delete(tx, provider_key(&account, &provider.url).bytes())?;
                }
                Ok::<_, Failure>(())
            })
            .await?;
        Ok(Reply::empty())
    }

    pub(super) async fn change_provider(
        &self,
        caller: &Caller,
        arn: String,
        mut work: impl FnMut(&mut Provider) -> Result<(), Failure> + Send + 'static,
    ) -> Result<Reply, Failure> {
        let account = caller.account.clone();
        self.catalog
            .write(move |tx| {
                let mut provider = existing(tx, &account, &arn)?;
                work(&mut provider)?;
                Ok::<_, Failure>(PROVIDERS.put(
                    tx,
                    provider_key(&account, &provider.url).bytes(),
                    &provider,
                )?)
            })
            .await?;
        Ok(Reply::empty())
    }

    /// The provider of an account for an issuer's URL without its scheme.
    ///
    /// # Errors
    /// The catalog's failure.
    pub async fn provider(
        &self,
        account: &AccountId,
        issuer: &str,
    ) -> Result<Option<OidcProvider>, CatalogError> {
        let key = provider_key(account, issuer.trim_end_matches('/'));
        let found = self.catalog.read(move |tx| PROVIDERS.get(tx, key.bytes())).await?;
        Ok(found.map(|provider| OidcProvider {
            arn: provider_arn(account, &provider.url),
            client_ids: provider.client_ids,
            thumbprints: provider.thumbprints,
        }))
    }
}

fn check_lists(client_ids: &[String], thumbprints: &[String]) -> Result<(), Failure> {
    if client_ids.len() > CLIENT_IDS_MAX {
        return Err(over_quota("ClientIdsPerOpenIdConnectProvider", CLIENT_IDS_MAX));
    }
    if thumbprints.len() > THUMBPRINTS_MAX {
        return Err(invalid("Thumbprint list must contain fewer than 5 entries."));
    }
    let is_hex =
        |text: &String| text.len() == THUMBPRINT_CHARS && text.bytes().all(|b| b.is_ascii_hexdigit());
    if thumbprints.iter().all(is_hex) {
        return Ok(());
    }
    Err(invalid("A thumbprint is 40 hexadecimal characters."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_providers_are_read_as_version_1_wrote_them() {
        let golden = r#"{"url":"idp.example.com","client_ids":["a"],"thumbprints":["t"],"created":1795281866042,"tags":[]}"#;
        let provider: Provider = serde_json::from_str(golden).unwrap();
        assert_eq!(serde_json::to_string(&provider).unwrap(), golden);
    }
}
