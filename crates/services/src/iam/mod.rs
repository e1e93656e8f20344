//! IAM: accounts, users, groups, roles, access keys, policies.
//!
//! On the road: the front door asks [`Iam::find_access_key`] for the secret and the principal behind every signed
//! call, and [`Iam::rights_of`] for what its policies allow; the operations are a service like any other.
//!
//! Invariants: a secret leaves only in the reply that makes its key and in a [`Credential`]; it is in no record, no
//! log and no Debug text, and at rest it is sealed. A key that is deleted or deactivated, and a policy that is changed
//! or detached, stops working with the reply that says so.

mod accounts;
mod aliases;
mod attached;
mod context_keys;
mod credentials;
mod details;
mod dispatch;
mod document;
mod entity;
mod failure;
mod groups;
mod inline;
mod keys;
mod logins;
mod mfa;
mod names;
mod oidc;
mod operations;
mod page;
mod password;
mod policies;
mod policy_state;
mod qr_png;
mod report;
mod rights;
mod role;
mod role_use;
mod secrets;
mod service_linked;
mod show;
mod simulate;
mod state;
mod summary;
mod tags;
mod target;
mod totp;
mod trust;
mod users;

use std::sync::{Arc, OnceLock};

use cairn_core::{Clock, Entropy};
use cairn_store::{Catalog, Sealer};

pub use accounts::{AccessKeyPair, RootCredentials};
pub use credentials::{Credential, LAST_USED_FLUSH_INTERVAL};
pub use oidc::OidcProvider;
pub use rights::{Binding, ControlPolicies};
pub use role::Role;

use credentials::Credentials;
use role_use::RoleUses;

/// The IAM service.
pub struct Iam {
    catalog: Catalog,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    sealer: Sealer,
    credentials: Credentials,
    role_uses: RoleUses,
    control: OnceLock<Arc<dyn ControlPolicies>>,
}

impl Iam {
    /// IAM on the tables of `catalog`, in which `sealer` seals secrets.
    #[must_use]
    pub fn new(catalog: Catalog, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>, sealer: Sealer) -> Self {
        let credentials = Credentials::default();
        let role_uses = RoleUses::default();
        Self { catalog, clock, entropy, sealer, credentials, role_uses, control: OnceLock::new() }
    }
}
