//! Time-based one-time passwords: RFC 6238 with the values every authenticator app knows, HMAC-SHA-1, six
//! digits, steps of 30 seconds, one step either side.

use sigilo_wire::Timestamp;
use totp_rs::{Algorithm, Builder, Secret, Totp};

use crate::{Error, Result};

/// Bytes of a secret: what RFC 4226 section 4 recommends.
pub(super) const SECRET_BYTES: usize = 20;

/// The generator of a secret. `issuer` and `account` are what the app shows.
pub(super) fn generator(secret: &[u8; SECRET_BYTES], issuer: &str, account: &str) -> Result<Totp> {
    // The URI's label separates the two by a colon.
    let plain = |text: &str| text.replace(':', " ");
    Builder::new()
        .with_algorithm(Algorithm::SHA1)
        .with_digits(6)
        .with_skew(1)
        .with_step_duration(30)
        .with_secret(Secret::new_stack(*secret))
        .with_account_name(plain(account))
        .with_issuer(Some(plain(issuer)))
        .build()
        .map_err(Error::internal)
}

/// The time step whose code this is, of the present one and its neighbours.
pub(super) fn step_of(secret: &[u8], code: &str, now: Timestamp) -> Result<Option<i64>> {
    let secret = secret.try_into().map_err(|_| Error::internal("a stored secret has the wrong length"))?;
    let seconds = u64::try_from(now.seconds()).map_err(Error::internal)?;
    let step = generator(secret, "", "")?.check(code, seconds);
    step.map(i64::try_from).transpose().map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238 appendix B, SHA-1, the last six of its eight digits.
    const VECTORS: [(i64, &str); 6] = [
        (59, "287082"),
        (1_111_111_109, "081804"),
        (1_111_111_111, "050471"),
        (1_234_567_890, "005924"),
        (2_000_000_000, "279037"),
        (20_000_000_000, "353130"),
    ];
    const SECRET: &[u8; 20] = b"12345678901234567890";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn codes_are_those_of_rfc_6238_and_good_one_step_either_side() {
        for (seconds, code) in VECTORS {
            let step = Some(seconds / 30);
            for (shift, expected) in [(-60, None), (-30, step), (0, step), (30, step), (60, None)] {
                let then = seconds + shift;
                // The first vector is of the epoch's first minute.
                if then >= 0 {
                    assert_eq!(step_of(SECRET, code, at(then)).unwrap(), expected, "{seconds} {shift}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_six_digits_is_no_code() {
        for wrong in ["", "28708", "2870820", "28708a", "+87082", "２８７０８２"] {
            assert_eq!(step_of(SECRET, wrong, at(59)).unwrap(), None, "{wrong}");
        }
        assert!(step_of(b"short", "287082", at(59)).is_err());
    }

    #[test]
    fn the_uri_is_what_apps_scan() {
        let uri = generator(SECRET, "Clínica: Centro", "ana@clinic.example").unwrap().to_url().unwrap();
        assert_eq!(
            uri,
            "otpauth://totp/Cl%C3%ADnica%20%20Centro:ana%40clinic.example\
             ?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Cl%C3%ADnica%20%20Centro"
        );
    }
}
