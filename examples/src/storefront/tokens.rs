//! Bearer tokens: JSON Web Tokens (RFC 7519), signed with Ed25519 keys that rotate by their `kid`.
//!
//! A real shop would only have the public keys, from its identity provider. This one mints tokens for whoever asks, so that it can be seen what
//! becomes of them.

use std::sync::{PoisonError, RwLock};

use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode,
    get_current_timestamp,
};
use serde::{Deserialize, Serialize};

use crate::storefront::signing;

pub(crate) const ISSUER: &str = "urn:storefront:issuer";
pub(crate) const AUDIENCE: &str = "storefront";

/// What a token says of who sends it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Claims {
    iss: String,
    aud: String,
    exp: u64,
    /// The principal.
    pub(crate) sub: String,
    pub(crate) tenant: String,
    /// Names, with spaces between them (RFC 8693, 4.2).
    #[serde(default)]
    pub(crate) scope: String,
}

/// What a token is asked for with.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Wanted {
    tenant: String,
    sub: String,
    scope: String,
    aud: String,
    /// In seconds; one that is over can be had with less than zero.
    expires_in: i64,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            tenant: "main".to_owned(),
            sub: "demo".to_owned(),
            scope: String::new(),
            aud: AUDIENCE.to_owned(),
            expires_in: 3600,
        }
    }
}

/// The key that signs, and the one before it, whose tokens are still good.
pub(crate) struct Keys(RwLock<Vec<Key>>);

struct Key {
    id: String,
    signs: EncodingKey,
    verifies: DecodingKey,
    public: Jwk,
}

/// How many keys verify.
const GENERATIONS: usize = 2;

impl Keys {
    pub(crate) fn new() -> Self {
        signing::install();
        Self(RwLock::new(vec![Key::random()]))
    }

    /// From now on another key signs. Tokens of the last one are good until the next rotation.
    pub(crate) fn rotate(&self) {
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        keys.insert(0, Key::random());
        keys.truncate(GENERATIONS);
    }

    pub(crate) fn mint(&self, wanted: Wanted) -> jsonwebtoken::errors::Result<String> {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(keys[0].id.clone());
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: wanted.aud,
            exp: get_current_timestamp().saturating_add_signed(wanted.expires_in),
            sub: wanted.sub,
            tenant: wanted.tenant,
            scope: wanted.scope,
        };
        encode(&header, &claims, &keys[0].signs)
    }

    /// What a token says, if one of our keys has signed it, for us, and it is not over.
    ///
    /// The algorithm is ours and not the token's (RFC 8725, 3.1); a token names its key, and nothing else about it is believed before it is verified.
    pub(crate) fn verify(&self, token: &str) -> jsonwebtoken::errors::Result<Claims> {
        use jsonwebtoken::errors::ErrorKind::InvalidSignature;
        let named = decode_header(token)?.kid;
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let key = keys.iter().find(|key| named.as_ref() == Some(&key.id));
        let key = key.ok_or(InvalidSignature)?;
        Ok(decode(token, &key.verifies, &validation())?.claims)
    }

    /// The public keys, as others would read them.
    pub(crate) fn public(&self) -> JwkSet {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        JwkSet {
            keys: keys.iter().map(|key| key.public.clone()).collect(),
        }
    }
}

fn validation() -> Validation {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_issuer(&[ISSUER]);
    validation.leeway = 5;
    validation
}

impl Key {
    fn random() -> Self {
        // RFC 8410, section 7: what stands before the 32 bytes of an Ed25519 key in PKCS #8.
        const PKCS8: [u8; 16] = [
            0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22,
            0x04, 0x20,
        ];
        let id = format!("{:016x}", rand::random::<u64>());
        let signs = [&PKCS8[..], &rand::random::<[u8; 32]>()].concat();
        let signs = EncodingKey::from_ed_der(&signs);
        let mut public =
            Jwk::from_encoding_key(&signs, Algorithm::EdDSA).expect("a key is 32 bytes");
        public.common.key_id = Some(id.clone());
        let verifies = DecodingKey::from_jwk(&public).expect("we have just written it");
        Self {
            id,
            signs,
            verifies,
            public,
        }
    }
}
