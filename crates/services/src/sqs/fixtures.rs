//! What the unit tests of this service share.

use std::net::IpAddr;
use std::sync::Arc;

use cairn_core::policy::Rights;
use cairn_core::{EventId, Principal, Timestamp};

use crate::Caller;

pub(super) fn caller() -> Caller {
    let account: cairn_core::AccountId = "111122223333".parse().expect("an account");
    Caller {
        account: account.clone(),
        principal: Principal::Root { account, alias: None },
        access_key_id: None,
        session: None,
        mfa_verified: false,
        region: "eu-west-1".parse().expect("a region"),
        now: Timestamp::from_seconds(1_795_281_866),
        request_id: EventId::from_random([7; 16]),
        source_ip: IpAddr::from([127, 0, 0, 1]),
        secure_transport: false,
        user_agent: None,
        rights: Arc::new(Rights::unrestricted()),
    }
}
