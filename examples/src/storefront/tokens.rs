//! Bearer tokens: JSON Web Tokens (RFC 7519), signed with Ed25519 keys that rotate by their `kid`.
//!
//! A real shop would only have the public keys, from its identity provider. This one mints tokens for whoever asks, so that it can be seen what
//! becomes of them.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode,
    get_current_timestamp,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::storefront::catalogue::Unavailable;
use crate::storefront::key_table::{KeyTable, Written, is_id};
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

/// The key that signs, and the one before it, whose tokens are still good: this process's own, or those of all that share a database.
pub(crate) struct Keys {
    /// The newest first.
    known: RwLock<Vec<Key>>,
    shared: Option<Shared>,
}

/// Where the keys are that several processes share, and what came of asking for them.
struct Shared {
    table: KeyTable,
    /// How often they were asked for.
    begun: AtomicU64,
    /// Whoever asks holds it.
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    number: u64,
    error: Option<String>,
}

struct Key {
    id: String,
    signs: EncodingKey,
    verifies: DecodingKey,
    public: Jwk,
}

/// Why a token is not believed, or cannot be made.
#[derive(Debug)]
pub(crate) enum NoToken {
    /// It is not one of ours, or is over.
    Wrong,
    /// Nobody can tell: the keys that all share cannot be asked for.
    Unavailable(Unavailable),
}

/// How many keys verify.
pub(crate) const GENERATIONS: usize = 2;

/// How often a process looks whether keys are over. New ones it asks for when it meets them.
const REST: Duration = Duration::from_secs(1);

impl Keys {
    /// One of this process, or those in the table.
    pub(crate) fn new(table: Option<KeyTable>) -> Self {
        signing::install();
        let own = || vec![Key::of(&Written::random())];
        Self {
            known: RwLock::new(table.as_ref().map_or_else(own, |_| Vec::new())),
            shared: table.map(|table| Shared {
                table,
                begun: AtomicU64::new(0),
                last: Mutex::default(),
            }),
        }
    }

    /// From now on another key signs. Tokens of the last one are good until the next rotation.
    pub(crate) async fn rotate(&self) -> Result<(), Unavailable> {
        let next = Written::random();
        match &self.shared {
            Some(shared) => {
                shared.table.add(&next).await?;
                self.refresh().await?;
            }
            None => {
                let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
                known.insert(0, Key::of(&next));
                known.truncate(GENERATIONS);
            }
        }
        Ok(())
    }

    pub(crate) async fn mint(&self, wanted: Wanted) -> Result<String, NoToken> {
        // Another process may have rotated them twice meanwhile.
        self.refresh().await?;
        let known = self.known();
        let key = known.first().ok_or(NoToken::Wrong)?;
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(key.id.clone());
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: wanted.aud,
            exp: get_current_timestamp().saturating_add_signed(wanted.expires_in),
            sub: wanted.sub,
            tenant: wanted.tenant,
            scope: wanted.scope,
        };
        Ok(encode(&header, &claims, &key.signs)?)
    }

    /// What a token says, if one of our keys has signed it, for us, and it is not over.
    ///
    /// The algorithm is ours and not the token's (RFC 8725, 3.1); a token names its key, and nothing else about it is believed before it is verified. A key
    /// that this process does not know may be one that another has just made.
    pub(crate) async fn verify(&self, token: &str) -> Result<Claims, NoToken> {
        let named = decode_header(token)?.kid.ok_or(NoToken::Wrong)?;
        if !self.has(&named) && is_id(&named) {
            self.refresh().await?;
        }
        let known = self.known();
        let key = known.iter().find(|key| key.id == named);
        let key = key.ok_or(NoToken::Wrong)?;
        Ok(decode(token, &key.verifies, &validation())?.claims)
    }

    /// The public keys, as others would read them.
    pub(crate) async fn public(&self) -> JwkSet {
        // If they cannot be asked for, those that are known are good.
        let _ = self.refresh().await;
        JwkSet {
            keys: self.known().iter().map(|key| key.public.clone()).collect(),
        }
    }

    /// Looks now and then which keys there are, for as long as it is polled: one that is over is believed for a second longer.
    pub(crate) async fn keep_up(&self) {
        loop {
            // Who needs one that cannot be asked for hears of it.
            let _ = self.refresh().await;
            tokio::time::sleep(REST).await;
        }
    }

    /// Reads the keys that all share, as they are now or later: many who ask at once wait for two reads at most, however many they are.
    ///
    /// # Cancellation
    ///
    /// The next one who waits asks.
    async fn refresh(&self) -> Result<(), Unavailable> {
        let Some(shared) = &self.shared else {
            return Ok(());
        };
        let before = shared.begun.load(Ordering::Acquire);
        let mut last = shared.last.lock().await;
        if last.number <= before {
            let number = shared.begun.fetch_add(1, Ordering::AcqRel) + 1;
            let read = shared.table.newest().await;
            let error = read.as_ref().err().map(ToString::to_string);
            if let Ok(read) = read {
                self.know(&read);
            }
            *last = Last { number, error };
        }
        let error = last.error.clone().map(io::Error::other);
        error.map_or(Ok(()), |error| Err(error.into()))
    }

    fn know(&self, now: &[Written]) {
        let is_known = {
            let known = self.known();
            known
                .iter()
                .map(|key| &key.id)
                .eq(now.iter().map(|key| &key.id))
        };
        if !is_known {
            let now = now.iter().map(Key::of).collect();
            *self.known.write().unwrap_or_else(PoisonError::into_inner) = now;
        }
    }

    fn has(&self, id: &str) -> bool {
        self.known().iter().any(|key| key.id == id)
    }

    fn known(&self) -> RwLockReadGuard<'_, Vec<Key>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<jsonwebtoken::errors::Error> for NoToken {
    fn from(_: jsonwebtoken::errors::Error) -> Self {
        Self::Wrong
    }
}

impl From<Unavailable> for NoToken {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error)
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
    fn of(written: &Written) -> Self {
        // RFC 8410, section 7: what stands before the 32 bytes of an Ed25519 key in PKCS #8.
        const PKCS8: [u8; 16] = [
            0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22,
            0x04, 0x20,
        ];
        let signs = [&PKCS8[..], &written.secret].concat();
        let signs = EncodingKey::from_ed_der(&signs);
        let mut public =
            Jwk::from_encoding_key(&signs, Algorithm::EdDSA).expect("a key is 32 bytes");
        public.common.key_id = Some(written.id.clone());
        let verifies = DecodingKey::from_jwk(&public).expect("we have just written it");
        Self {
            id: written.id.clone(),
            signs,
            verifies,
            public,
        }
    }
}
