//! The secrets behind access keys, for the front door; and when keys were last used.
//!
//! Every signed call asks here, so what was read stays in memory until anything in IAM changes. Uses are noted in
//! memory and written in batches: a write per call would cost more than the call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use cairn_core::{AccountId, Principal, Session, Timestamp};
use cairn_store::{CatalogError, Sealer, Tx};
use cairn_wire::sigv4::Secret;

use super::Iam;
use super::entity::{self, Kind};
use super::rights::{CachedRights, RightsKey};
use super::state::{ACCOUNTS, AccessKey, KEYS, KeyUse, Owner, access_key_key, account_key};

/// How often the wiring should call [`Iam::flush_last_used`].
pub const LAST_USED_FLUSH_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// How many keys are held in memory; with more, all are forgotten and read anew.
const CACHED_KEYS_MAX: usize = 10_000;
/// How many principals' rights are held in memory; with more, all are forgotten and read anew.
const CACHED_RIGHTS_MAX: usize = 10_000;
/// How many keys' uses wait to be written. More are not noted: the last use is advice, not evidence.
const NOTED_USES_MAX: usize = 10_000;
/// The longest access key id, as in IAM's model.
const ACCESS_KEY_ID_CHARS_MAX: usize = 128;

/// What is behind an access key.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Who signs with it.
    pub principal: Principal,
    /// The principal's account.
    pub account: AccountId,
    /// What it is signed with.
    pub secret: Secret,
    /// The session, where the key is a temporary one.
    pub session: Option<Arc<Session>>,
    /// Whether it may be used; an inactive one is refused like an unknown one.
    pub active: bool,
}

/// What is held in memory of keys.
#[derive(Default)]
pub(super) struct Credentials {
    cached: RwLock<Cached>,
    uses: Mutex<HashMap<String, KeyUse>>,
}

#[derive(Default)]
struct Cached {
    /// Counts the changes, so that what was read before one is not kept after it.
    generation: u64,
    credentials: HashMap<String, Credential>,
    rights: HashMap<RightsKey, CachedRights>,
    /// Whether there is a user, role or account of a unique id.
    there: HashMap<String, bool>,
}

impl Credentials {
    /// Forgets all that was read; called after every change and before its reply.
    pub(super) fn forget(&self) {
        let mut cached = self.cached.write().expect("no panic while the cache is held");
        cached.generation += 1;
        cached.credentials.clear();
        cached.rights.clear();
        cached.there.clear();
    }

    /// The use of a key that is noted and not yet written.
    pub(super) fn noted_use(&self, access_key_id: &str) -> Option<KeyUse> {
        self.uses.lock().expect("no panic while the uses are held").get(access_key_id).cloned()
    }

    fn find(&self, id: &str) -> Result<Credential, u64> {
        let cached = self.cached.read().expect("no panic while the cache is held");
        cached.credentials.get(id).cloned().ok_or(cached.generation)
    }

    fn keep(&self, id: &str, credential: &Credential, generation: u64) {
        let mut cached = self.cached.write().expect("no panic while the cache is held");
        if cached.generation != generation {
            return;
        }
        if cached.credentials.len() >= CACHED_KEYS_MAX {
            cached.credentials.clear();
        }
        cached.credentials.insert(id.to_owned(), credential.clone());
    }

    fn is_there(&self, id: &str) -> Result<bool, u64> {
        let cached = self.cached.read().expect("no panic while the cache is held");
        cached.there.get(id).copied().ok_or(cached.generation)
    }

    fn keep_there(&self, id: &str, there: bool, generation: u64) {
        let mut cached = self.cached.write().expect("no panic while the cache is held");
        if cached.generation != generation {
            return;
        }
        if cached.there.len() >= CACHED_RIGHTS_MAX {
            cached.there.clear();
        }
        cached.there.insert(id.to_owned(), there);
    }

    /// How many changes there were.
    pub(super) fn generation(&self) -> u64 {
        self.cached.read().expect("no panic while the cache is held").generation
    }

    /// The rights that were read before, or how many changes there were.
    pub(super) fn rights(&self, key: &RightsKey) -> Result<CachedRights, u64> {
        let cached = self.cached.read().expect("no panic while the cache is held");
        cached.rights.get(key).cloned().ok_or(cached.generation)
    }

    /// Keeps rights, unless anything changed since `generation`.
    pub(super) fn keep_rights(&self, key: RightsKey, rights: CachedRights, generation: u64) {
        let mut cached = self.cached.write().expect("no panic while the cache is held");
        if cached.generation != generation {
            return;
        }
        if cached.rights.len() >= CACHED_RIGHTS_MAX {
            cached.rights.clear();
        }
        cached.rights.insert(key, rights);
    }
}

impl Iam {
    /// What is behind the access key `id`; none where there is no such key.
    ///
    /// # Errors
    /// The catalog's failure.
    pub async fn find_access_key(&self, id: &str) -> Result<Option<Credential>, CatalogError> {
        if id.len() > ACCESS_KEY_ID_CHARS_MAX {
            return Ok(None);
        }
        let generation = match self.credentials.find(id) {
            Ok(credential) => return Ok(Some(credential)),
            Err(generation) => generation,
        };
        let (wanted, sealer) = (id.to_owned(), self.sealer.clone());
        let found = self.catalog.read(move |tx| credential(tx, &wanted, &sealer)).await?;
        if let Some(credential) = &found {
            self.credentials.keep(id, credential, generation);
        }
        Ok(found)
    }

    /// Whether whom a session is of is still there: the same user or role, by its unique id.
    ///
    /// # Errors
    /// The catalog's failure.
    pub async fn is_there(&self, principal: &Principal) -> Result<bool, CatalogError> {
        let (kind, account, name, id) = match principal {
            Principal::FederatedUser { issuer, .. } => return Box::pin(self.is_there(issuer)).await,
            Principal::Root { account, .. } => (None, account, "", account.as_str()),
            Principal::IamUser { account, user_id, user_name, .. } => {
                (Some(Kind::User), account, user_name.as_str(), user_id.as_str())
            }
            Principal::AssumedRole { account, role_id, role_name, .. } => {
                (Some(Kind::Role), account, role_name.as_str(), role_id.as_str())
            }
            _ => return Ok(false),
        };
        let generation = match self.credentials.is_there(id) {
            Ok(there) => return Ok(there),
            Err(generation) => generation,
        };
        let (account, name, wanted) = (account.clone(), name.to_owned(), id.to_owned());
        let there = self
            .catalog
            .read(move |tx| match kind {
                None => Ok(ACCOUNTS.get(tx, account_key(&account).bytes())?.is_some()),
                Some(kind) => {
                    Ok(entity::find(tx, kind, &account, &name)?.is_some_and(|found| found.id == wanted))
                }
            })
            .await?;
        self.credentials.keep_there(id, there, generation);
        Ok(there)
    }

    /// Notes that the access key was used for a call to `service`, by its signing name, in `region`.
    pub fn note_use(&self, access_key_id: &str, service: &str, region: &str, at: Timestamp) {
        let mut uses = self.credentials.uses.lock().expect("no panic while the uses are held");
        if let Some(last) = uses.get_mut(access_key_id) {
            if last.service != service || last.region != region {
                *last = KeyUse { at, service: service.to_owned(), region: region.to_owned() };
            }
            last.at = at;
        } else if uses.len() < NOTED_USES_MAX {
            let last = KeyUse { at, service: service.to_owned(), region: region.to_owned() };
            uses.insert(access_key_id.to_owned(), last);
        }
    }

    /// Writes the noted uses. For a timer, and for the end.
    ///
    /// # Errors
    /// The catalog's failure; the uses stay noted.
    pub async fn flush_last_used(&self) -> Result<(), CatalogError> {
        self.flush_role_uses().await?;
        let noted = self.credentials.uses.lock().expect("no panic while the uses are held").clone();
        if noted.is_empty() {
            return Ok(());
        }
        let written = noted.clone();
        self.catalog.write(move |tx| write_uses(tx, &written)).await?;
        let mut uses = self.credentials.uses.lock().expect("no panic while the uses are held");
        uses.retain(|id, last| noted.get(id) != Some(last));
        Ok(())
    }
}

fn write_uses(tx: &mut dyn Tx, uses: &HashMap<String, KeyUse>) -> Result<(), CatalogError> {
    for (id, last) in uses {
        let key = access_key_key(id);
        if let Some(mut access_key) = KEYS.get(tx, key.bytes())? {
            access_key.last_use = Some(last.clone());
            KEYS.put(tx, key.bytes(), &access_key)?;
        }
    }
    Ok(())
}

fn credential(tx: &mut dyn Tx, id: &str, sealer: &Sealer) -> Result<Option<Credential>, CatalogError> {
    let Some(key) = KEYS.get(tx, access_key_key(id).bytes())? else { return Ok(None) };
    let Some(principal) = principal(tx, &key)? else { return Ok(None) };
    let secret = key.open_secret(sealer)?;
    Ok(Some(Credential { principal, account: key.account, secret, session: None, active: key.active }))
}

fn principal(tx: &mut dyn Tx, key: &AccessKey) -> Result<Option<Principal>, CatalogError> {
    let account = key.account.clone();
    Ok(match &key.owner {
        Owner::Root => ACCOUNTS
            .get(tx, account_key(&account).bytes())?
            .map(|found| Principal::Root { account, alias: found.alias }),
        Owner::User(name) => entity::find(tx, Kind::User, &account, name)?.map(|user| Principal::IamUser {
            account,
            user_id: user.id,
            user_name: user.name,
            path: user.path,
        }),
    })
}
