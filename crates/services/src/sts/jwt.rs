//! JSON web tokens of identity providers: reading them, and their signatures.
//!
//! Invariants: only RS256 and ES256 under a key of the provider's own set; a token that says otherwise (`none`, HMAC) is
//! refused before any key is looked at.
//! Source: RFC 7515 (JWS), RFC 7517 (JWK), RFC 7518 (algorithms), OpenID Connect Core 1.0.

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Where a token's coordinates of a P-256 point must have this many bytes.
const P256_COORDINATE_BYTES: usize = 32;
/// The most keys of a set that are kept.
const KEYS_MAX: usize = 100;

/// A token as it came, nothing of it verified.
pub(super) struct Token<'a> {
    signed: &'a str,
    signature: Vec<u8>,
    algorithm: Algorithm,
    pub(super) key_id: Option<String>,
    pub(super) claims: Claims,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Rs256,
    Es256,
}

/// What a token says.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    pub(super) sub: String,
    #[serde(deserialize_with = "one_or_many")]
    pub(super) aud: Vec<String>,
    #[serde(default)]
    pub(super) azp: Option<String>,
    #[serde(default, deserialize_with = "one_or_many")]
    pub(super) amr: Vec<String>,
    #[serde(default)]
    pub(super) exp: Option<f64>,
    #[serde(default)]
    pub(super) nbf: Option<f64>,
    #[serde(default)]
    pub(super) iat: Option<f64>,
    #[serde(default, rename = "https://aws.amazon.com/source_identity")]
    pub(super) source_identity: Option<String>,
    #[serde(default, rename = "https://aws.amazon.com/tags")]
    pub(super) tags: Option<TagClaims>,
}

/// The tags that a provider vouches for.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct TagClaims {
    #[serde(default)]
    pub(super) principal_tags: std::collections::BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub(super) transitive_tag_keys: Vec<String>,
}

impl Claims {
    /// Whom the token is for, as AWS's condition keys and records have it: the authorised party, where there is one.
    pub(super) fn audience(&self) -> &str {
        self.azp.as_deref().or(self.aud.first().map(String::as_str)).unwrap_or_default()
    }
}

impl<'a> Token<'a> {
    /// The parts of a token; none where it is none, or signed in a way that is not accepted.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Header {
            alg: String,
            #[serde(default)]
            kid: Option<String>,
        }
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
        let algorithm = match header.alg.as_str() {
            "RS256" => Algorithm::Rs256,
            "ES256" => Algorithm::Es256,
            _ => return None,
        };
        let claims = serde_json::from_slice(&decode(claims)?).ok()?;
        Some(Self { signed, signature: decode(signature)?, algorithm, key_id: header.kid, claims })
    }

    /// Whether one of `keys` signed it: the one that it names, or any where it names none.
    pub(super) fn is_signed_by(&self, keys: &[Key]) -> bool {
        let named = |key: &&Key| self.key_id.is_none() || key.id == self.key_id;
        keys.iter().filter(named).any(|key| key.verifies(self))
    }
}

/// A provider's key.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) id: Option<String>,
    material: Material,
}

#[derive(Clone, Debug)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256 { point: Vec<u8> },
}

impl Key {
    fn verifies(&self, token: &Token<'_>) -> bool {
        let signed = token.signed.as_bytes();
        let checked = match (&self.material, token.algorithm) {
            (Material::Rsa { n, e }, Algorithm::Rs256) => {
                PublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, signed, &token.signature)
            }
            (Material::P256 { point }, Algorithm::Es256) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed, &token.signature)
            }
            _ => return false,
        };
        checked.is_ok()
    }
}

/// The keys of a JSON web key set, without those that no accepted signature is made with.
pub(super) fn key_set(json: &[u8]) -> Option<Vec<Key>> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Jwk>,
    }
    #[derive(Deserialize)]
    struct Jwk {
        kty: String,
        #[serde(default)]
        kid: Option<String>,
        #[serde(default, rename = "use")]
        usage: Option<String>,
        #[serde(default)]
        crv: Option<String>,
        #[serde(default)]
        n: Option<String>,
        #[serde(default)]
        e: Option<String>,
        #[serde(default)]
        x: Option<String>,
        #[serde(default)]
        y: Option<String>,
    }
    let decode = |text: Option<String>| URL_SAFE_NO_PAD.decode(text?.trim_end_matches('=')).ok();
    let material = |key: Jwk| match (key.kty.as_str(), key.crv.as_deref()) {
        ("RSA", _) => Some(Material::Rsa { n: decode(key.n)?, e: decode(key.e)? }),
        ("EC", Some("P-256")) => {
            let (x, y) = (decode(key.x)?, decode(key.y)?);
            (x.len() == P256_COORDINATE_BYTES && y.len() == P256_COORDINATE_BYTES)
                .then(|| Material::P256 { point: [&[4][..], &x, &y].concat() })
        }
        _ => None,
    };
    let set: Set = serde_json::from_slice(json).ok()?;
    let signing = set.keys.into_iter().filter(|key| key.usage.as_deref().is_none_or(|usage| usage == "sig"));
    let keys = signing.filter_map(|key| Some(Key { id: key.kid.clone(), material: material(key)? }));
    Some(keys.take(KEYS_MAX).collect())
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(one) => Ok(vec![one]),
        Value::Array(many) => many
            .into_iter()
            .map(|one| one.as_str().map(str::to_owned).ok_or_else(|| serde::de::Error::custom("not a text")))
            .collect(),
        _ => Err(serde::de::Error::custom("neither a text nor a list of texts")),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
    use serde_json::json;

    use super::*;

    /// A provider's key pair, made anew.
    pub(in crate::sts) struct Signer(EcdsaKeyPair);

    impl Signer {
        pub(in crate::sts) fn new() -> Self {
            Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
        }

        pub(in crate::sts) fn key_set(&self, id: &str) -> Value {
            let point = self.0.public_key().as_ref();
            let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
            json!({"keys": [
                {"kty": "EC", "crv": "P-256", "kid": id, "use": "sig", "x": part(&point[1..33]), "y": part(&point[33..])},
                {"kty": "oct", "kid": "odd"},
            ]})
        }

        pub(in crate::sts) fn token(&self, id: &str, claims: &Value) -> String {
            let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
            let signed = format!("{}.{}", part(&json!({"alg": "ES256", "kid": id})), part(claims));
            let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
        }
    }

    #[test]
    fn a_token_is_its_providers_or_nobodys() {
        let (signer, other) = (Signer::new(), Signer::new());
        let keys = key_set(signer.key_set("k1").to_string().as_bytes()).unwrap();
        let claims = json!({"iss": "https://idp", "sub": "bob", "aud": "app", "exp": 10});
        let text = signer.token("k1", &claims);
        let token = Token::parse(&text).unwrap();
        assert!(token.is_signed_by(&keys));
        assert_eq!((token.claims.sub.as_str(), token.claims.audience()), ("bob", "app"));
        assert!(!Token::parse(&other.token("k1", &claims)).unwrap().is_signed_by(&keys), "another key");
        assert!(
            !Token::parse(&signer.token("k2", &claims)).unwrap().is_signed_by(&keys),
            "another key's name"
        );
        let claims = URL_SAFE_NO_PAD.encode(r#"{"iss":"https://idp","sub":"root","aud":"app"}"#);
        let mut parts: Vec<&str> = text.split('.').collect();
        parts[1] = &claims;
        assert!(!Token::parse(&parts.join(".")).unwrap().is_signed_by(&keys), "other claims");
    }

    /// The example of RFC 7515, appendix A.2.
    #[test]
    fn the_standards_rs256_example_verifies() {
        let set = r#"{"keys":[{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}]}"#;
        let keys = key_set(set.as_bytes()).unwrap();
        let signed = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let signature = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
        let token = Token {
            signed,
            signature: URL_SAFE_NO_PAD.decode(signature).unwrap(),
            algorithm: Algorithm::Rs256,
            key_id: None,
            claims: Claims::default(),
        };
        assert!(token.is_signed_by(&keys));
        assert!(!Token { signed: "eyJhbGciOiJSUzI1NiJ9.e30", ..token }.is_signed_by(&keys));
    }

    #[test]
    fn what_is_no_signed_token_is_refused() {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let claims = part(r#"{"iss":"https://idp","sub":"bob","aud":"app"}"#);
        for alg in ["none", "HS256", "RS512"] {
            let token = format!("{}.{claims}.c2ln", part(&format!(r#"{{"alg":"{alg}"}}"#)));
            assert!(Token::parse(&token).is_none(), "{alg}");
        }
        for text in ["", "a", "a.b.c", "..", &format!("{}.{}.", part(r#"{"alg":"ES256"}"#), part("{}"))] {
            assert!(Token::parse(text).is_none(), "{text}");
        }
    }
}
