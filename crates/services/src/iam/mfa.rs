//! Virtual MFA devices: made, enabled with two codes in a row, and asked by STS.
//!
//! Invariants: a seed leaves only in the reply that makes its device, and at rest it is sealed; a code counts once,
//! and none before one that counted; who guesses codes has few tries.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_core::{AccountId, Principal, Timestamp};
use cairn_store::catalog::Key;
use cairn_store::{CatalogError, Sealer, Table, Tx};
use cairn_wire::{AwsError, Call, Reply};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Iam;
use super::entity::{self, Entity, Kind};
use super::failure::{Failure, conflict, must_first, no_such, not_an_action, over_quota, taken};
use super::keys::named_or_caller;
use super::names::{check_name, check_path, root_path};
use super::page::{PageInput, page};
use super::qr_png::qr_png;
use super::show::{Detail, show};
use super::state::{Owner, Tag, account_key};
use super::tags::check_tags;
use super::totp::{base32, find_step, step_of};
use crate::Caller;

/// Devices by account and lower-case serial number.
const DEVICES: Table<MfaDevice> = Table::new("iam_mfa_device", 1);

/// Bytes of a seed: 64 characters of base 32, as AWS's are.
const SEED_BYTES: usize = 40;
/// How many devices a user has at most.
const DEVICES_PER_USER_MAX: usize = 8;
/// The longest name of a device.
const NAME_CHARS_MAX: usize = 226;
/// How many steps a code may be off when a device is used.
const USE_STEPS_MAX: i64 = 1;
/// How many steps codes may be off when a device's clock is learnt: five minutes.
const SYNC_STEPS_MAX: i64 = 10;
/// How many wrong codes in a row lock a device.
const WRONG_CODES_MAX: u32 = 5;
/// How long a locked device's codes are refused, right ones too: some 480 guesses a day, each right three times in a
/// million. Two codes in a row (ResyncMFADevice) unlock it.
const LOCK_S: i64 = 15 * 60;

/// A virtual device.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct MfaDevice {
    pub(super) serial: String,
    /// Sealed for the serial number.
    seed: String,
    created: Timestamp,
    pub(super) tags: Vec<Tag>,
    /// Whose it is: the unique id of its user.
    pub(super) user: Option<String>,
    pub(super) enabled: Option<Timestamp>,
    /// How many steps its clock is ahead.
    drift_steps: i64,
    /// The step of the last code that counted.
    last_step: i64,
    /// How many wrong codes were given in a row.
    #[serde(default)]
    wrong_codes: u32,
    /// When codes count again, after too many wrong ones.
    #[serde(default)]
    locked_until: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateDevice {
    path: Option<String>,
    #[serde(rename = "VirtualMFADeviceName")]
    name: String,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TwoCodes {
    user_name: String,
    serial_number: String,
    authentication_code1: String,
    authentication_code2: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OneDevice {
    user_name: Option<String>,
    serial_number: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListDevices {
    user_name: Option<String>,
    assignment_status: Option<String>,
    #[serde(flatten)]
    page: PageInput,
}

fn device_key(account: &AccountId, serial: &str) -> Key {
    account_key(account).text(&serial.to_lowercase())
}

fn find(tx: &mut dyn Tx, account: &AccountId, serial: &str) -> Result<Option<MfaDevice>, CatalogError> {
    DEVICES.get(tx, device_key(account, serial).bytes())
}

/// All devices of an account, by serial number.
pub(super) fn all(tx: &mut dyn Tx, account: &AccountId) -> Result<Vec<MfaDevice>, CatalogError> {
    let found = DEVICES.scan_prefix(tx, account_key(account).bytes())?;
    Ok(found.into_iter().map(|(_, device)| device).collect())
}

/// The enabled devices of a user.
pub(super) fn devices_of(
    tx: &mut dyn Tx,
    account: &AccountId,
    user: &Entity,
) -> Result<Vec<MfaDevice>, CatalogError> {
    Ok(all(tx, account)?.into_iter().filter(|device| device.user.as_ref() == Some(&user.id)).collect())
}

/// Refuses to delete a user who has a device.
pub(super) fn require_none(tx: &mut dyn Tx, account: &AccountId, user: &Entity) -> Result<(), Failure> {
    if devices_of(tx, account, user)?.is_empty() { Ok(()) } else { Err(must_first("delete MFA device")) }
}

/// The device, or AWS's error that there is none.
pub(super) fn existing(tx: &mut dyn Tx, account: &AccountId, serial: &str) -> Result<MfaDevice, Failure> {
    find(tx, account, serial)?
        .ok_or_else(|| no_such(format!("VirtualMFADevice with serial number {serial} doesn't exist.")))
}

pub(super) fn put(tx: &mut dyn Tx, account: &AccountId, device: &MfaDevice) -> Result<(), CatalogError> {
    DEVICES.put(tx, device_key(account, &device.serial).bytes(), device)
}

/// The ARN, which is the serial number, of a device to be made.
pub(super) fn serial_of(account: &AccountId, path: &str, name: &str) -> String {
    format!("arn:aws:iam::{account}:mfa{path}{name}")
}

impl MfaDevice {
    fn open_seed(&self, sealer: &Sealer) -> Result<Vec<u8>, CatalogError> {
        sealer
            .open_text(&seal_context(&self.serial), &self.seed)
            .map_err(|error| CatalogError::Decode { table: "iam_mfa_device", source: error.into() })
    }

    /// Learns the device's clock from two codes in a row; says whether they are.
    fn learn(&mut self, seed: &[u8], codes: [&str; 2], now: Timestamp) -> bool {
        let now = step_of(now);
        let Some(first) = find_step(seed, codes[0], now, SYNC_STEPS_MAX) else { return false };
        if find_step(seed, codes[1], first + 1, 0).is_none() || first < self.last_step {
            return false;
        }
        self.drift_steps = (first + 1 - now).clamp(-SYNC_STEPS_MAX, SYNC_STEPS_MAX);
        self.last_step = first + 1;
        self.unlock();
        true
    }

    fn unlock(&mut self) {
        self.wrong_codes = 0;
        self.locked_until = None;
    }

    /// Whether the code is the one that the device shows about now, and was not used before; counts the guesses.
    fn accept(&mut self, seed: &[u8], code: &str, now: Timestamp) -> bool {
        if self.locked_until.is_some_and(|until| now < until) {
            return false;
        }
        self.locked_until = None;
        let around = step_of(now) + self.drift_steps;
        match find_step(seed, code, around, USE_STEPS_MAX) {
            Some(step) if step > self.last_step => {
                self.last_step = step;
                self.unlock();
                true
            }
            // Whoever repeats a code has seen one: no guess.
            Some(_) => false,
            None => {
                self.wrong_codes += 1;
                if self.wrong_codes >= WRONG_CODES_MAX {
                    self.wrong_codes = 0;
                    self.locked_until = Some(Timestamp::from_seconds(now.seconds() + LOCK_S));
                }
                false
            }
        }
    }
}

fn seal_context(serial: &str) -> String {
    format!("iam.mfa_device {serial}")
}

impl Iam {
    pub(super) async fn mfa_operation(&self, caller: &Caller, call: &Call) -> Result<Reply, Failure> {
        match call.operation.as_str() {
            "CreateVirtualMFADevice" => self.create_device(caller, call.input()?).await,
            "DeactivateMFADevice" => self.deactivate_device(caller, call.input()?).await,
            "DeleteVirtualMFADevice" => self.delete_device(caller, call.input()?).await,
            "EnableMFADevice" => self.enable_device(caller, call.input()?).await,
            "GetMFADevice" => self.get_device(caller, call.input()?).await,
            "ListMFADevices" => self.list_devices(caller, call.input()?).await,
            "ListVirtualMFADevices" => self.list_virtual_devices(caller, call.input()?).await,
            "ResyncMFADevice" => self.resync_device(caller, call.input()?).await,
            other => Err(not_an_action(other)),
        }
    }

    async fn create_device(&self, caller: &Caller, input: CreateDevice) -> Result<Reply, Failure> {
        check_name("virtualMFADeviceName", &input.name, NAME_CHARS_MAX)?;
        let path = input.path.unwrap_or_else(root_path);
        check_path("path", &path)?;
        check_tags(&input.tags, "MFADevice")?;
        let serial = serial_of(&caller.account, &path, &input.name);
        let mut seed = [0; SEED_BYTES];
        self.entropy.fill(&mut seed);
        let device = MfaDevice {
            seed: self.sealer.seal_text(&seal_context(&serial), &seed),
            serial: serial.clone(),
            created: caller.now,
            tags: input.tags.clone(),
            user: None,
            enabled: None,
            drift_steps: 0,
            last_step: 0,
            wrong_codes: 0,
            locked_until: None,
        };
        let account = caller.account.clone();
        self.catalog
            .write(move |tx| {
                if find(tx, &account, &device.serial)?.is_some() {
                    return Err(taken(
                        "MFADevice entity at the same path and name already exists.".to_owned(),
                    ));
                }
                Ok::<_, Failure>(put(tx, &account, &device)?)
            })
            .await?;
        let secret = base32(&seed);
        let (name, account) = (&input.name, &caller.account);
        let uri = format!("otpauth://totp/Cairn:{name}@{account}?secret={secret}&issuer=Cairn");
        let mut shown = Map::new();
        shown.insert("SerialNumber".to_owned(), serial.into());
        shown.insert("Base32StringSeed".to_owned(), STANDARD.encode(&secret).into());
        if let Some(png) = qr_png(&uri) {
            shown.insert("QRCodePNG".to_owned(), STANDARD.encode(png).into());
        }
        if !input.tags.is_empty() {
            shown.insert("Tags".to_owned(), json!(input.tags));
        }
        Ok(Reply::of(&json!({ "VirtualMFADevice": shown })))
    }

    async fn enable_device(&self, caller: &Caller, input: TwoCodes) -> Result<Reply, Failure> {
        let (account, sealer, now) = (caller.account.clone(), self.sealer.clone(), caller.now);
        self.catalog
            .write(move |tx| {
                let user = entity::existing(tx, Kind::User, &account, &input.user_name)?;
                let mut device = existing(tx, &account, &input.serial_number)?;
                if device.user.is_some() {
                    return Err(taken(format!("MFA Device {} is already in use.", device.serial)));
                }
                if devices_of(tx, &account, &user)?.len() >= DEVICES_PER_USER_MAX {
                    return Err(over_quota("MFADevicesPerUser", DEVICES_PER_USER_MAX));
                }
                require_codes(&mut device, &sealer, &input, now)?;
                device.user = Some(user.id);
                device.enabled = Some(now);
                Ok::<_, Failure>(put(tx, &account, &device)?)
            })
            .await?;
        Ok(Reply::empty())
    }

    async fn resync_device(&self, caller: &Caller, input: TwoCodes) -> Result<Reply, Failure> {
        let (account, sealer, now) = (caller.account.clone(), self.sealer.clone(), caller.now);
        self.catalog
            .write(move |tx| {
                let mut device = assigned(tx, &account, &input.user_name, &input.serial_number)?;
                require_codes(&mut device, &sealer, &input, now)?;
                Ok::<_, Failure>(put(tx, &account, &device)?)
            })
            .await?;
        Ok(Reply::empty())
    }

    async fn deactivate_device(&self, caller: &Caller, input: OneDevice) -> Result<Reply, Failure> {
        let account = caller.account.clone();
        let owner = named_or_caller(caller, input.user_name)?;
        self.catalog
            .write(move |tx| {
                let name = owner.user_name().unwrap_or_default();
                let mut device = assigned(tx, &account, name, &input.serial_number)?;
                device.user = None;
                device.enabled = None;
                Ok::<_, Failure>(put(tx, &account, &device)?)
            })
            .await?;
        Ok(Reply::empty())
    }

    async fn delete_device(&self, caller: &Caller, input: OneDevice) -> Result<Reply, Failure> {
        let account = caller.account.clone();
        self.catalog
            .write(move |tx| {
                let device = existing(tx, &account, &input.serial_number)?;
                if device.user.is_some() {
                    return Err(conflict("MFA VirtualDevice in use. Must deactivate first."));
                }
                DEVICES.delete(tx, device_key(&account, &device.serial).bytes())?;
                Ok::<_, Failure>(())
            })
            .await?;
        Ok(Reply::empty())
    }

    async fn get_device(&self, caller: &Caller, input: OneDevice) -> Result<Reply, Failure> {
        let account = caller.account.clone();
        let (device, users) = self
            .catalog
            .read(move |tx| {
                let device = existing(tx, &account, &input.serial_number)?;
                Ok::<_, Failure>((device, entity::all(tx, Kind::User, &account)?))
            })
            .await?;
        let mut shown = Map::new();
        if let Some(user) = users.iter().find(|user| device.user.as_ref() == Some(&user.id)) {
            shown.insert("UserName".to_owned(), user.name.clone().into());
        }
        if let Some(enabled) = device.enabled {
            shown.insert("EnableDate".to_owned(), enabled.seconds().into());
        }
        shown.insert("SerialNumber".to_owned(), device.serial.into());
        Ok(Reply::of(&shown))
    }

    async fn list_devices(&self, caller: &Caller, input: ListDevices) -> Result<Reply, Failure> {
        let account = caller.account.clone();
        let owner = named_or_caller(caller, input.user_name)?;
        let Owner::User(name) = owner else {
            return Ok(Reply::of(&page("MFADevices", Vec::new(), &input.page)?));
        };
        let items = self
            .catalog
            .read(move |tx| {
                let user = entity::existing(tx, Kind::User, &account, &name)?;
                let shown = |device: MfaDevice| {
                    let enabled = device.enabled.map(Timestamp::seconds);
                    let shown =
                        json!({"UserName": user.name, "SerialNumber": device.serial, "EnableDate": enabled});
                    (device.serial.to_lowercase(), shown)
                };
                Ok::<_, Failure>(devices_of(tx, &account, &user)?.into_iter().map(shown).collect::<Vec<_>>())
            })
            .await?;
        Ok(Reply::of(&page("MFADevices", items, &input.page)?))
    }

    async fn list_virtual_devices(&self, caller: &Caller, input: ListDevices) -> Result<Reply, Failure> {
        let account = caller.account.clone();
        let wanted = input.assignment_status.unwrap_or_else(|| "Any".to_owned());
        let items = self
            .catalog
            .read(move |tx| {
                let users = entity::all(tx, Kind::User, &account)?;
                let mut items: Vec<(String, Value)> = Vec::new();
                for device in all(tx, &account)? {
                    let status = if device.user.is_some() { "Assigned" } else { "Unassigned" };
                    if wanted != "Any" && wanted != status {
                        continue;
                    }
                    let mut shown = json!({"SerialNumber": device.serial});
                    if let Some(enabled) = device.enabled {
                        shown["EnableDate"] = enabled.seconds().into();
                    }
                    if let Some(user) = users.iter().find(|user| device.user.as_ref() == Some(&user.id)) {
                        shown["User"] = show(tx, Kind::User, &account, user, Detail::Listed)?;
                    }
                    items.push((device.serial.to_lowercase(), shown));
                }
                Ok::<_, Failure>(items)
            })
            .await?;
        Ok(Reply::of(&page("VirtualMFADevices", items, &input.page)?))
    }

    /// Whether `code` is what the device `serial`, one of the user's own, shows now. A code counts once, and none of a
    /// device that wrong codes locked.
    ///
    /// # Errors
    /// The catalog's failure.
    pub async fn verify_mfa(
        &self,
        principal: &Principal,
        serial: &str,
        code: &str,
        now: Timestamp,
    ) -> Result<bool, CatalogError> {
        let Principal::IamUser { account, user_id, .. } = principal else { return Ok(false) };
        let (account, user_id, sealer) = (account.clone(), user_id.clone(), self.sealer.clone());
        let (serial, code) = (serial.to_owned(), code.to_owned());
        self.catalog
            .write(move |tx| {
                let Some(mut device) = find(tx, &account, &serial)? else { return Ok(false) };
                if device.user.as_ref() != Some(&user_id) {
                    return Ok(false);
                }
                let seed = device.open_seed(&sealer)?;
                let is_right = device.accept(&seed, &code, now);
                put(tx, &account, &device)?;
                Ok::<_, CatalogError>(is_right)
            })
            .await
    }
}

/// The device of the user of this name.
fn assigned(tx: &mut dyn Tx, account: &AccountId, user: &str, serial: &str) -> Result<MfaDevice, Failure> {
    let user = entity::existing(tx, Kind::User, account, user)?;
    find(tx, account, serial)?
        .filter(|device| device.user.as_ref() == Some(&user.id))
        .ok_or_else(|| no_such(format!("The MFA Device {serial} is not valid for user {}.", user.name)))
}

fn require_codes(
    device: &mut MfaDevice,
    sealer: &Sealer,
    input: &TwoCodes,
    now: Timestamp,
) -> Result<(), Failure> {
    let seed = device.open_seed(sealer)?;
    if device.learn(&seed, [&input.authentication_code1, &input.authentication_code2], now) {
        return Ok(());
    }
    let message = "Authentication code for device is not valid.";
    Err(AwsError::with_status(403, "InvalidAuthenticationCode", message).into())
}

#[cfg(test)]
mod tests {
    use super::super::totp::code;
    use super::*;

    fn device() -> MfaDevice {
        serde_json::from_str(
            r#"{"serial":"arn:aws:iam::111122223333:mfa/d","seed":"sealed","created":1795281866042,"tags":[],"user":null,"enabled":null,"drift_steps":0,"last_step":0}"#,
        )
        .unwrap()
    }

    #[test]
    fn stored_devices_are_read_as_version_1_wrote_them() {
        let first = r#"{"serial":"arn:aws:iam::111122223333:mfa/d","seed":"sealed","created":1795281866042,"tags":[{"Key":"a","Value":"b"}],"user":"AIDAEXAMPLE","enabled":1795281866042,"drift_steps":-1,"last_step":59842728}"#;
        let device: MfaDevice = serde_json::from_str(first).unwrap();
        assert_eq!((device.wrong_codes, device.locked_until), (0, None));
        let members = r#","wrong_codes":2,"locked_until":1795281866042}"#;
        let golden = format!("{}{members}", first.strip_suffix('}').unwrap());
        let device: MfaDevice = serde_json::from_str(&golden).unwrap();
        assert_eq!(serde_json::to_string(&device).unwrap(), golden);
    }

    #[test]
    fn a_code_counts_once_and_none_before_it_counts_after() {
        let (seed, mut device) = (b"seed", device());
        let now = Timestamp::from_seconds(1_795_281_866);
        let step = step_of(now);
        assert!(!device.learn(seed, [&code(seed, step), &code(seed, step + 2)], now));
        assert!(device.learn(seed, [&code(seed, step - 1), &code(seed, step)], now));
        assert!(!device.learn(seed, [&code(seed, step - 1), &code(seed, step)], now));
        assert!(!device.accept(seed, &code(seed, step), now));
        assert!(device.accept(seed, &code(seed, step + 1), now));
        assert!(!device.accept(seed, &code(seed, step + 1), now));
        assert!(!device.accept(seed, &code(seed, step + 2), now));
    }

    #[test]
    fn five_wrong_codes_lock_a_device_for_a_while_or_until_two_right_ones_in_a_row() {
        let (seed, mut device) = (b"seed", device());
        let now = Timestamp::from_seconds(1_795_281_866);
        let step = step_of(now);
        assert!(device.accept(seed, &code(seed, step - 1), now));
        for _ in 0..10 {
            assert!(!device.accept(seed, &code(seed, step - 1), now), "a repeated code");
        }
        let wrong = code(seed, step + 100);
        for _ in 1..WRONG_CODES_MAX {
            assert!(!device.accept(seed, &wrong, now));
        }
        assert!(device.accept(seed, &code(seed, step), now), "a right code forgives");
        let lock = |device: &mut MfaDevice| {
            for _ in 0..WRONG_CODES_MAX {
                assert!(!device.accept(seed, &wrong, now));
            }
            assert!(!device.accept(seed, &code(seed, step + 1), now), "locked");
        };
        lock(&mut device);
        let later = Timestamp::from_seconds(now.seconds() + LOCK_S);
        let mut waited = device.clone();
        assert!(waited.accept(seed, &code(seed, step_of(later)), later));
        assert!(device.learn(seed, [&code(seed, step), &code(seed, step + 1)], now));
        lock(&mut device);
        assert!(device.learn(seed, [&code(seed, step + 2), &code(seed, step + 3)], now));
    }

    #[test]
    fn a_device_whose_clock_is_off_is_understood_once_it_was_learnt() {
        let (seed, mut device) = (b"seed", device());
        let now = Timestamp::from_seconds(1_795_281_866);
        let shown = step_of(now) + 6;
        assert!(!device.accept(seed, &code(seed, shown), now));
        assert!(device.learn(seed, [&code(seed, shown), &code(seed, shown + 1)], now));
        assert!(device.accept(seed, &code(seed, shown + 2), now));
    }
}
