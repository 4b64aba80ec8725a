//! One newtype per entity over a UUIDv7, so that a conversation's id cannot be passed for a user's.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;

macro_rules! ids {
    ($($(#[$meta:meta])* $name:ident),* $(,)?) => { $(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "sqlx", derive(sqlx::Type), sqlx(transparent))]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = Uuid))]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id: UUIDv7 (RFC 9562) of the given instant and 80 bits from the caller's rng.
            #[must_use]
            pub fn new(now: Timestamp, random: [u8; 10]) -> Self {
                Self(uuid_v7(now, random))
            }

            /// The id with these 16 bytes, as it enters every signed statement.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The 16 raw bytes, as they enter every signed statement.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// The plain UUID.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    )* };
}

ids! {
    /// A clinic.
    TenantId,
    /// A shift of a clinician on call.
    ShiftId,
    /// A use of break-glass.
    BreakGlassId,
    /// Something out of the ordinary that somebody's devices did.
    AnomalyId,
    /// A person with or without an account: patient, clinician, staff, service.
    UserId,
    /// A device or session of a user. Messaging devices also have a [`DeviceNumber`] inside the protocol.
    DeviceId,
    /// A conversation.
    ConversationId,
    /// A stored message, named by the server.
    MessageId,
    /// A message, named by the sending device before it is sent.
    ClientMessageId,
    /// A record seal: one archive key of one sending device in one conversation.
    SealId,
    /// A file of the vault.
    FileId,
    /// An upload on its way into the vault: what is sealed for the scan is bound to it.
    UploadId,
    /// An appointment.
    AppointmentId,
    /// A care relationship between a patient and a clinician.
    RelationshipId,
    /// A care team.
    CareTeamId,
    /// An invitation to activate an account.
    InvitationId,
    /// Where a new device and the one that links it meet: 128 random bits of the new device, without a time.
    LinkId,
    /// A reset of somebody's identity, asked for by one person of the clinic and approved by another.
    IdentityResetId,
    /// A family of refresh tokens: all that descend from one login.
    TokenFamilyId,
    /// An entry of the audit log.
    AuditEntryId,
    /// A data key of the key store.
    DataKeyId,
    /// One HTTP request or WebSocket frame, for support and logs.
    RequestId,
}

/// The number of a messaging device within its user's manifest: 1..=127, given by the server, never reused.
/// libsignal's device id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = u8, minimum = 1, maximum = 127))]
#[serde(transparent)]
pub struct DeviceNumber(u8);

impl DeviceNumber {
    /// The first device of a user.
    pub const FIRST: Self = Self(1);
    /// The highest number a manifest may name.
    pub const MAX: u8 = 127;

    /// `None` outside 1..=127.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if number >= 1 && number <= Self::MAX { Some(Self(number)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for DeviceNumber {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().ok().and_then(Self::new).ok_or("a device number is between 1 and 127")
    }
}

impl<'de> Deserialize<'de> for DeviceNumber {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u8::deserialize(deserializer)?;
        Self::new(number).ok_or_else(|| serde::de::Error::custom("a device number is between 1 and 127"))
    }
}

#[cfg(feature = "sqlx")]
mod device_number_column {
    use super::DeviceNumber;

    impl<DB: sqlx::Database> sqlx::Type<DB> for DeviceNumber
    where
        i64: sqlx::Type<DB>,
    {
        fn type_info() -> DB::TypeInfo {
            <i64 as sqlx::Type<DB>>::type_info()
        }
        fn compatible(ty: &DB::TypeInfo) -> bool {
            <i64 as sqlx::Type<DB>>::compatible(ty)
        }
    }

    impl sqlx::postgres::PgHasArrayType for DeviceNumber {
        fn array_type_info() -> sqlx::postgres::PgTypeInfo {
            i64::array_type_info()
        }
    }

    impl<'q, DB: sqlx::Database> sqlx::Encode<'q, DB> for DeviceNumber
    where
        i64: sqlx::Encode<'q, DB>,
    {
        fn encode_by_ref(
            &self,
            buf: &mut DB::ArgumentBuffer,
        ) -> Result<sqlx::encode::IsNull, sqlx::error::BoxDynError> {
            i64::from(self.0).encode_by_ref(buf)
        }
    }

    impl<'r, DB: sqlx::Database> sqlx::Decode<'r, DB> for DeviceNumber
    where
        i64: sqlx::Decode<'r, DB>,
    {
        fn decode(value: DB::ValueRef<'r>) -> Result<Self, sqlx::error::BoxDynError> {
            let number = i64::decode(value)?;
            u8::try_from(number)
                .ok()
                .and_then(Self::new)
                .ok_or_else(|| format!("device number {number} is not between 1 and 127").into())
        }
    }
}

/// RFC 9562 UUIDv7: 48 bits of Unix milliseconds, 12 bits of the microseconds below them (so that ids made
/// in order sort in order), the rest random.
fn uuid_v7(now: Timestamp, random: [u8; 10]) -> Uuid {
    let micros = u64::try_from(now.micros()).unwrap_or(0);
    let millis = micros / 1_000;
    // 0..=999 microseconds scaled to 12 bits.
    let sub_millis = (micros % 1_000) * 4_096 / 1_000;
    let mut bytes = [0u8; 16];
    bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
    bytes[6..].copy_from_slice(&random);
    bytes[6] = 0x70 | (sub_millis >> 8) as u8;
    bytes[7] = (sub_millis & 0xff) as u8;
    bytes[8] = 0x80 | (bytes[8] & 0x3f);
    Uuid::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_version_seven_and_sort_by_time() {
        let earlier = UserId::new(Timestamp::from_micros(1_700_000_000_000_001), [0xff; 10]);
        let later = UserId::new(Timestamp::from_micros(1_700_000_000_000_900), [0; 10]);
        assert_eq!(earlier.uuid().get_version_num(), 7);
        assert_eq!(earlier.uuid().get_variant(), uuid::Variant::RFC4122);
        assert!(earlier < later);
    }

    #[test]
    fn a_device_number_is_between_one_and_127() {
        for wrong in ["0", "128", "256", "-1", "x"] {
            assert!(serde_json::from_str::<DeviceNumber>(wrong).is_err(), "{wrong}");
        }
        assert_eq!(serde_json::from_str::<DeviceNumber>("127").unwrap().get(), 127);
    }
}
